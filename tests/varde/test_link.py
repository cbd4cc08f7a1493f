"""The link: connects, comes back when it may, stops when it must, and knows whom it talks to."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop
from tests.varde.benches import linked
from tests.varde.parties import party
from tests.varde.wires import HEARTBEAT_MS, Wire, closing, live
from varde.errors import (
    Busy,
    DeviceRevoked,
    LinkRefused,
    Refusal,
    Replaced,
    SignedOut,
    Unreachable,
    VardeError,
)
from varde.link import TICKET
from varde_contract import frames as f
from varde_contract.closing import CLOSINGS, CloseCode
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import Pattern


async def test_a_link_knows_its_relay(autojump_clock: MockClock) -> None:
    """With the key that the API named it speaks IK at once: one round trip, and nobody else can answer."""
    async with linked(live) as bench:
        await bench.ear.wait_up(1)
        assert bench.ear.lines[0].welcome.heartbeat_ms == HEARTBEAT_MS
        assert (bench.relay.asked_where, bench.relay.tickets) == (1, 1)


async def test_frames_come_in_order_and_go_in_order(autojump_clock: MockClock) -> None:
    """What is queued leaves in the order of queueing, positions coalesced; what comes is handed over as it came."""
    heard: list[f.ClientFrame] = []
    alice = party(alice_laptop)

    async def script(wire: Wire) -> None:
        await wire.greet(f.Lagging(1))
        await wire.send(f.Lagging(2), f.Lagging(3))
        while True:
            heard.extend(await wire.receive())

    async with linked(script) as bench:
        await bench.ear.wait_up(1)
        line = bench.ear.lines[0]
        conversation = alice.gear.id
        line.send(f.Join())
        for upto in (1, 3, 2):
            line.confirm(conversation, upto)  # type: ignore[arg-type] # any id will do
        line.send(f.Presence(alice.person.profile, f.PresenceState.ACTIVE))
        await wait_all_tasks_blocked()
        assert bench.ear.frames == [f.Lagging(1), f.Lagging(2), f.Lagging(3)]
        assert [type(frame) for frame in heard] == [f.Join, f.Presence, f.Delivered]
        assert heard[-1] == f.Delivered(conversation, 3)  # type: ignore[arg-type] # any id will do


async def test_more_than_fits_goes_in_several_messages(autojump_clock: MockClock) -> None:
    """However much is queued at once, each Noise message holds what it can."""
    sizes: list[int] = []

    async def script(wire: Wire) -> None:
        await wire.greet()
        while True:
            sizes.append(len(await wire.receive()))

    async with linked(script) as bench:
        await bench.ear.wait_up(1)
        for _ in range(600):
            bench.ear.lines[0].send(f.Join())
        await wait_all_tasks_blocked()
        assert sum(sizes) == 600
        assert max(sizes) == 256


@pytest.mark.parametrize("code", [code for code in CloseCode if code.comes_back])
async def test_it_comes_back_when_it_may(autojump_clock: MockClock, code: CloseCode) -> None:
    """Every close code of the first hundred is answered by another try, with the ticket it has."""
    async with linked(closing(code), live) as bench:
        await bench.ear.wait_up(1)
        assert bench.ear.downs[0][0] == code.label
        assert bench.ear.downs[0][1] is not None
        assert bench.relay.tickets == 1


async def test_a_tls_handshake_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    """A load balancer that hangs up, or a certificate that nobody vouches for, is a relay that does not answer."""

    async def hang_up(wire: Wire) -> None:
        await wire.drop()

    async with linked(hang_up) as bench:
        bench.relay.told_url = "wss://relay.example/v1/relay"
        await trio.sleep(60)  # in time that jumps
        assert len(bench.relay.dialled) > 1
        assert {why for why, _ in bench.ear.downs} == {"the relay does not answer"}
        assert not bench.ended.is_set()


ENDS = {
    CloseCode.REVOKED: DeviceRevoked,
    CloseCode.REPLACED: Replaced,
    CloseCode.PROTOCOL_ERROR: LinkRefused,
    CloseCode.UNSUPPORTED_VERSION: LinkRefused,
    CloseCode.ABUSE: LinkRefused,
}
TURNS = {CloseCode.BAD_TICKET, CloseCode.TICKET_EXPIRED, CloseCode.HANDSHAKE_FAILED}
"""Codes that say not to come back unchanged, and what has to change is in the client's hands."""


def test_every_close_code_has_its_answer() -> None:
    """No code of the contract is left to chance here."""
    assert {code for code in CLOSINGS if not code.comes_back} == ENDS.keys() | TURNS


@pytest.mark.parametrize(("code", "error"), ENDS.items())
async def test_it_stops_when_it_must(autojump_clock: MockClock, code: CloseCode, error: type[VardeError]) -> None:
    """A code that says not to come back ends the link with an error that says why and what to do."""
    async with linked(closing(code)) as bench:
        await bench.ended.wait()
        assert type(bench.end) is error
        assert bench.end.advice
        assert len(bench.relay.dialled) == 1
        assert bench.ear.downs == [(code.label, None)]


@pytest.mark.parametrize("code", [CloseCode.BAD_TICKET, CloseCode.TICKET_EXPIRED])
async def test_a_bad_ticket_is_replaced(autojump_clock: MockClock, code: CloseCode) -> None:
    """A ticket that is refused is thrown away, and a fresh one tried; after some of them there is no point."""
    async with linked(closing(code), live) as bench:
        await bench.ear.wait_up(1)
        assert bench.relay.tickets == 2
    async with linked(closing(code)) as bench:
        await bench.ended.wait()
        assert isinstance(bench.end, LinkRefused)
        assert bench.relay.tickets == len(bench.relay.dialled) == 4


