"""Runs cases against a relay: every variant, a few connections at a time, each with a device of its own."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

from tests.conformance.case import Case, Part
from tests.conformance.frame_reader import ServerFault
from tests.conformance.raw_client import RawClient, layout
from tests.conformance.variants import Variant, fast, variants
from tests.relay.client import ConnectionClosed

PATIENCE: Final = 10.0
"""Seconds until a relay that does not answer is said to hang."""

ConnectClient: TypeAlias = Callable[[int], Awaitable[RawClient]]
"""Opens an authenticated connection for the device with this number; it is the caller's to close."""


async def run_case(case: Case, connect_client: ConnectClient, devices: int, *, whole: bool = False) -> list[str]:
    """Run every variant of a case, or only those that cut nothing; return what went wrong, one sentence for each."""
    queue = [each for each in variants(case, layout(case.parts)) if each.whole or not whole]
    wrong: list[str] = []
    async with trio.open_nursery() as nursery:
        for device in range(devices):
            again = partial(connect_client, device)
            nursery.start_soon(_run_variants, case, queue[device::devices], again, wrong)
    return wrong


async def _run_variants(
    case: Case, queue: Iterable[Variant], connect_client: Callable[[], Awaitable[RawClient]], wrong: list[str]
) -> None:
    client: RawClient | None = None
    for variant in queue:
        client = client or await connect_client()
        with trio.move_on_after(PATIENCE) as patience:
            faults = await _judge(client, case, variant)
        faults = faults if not patience.cancelled_caught else [f"nothing for {PATIENCE} s"]
        wrong += [f"{variant.name}: {fault}" for fault in faults]
        if faults or not case.lives:
            await trio.aclose_forcefully(client.stream)
            client = None
    if client is not None:
        await client.stream.aclose()


async def _judge(client: RawClient, case: Case, variant: Variant) -> list[str]:
    try:
        return await _run(client, case, variant)
    except ServerFault as fault:
        return [f"the relay wrote {fault}"]
    except ConnectionClosed:
        return [f"the connection ended with {client.reader.code}"]
    except trio.BrokenResourceError:
        return ["the connection was reset"]


async def _run(client: RawClient, case: Case, variant: Variant) -> list[str]:
    parts, good = script(case, variant)
    segments, asked = client.segments(parts, good)
    client.reader.pongs.clear()
    client.answered.clear()
    if case.lives:
        await send(client, variant.cut(segments))
        await client.prove_alive()
        asked.append(client.answered[-1])
    else:
        with suppress(trio.BrokenResourceError):  # it may have ended before all was sent; what it said is still there
            await send(client, variant.cut(segments))
            if case.ends_the_stream:
                await client.half_close()
        await client.read_until_end()
    return [
        *_compare("answers", client.answered, asked, whole=case.lives),
        *_compare("pongs", client.reader.pongs, case.pongs, whole=case.lives),
        *(() if case.lives or client.reader.code in case.codes else (f"ended with {client.reader.code}",)),
    ]


async def send(client: RawClient, chunks: Iterable[bytes]) -> None:
    """Write each chunk when everybody has done with the one before, so that the relay sees them one by one."""
    for chunk in chunks:
        await client.stream.send_all(chunk)
        await wait_all_tasks_blocked()


def script(case: Case, variant: Variant) -> tuple[list[Part], int]:
    """The parts to send, with the fast frames of the variant, and how many of them count."""
    gaps = set(case.gaps()) if variant.between else set[int]()
    good: list[Part] = [fast() for _ in range(variant.before)]
    for number, part in enumerate(case.parts[: case.good]):
        good += [fast() for _ in range(number in gaps)] + [part]
    good += [fast() for _ in range(case.good in gaps)]
    rest: list[Part] = [*case.parts[case.good :], *(fast() for _ in range(variant.after))]
    return ([*good, *rest], len(good) + len(rest)) if case.lives else ([*good, *rest], len(good))


def _compare(what: str, heard: Sequence[object], wanted: Sequence[object], *, whole: bool) -> list[str]:
    if list(heard) == list(wanted if whole else wanted[: len(heard)]):
        return []
    return [f"{len(heard)} {what}, not the {len(wanted)} that were due, in their order"]
