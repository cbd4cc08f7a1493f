"""Plays cases against a relay: every variant, a few connections at a time, each with a device of its own."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

from tests.conformance.case import Case, Part
from tests.conformance.peer import EndOfStream, Peer, layout
from tests.conformance.reading import Fault
from tests.conformance.variants import Variant, fast, variants

PATIENCE: Final = 10.0
"""Seconds until a relay that does not answer is said to hang."""

Enter: TypeAlias = Callable[[int], Awaitable[Peer]]
"""Opens an authenticated connection for the device with this number; it is the caller's to close."""


async def play_case(case: Case, enter: Enter, devices: int, *, whole: bool = False) -> list[str]:
    """Play every variant of a case, or only those that cut nothing; return what went wrong, one sentence for each."""
    queue = [each for each in variants(case, layout(case.parts)) if each.whole or not whole]
    wrong: list[str] = []
    async with trio.open_nursery() as nursery:
        for device in range(devices):
            again = partial(enter, device)
            nursery.start_soon(_play_some, case, queue[device::devices], again, wrong)
    return wrong


async def _play_some(
    case: Case, queue: Iterable[Variant], enter: Callable[[], Awaitable[Peer]], wrong: list[str]
) -> None:
    peer: Peer | None = None
    for variant in queue:
        peer = peer or await enter()
        with trio.move_on_after(PATIENCE) as patience:
            faults = await _judge(peer, case, variant)
        faults = faults if not patience.cancelled_caught else [f"nothing for {PATIENCE} s"]
        wrong += [f"{variant.name}: {fault}" for fault in faults]
        if faults or not case.lives:
            await trio.aclose_forcefully(peer.stream)
            peer = None
    if peer is not None:
        await peer.stream.aclose()


async def _judge(peer: Peer, case: Case, variant: Variant) -> list[str]:
    try:
        return await _play(peer, case, variant)
    except Fault as fault:
        return [f"the relay wrote {fault}"]
    except EndOfStream:
        return [f"the connection ended with {peer.reader.code}"]
    except trio.BrokenResourceError:
        return ["the connection was reset"]


async def _play(peer: Peer, case: Case, variant: Variant) -> list[str]:
    parts, good = script(case, variant)
    segments, asked = peer.segments(parts, good)
    peer.reader.pongs.clear()
    peer.answered.clear()
    if case.lives:
        await send(peer, variant.cut(segments))
        await peer.prove()
        asked.append(peer.answered[-1])
    else:
        with suppress(trio.BrokenResourceError):  # it may have ended before all was sent; what it said is still there
            await send(peer, variant.cut(segments))
            if case.ends_the_stream:
                await peer.half_close()
        await peer.read_to_the_end()
    return [
        *_compare("answers", peer.answered, asked, whole=case.lives),
        *_compare("pongs", peer.reader.pongs, case.pongs, whole=case.lives),
        *(() if case.lives or peer.reader.code in case.codes else (f"ended with {peer.reader.code}",)),
    ]


async def send(peer: Peer, chunks: Iterable[bytes]) -> None:
    """Write each chunk when everybody has done with the one before, so that the relay sees them one by one."""
    for chunk in chunks:
        await peer.stream.send_all(chunk)
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