async def test_a_ticket_is_used_for_as_long_as_it_lasts(autojump_clock: MockClock) -> None:
    """A reconnect costs the API nothing."""

    async def short(wire: Wire) -> None:
        await wire.greet()
        await wire.drop()

    async with linked(short, short, live) as bench:
        await bench.ear.wait_up(3)
        assert (bench.relay.tickets, bench.relay.asked_where) == (1, 1)


async def test_a_relay_with_another_key_is_looked_up_again(autojump_clock: MockClock) -> None:
    """When IK does not come about, the key is asked for again and XX tried, and the key shown there is compared."""
    async with linked(live) as bench:
        bench.relay.told_key = KeyPair.generate().public
        while bench.relay.asked_where < 3:
            await bench.ear.news.wait()
        assert not bench.ear.lines
        bench.relay.told_key = bench.relay.static.public
        await bench.ear.wait_up(1)
        assert bench.relay.patterns[0] is Pattern.IK
        assert set(bench.relay.patterns[1:]) == {Pattern.XX}


async def test_goaway_names_the_time(autojump_clock: MockClock) -> None:
    """A node that goes down says when to be back, and that is when the client comes."""

    async def leaving(wire: Wire) -> None:
        await wire.greet()
        await trio.sleep(10)  # in virtual time: the node lives for a while
        await wire.send(f.Goaway(CloseCode.DRAINING, after_ms=40_000, jitter_ms=10_000))
        await wire.close(CloseCode.DRAINING)

    async with linked(leaving, live) as bench:
        await bench.ear.wait_up(2)
        first, second = bench.relay.dialled
        assert 50 <= second - first <= 61


async def test_the_pauses_grow_and_have_an_end(autojump_clock: MockClock) -> None:
    """Against a relay that is away the pauses grow, up to half a minute; once it was steady they are short again."""

    async def away(wire: Wire) -> None:
        await wire.drop()

    async def steady(wire: Wire) -> None:
        await wire.greet()
        await trio.sleep(60)  # in virtual time: long enough to count as steady
        await wire.drop()

    async with linked(*[away] * 40, steady, live) as bench:
        await bench.ear.wait_up(2)
        pauses = [pause for _, pause in bench.ear.downs if pause is not None]
        assert max(pauses) <= 30
        assert max(pauses[:3]) <= 2
        assert max(pauses[10:40]) > 5
        assert pauses[40] <= 0.5


async def test_a_silent_relay_is_left(autojump_clock: MockClock) -> None:
    """A relay that answers no pings is given up after two heartbeats; one that does not greet, after ten seconds."""

    async def dead(wire: Wire) -> None:
        await wire.greet()
        wire.deaf = True
        while True:
            await wire.receive()

    async def rude(wire: Wire) -> None:
        await wire.shake()
        await trio.sleep_forever()

    async with linked(dead, rude, live) as bench:
        await bench.ear.wait_up(2)
        first, second, third = bench.relay.dialled
        assert 50 <= second - first <= 54
        assert 10 <= third - second <= 14


async def test_a_relay_that_breaks_the_protocol_is_left(autojump_clock: MockClock) -> None:
    """What does not authenticate, or may not be said now, closes the connection; the next one may be better."""

    async def forger(wire: Wire) -> None:
        await wire.greet()
        await wire._write(bytes(64))
        await wire.receive()

    async def twice(wire: Wire) -> None:
        await wire.greet()
        wire.session._out = {**wire.session._out, f.Welcome: wire.session.state}
        await wire.send(bench.ear.lines[-1].welcome)
        await wire.receive()

    async with linked(forger, twice, live) as bench:
        await bench.ear.wait_up(3)
        assert [why for why, _ in bench.ear.downs] == ["the relay broke the protocol"] * 2


async def test_goodbye_waits_for_what_is_queued(autojump_clock: MockClock) -> None:
    """Closing writes what was said before it."""
    heard: list[f.ClientFrame] = []

    async def script(wire: Wire) -> None:
        await wire.greet()
        while True:
            heard.extend(await wire.receive())

    async with linked(script) as bench:
        await bench.ear.wait_up(1)
        bench.ear.lines[0].send(f.Join())
        with trio.fail_after(5):
            await bench.link.aclose()
        assert heard == [f.Join()]


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Unreachable("away"), False),
        (Busy(RefusalCode.UNAVAILABLE, "later", retry_after_ms=9_000), False),
        (SignedOut(RefusalCode.UNAUTHENTICATED, "gone"), True),
        (Refusal(RefusalCode.NO_DEVICE, "none"), True),
    ],
)
async def test_the_api_has_a_say(autojump_clock: MockClock, fault: VardeError, *, ends: bool) -> None:
    """Without a ticket there is no connection: an API that is away is asked again, one that refuses ends the link."""
    async with linked(live) as bench:
        faults = iter([fault] * 3)
        ask = bench.relay.ticket

        async def ticket() -> object:
            for each in faults:
                raise each
            return await ask()

        bench.relay.ticket = ticket  # type: ignore[method-assign,assignment] # the API's mood
        with bench.store.transaction():
            bench.store.settings.remove(TICKET)
        if ends:
            await bench.ended.wait()
            assert bench.end is fault
        else:
            await bench.ear.wait_up(1)
            assert len(bench.ear.downs) == 3
            if isinstance(fault, Busy):
                assert all(pause is not None and pause >= 9 for _, pause in bench.ear.downs)
