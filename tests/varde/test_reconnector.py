"""The reconnector: it connects, comes back when it may, stops when it must, and verifies the relay."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop
from tests.varde.endpoints import endpoint
from tests.varde.scripted_relay import HEARTBEAT_MS, ServerConnection, closing, live, open_reconnector
from varde.errors import (
    Busy,
    ConnectionRefused,
    DeviceRevoked,
    Refusal,
    Replaced,
    SignedOut,
    Unreachable,
    VardeError,
)
from varde.reconnector import BAD_TICKETS, CLOSE_SECONDS, TICKET
from varde_contract import frames as f
from varde_contract.close_codes import MEANINGS, CloseCode
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import Pattern


async def test_a_link_knows_its_relay(autojump_clock: MockClock) -> None:
    """With the key that the API named it speaks IK at once: one round trip, and nobody else can answer."""
    async with open_reconnector(live) as running:
        await running.recorder.wait_connected(1)
        assert running.recorder.connections[0].welcome.heartbeat_ms == HEARTBEAT_MS
        assert (running.relay.asked_where, running.relay.tickets) == (1, 1)


async def test_frames_come_in_order_and_go_in_order(autojump_clock: MockClock) -> None:
    """What is queued leaves in the order of queueing, positions coalesced; what comes is handed over as it came."""
    heard: list[f.ReceivedFrame] = []
    alice = endpoint(alice_laptop)

    async def script(connection: ServerConnection) -> None:
        await connection.welcome(f.Lagging(1))
        await connection.send(f.Lagging(2), f.Lagging(3))
        while True:
            heard.extend(await connection.receive())

    async with open_reconnector(script) as running:
        await running.recorder.wait_connected(1)
        line = running.recorder.connections[0]
        conversation = alice.device.id
        line.send(f.Join())
        for upto in (1, 3, 2):
            line.confirm(conversation, upto)  # type: ignore[arg-type] # any id will do
        line.send(f.Presence(alice.person.profile, f.PresenceState.ACTIVE))
        await wait_all_tasks_blocked()
        assert running.recorder.frames == [f.Lagging(1), f.Lagging(2), f.Lagging(3)]
        assert [type(frame) for frame in heard] == [f.Join, f.Presence, f.Delivered]
        assert heard[-1] == f.Delivered(conversation, 3)  # type: ignore[arg-type] # any id will do


async def test_more_than_fits_goes_in_several_messages(autojump_clock: MockClock) -> None:
    """However much is queued at once, each Noise message holds what it can."""
    sizes: list[int] = []

    async def script(connection: ServerConnection) -> None:
        await connection.welcome()
        while True:
            sizes.append(len(await connection.receive()))

    async with open_reconnector(script) as running:
        await running.recorder.wait_connected(1)
        for _ in range(600):
            running.recorder.connections[0].send(f.Join())
        await wait_all_tasks_blocked()
        assert sum(sizes) == 600
        assert max(sizes) == 256


@pytest.mark.parametrize("code", [code for code in CloseCode if code.comes_back])
async def test_it_comes_back_when_it_may(autojump_clock: MockClock, code: CloseCode) -> None:
    """Every close code of the first hundred is answered by another try, with the ticket it has."""
    async with open_reconnector(closing(code), live) as running:
        await running.recorder.wait_connected(1)
        assert running.recorder.disconnects[0][0] == code.label
        assert running.recorder.disconnects[0][1] is not None
        assert running.relay.tickets == 1


async def test_a_tls_handshake_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    """A load balancer that hangs up, or a certificate that nobody vouches for, is a relay that does not answer."""

    async def hang_up(connection: ServerConnection) -> None:
        await connection.drop()

    async with open_reconnector(hang_up) as running:
        running.relay.told_url = "wss://relay.example/v1/relay"
        await trio.sleep(60)  # in time that jumps
        assert len(running.relay.dialled) > 1
        assert all(why.startswith("the relay was not reached: ") for why, _ in running.recorder.disconnects)
        assert not running.ended.is_set()


ENDS = {
    CloseCode.REVOKED: DeviceRevoked,
    CloseCode.REPLACED: Replaced,
    CloseCode.PROTOCOL_ERROR: ConnectionRefused,
    CloseCode.UNSUPPORTED_VERSION: ConnectionRefused,
    CloseCode.ABUSE: ConnectionRefused,
    CloseCode.BAD_HELLO: ConnectionRefused,
}
TURNS = {
    CloseCode.BAD_TICKET,
    CloseCode.TICKET_EXPIRED,
    CloseCode.HANDSHAKE_FAILED,
    CloseCode.UNSUPPORTED_HANDSHAKE,
}
"""Codes that say not to come back unchanged, and what has to change is in the client's hands."""


def test_every_close_code_has_its_answer() -> None:
    """No code of the contract is left to chance here."""
    assert {code for code in MEANINGS if not code.comes_back} == ENDS.keys() | TURNS


@pytest.mark.parametrize(("code", "error"), ENDS.items())
async def test_it_stops_when_it_must(autojump_clock: MockClock, code: CloseCode, error: type[VardeError]) -> None:
    """A code that says not to come back ends it with an error that says why and what to do."""
    async with open_reconnector(closing(code)) as running:
        await running.ended.wait()
        assert type(running.end) is error
        assert running.end.advice
        assert len(running.relay.dialled) == 1
        assert running.recorder.disconnects == [(code.label, None)]


@pytest.mark.parametrize("code", [CloseCode.BAD_TICKET, CloseCode.TICKET_EXPIRED])
async def test_a_bad_ticket_is_replaced(autojump_clock: MockClock, code: CloseCode) -> None:
    """A ticket that is refused is thrown away, and a fresh one tried; after some of them there is no point."""
    async with open_reconnector(closing(code), live) as running:
        await running.recorder.wait_connected(1)
        assert running.relay.tickets == 2
    async with open_reconnector(closing(code)) as running:
        await running.ended.wait()
        assert isinstance(running.end, ConnectionRefused)
        assert running.relay.tickets == len(running.relay.dialled) == BAD_TICKETS + 1
        assert trio.current_time() > 60


async def test_a_ticket_is_used_for_as_long_as_it_lasts(autojump_clock: MockClock) -> None:
    """A reconnect costs the API nothing."""

    async def short(connection: ServerConnection) -> None:
        await connection.welcome()
        await connection.drop()

    async with open_reconnector(short, short, live) as running:
        await running.recorder.wait_connected(3)
        assert (running.relay.tickets, running.relay.asked_where) == (1, 1)


async def test_a_relay_with_another_key_is_looked_up_again(autojump_clock: MockClock) -> None:
    """When IK does not come about, the key is asked for again and XX tried, and the key shown there is compared."""
    async with open_reconnector(live) as running:
        running.relay.told_key = KeyPair.generate().public
        while running.relay.asked_where < 3:
            await running.recorder.news.wait()
        assert not running.recorder.connections
        running.relay.told_key = running.relay.static.public
        await running.recorder.wait_connected(1)
        assert running.relay.patterns[0] is Pattern.IKpsk1
        assert set(running.relay.patterns[1:]) == {Pattern.XXpsk3}


async def test_goaway_names_the_time(autojump_clock: MockClock) -> None:
    """A node that goes down says when to be back, and that is when the client comes."""

    async def leaving(connection: ServerConnection) -> None:
        await connection.welcome()
        await trio.sleep(10)  # in virtual time: the node lives for a while
        await connection.send(f.Goaway(CloseCode.DRAINING, after_ms=40_000, jitter_ms=10_000))
        await connection.close(CloseCode.DRAINING)

    async with open_reconnector(leaving, live) as running:
        await running.recorder.wait_connected(2)
        first, second = running.relay.dialled
        assert 50 <= second - first <= 61


async def test_goaway_is_followed_while_the_relay_is_still_there(autojump_clock: MockClock) -> None:
    """The client leaves by itself in the time that was named, when its queue is written, and is back at once."""
    heard: list[f.ReceivedFrame] = []

    async def draining(connection: ServerConnection) -> None:
        await connection.welcome()
        await connection.send(f.Goaway(CloseCode.DRAINING, after_ms=5_000, jitter_ms=2_000))
        while True:
            heard.extend(await connection.receive())

    async with open_reconnector(draining, live) as running:
        await running.recorder.wait_connected(1)
        running.recorder.connections[0].send(f.Join())
        await running.recorder.wait_connected(2)
        first, second = running.relay.dialled
        assert 5 <= second - first <= 7 + CLOSE_SECONDS + 0.1  # this relay does not answer the close
        assert [type(frame) for frame in heard] == [f.Join]
        assert running.recorder.disconnects == [("the relay asked to go", 0)]


async def test_a_relay_that_turns_connections_away_names_the_time(autojump_clock: MockClock) -> None:
    """However often it was late before, the client is back when the relay asked for it, not after a grown pause."""

    async def late(connection: ServerConnection) -> None:
        await connection.turn_away("2")

    async with open_reconnector(*[late] * 20, live) as running:
        await running.recorder.wait_connected(1)
        pauses = [pause for _, pause in running.recorder.disconnects if pause is not None]
        assert len(pauses) == 20
        assert 2 <= min(pauses) <= max(pauses) <= 3


@pytest.mark.parametrize(("retry_after", "most"), [("86400", 45.0), ("Tue, 01 Dec 2026 08:00:00 GMT", 0.5)])
async def test_who_turns_connections_away_cannot_send_them_away_for_long(
    autojump_clock: MockClock, retry_after: str, most: float
) -> None:
    """Whoever answers the upgrade has proven nothing yet: a day is cut short, a date is not waited for."""

    async def late(connection: ServerConnection) -> None:
        await connection.turn_away(retry_after)

    async with open_reconnector(late, live) as running:
        await running.recorder.wait_connected(1)
        ((_, pause),) = running.recorder.disconnects
        assert pause is not None
        assert pause <= most


async def test_the_pauses_grow_and_have_an_end(autojump_clock: MockClock) -> None:
    """Against a relay that is away the pauses grow, up to half a minute; once it was steady they are short again."""

    async def away(connection: ServerConnection) -> None:
        await connection.drop()

    async def steady(connection: ServerConnection) -> None:
        await connection.welcome()
        await trio.sleep(60)  # in virtual time: long enough to count as steady
        await connection.drop()

    async with open_reconnector(*[away] * 40, steady, live) as running:
        await running.recorder.wait_connected(2)
        pauses = [pause for _, pause in running.recorder.disconnects if pause is not None]
        assert max(pauses) <= 30
        assert max(pauses[:3]) <= 2
        assert max(pauses[10:40]) > 5
        assert pauses[40] <= 0.5


async def test_it_tries_now_when_asked_to(autojump_clock: MockClock) -> None:
    """Whoever sees that the network is back does not wait for the next try; the pauses after it are no shorter."""

    async def away(connection: ServerConnection) -> None:
        await connection.drop()

    async with open_reconnector(*[away] * 100) as running:
        await trio.sleep(60)  # in virtual time: by now the pauses are long
        tries, now = len(running.recorder.disconnects), trio.current_time()
        running.reconnector.reconnect()
        await wait_all_tasks_blocked()
        assert len(running.recorder.disconnects) == tries + 1
        assert trio.current_time() == now
        running.reconnector.reconnect()
        await wait_all_tasks_blocked()
        pause = running.recorder.disconnects[-1][1]
        assert pause is not None
        assert pause > 1


async def test_a_silent_relay_is_left(autojump_clock: MockClock) -> None:
    """A relay that answers no probe is given up after two heartbeats; one that does not greet, after ten seconds."""

    async def dead(connection: ServerConnection) -> None:
        await connection.welcome()
        connection.unresponsive = True
        while True:
            await connection.receive()

    async def rude(connection: ServerConnection) -> None:
        await connection.handshake()
        await trio.sleep_forever()

    async with open_reconnector(dead, rude, live) as running:
        await running.recorder.wait_connected(2)
        first, second, third = running.relay.dialled
        assert 50 <= second - first <= 54
        assert 10 <= third - second <= 14


async def test_only_a_quiet_connection_is_probed(autojump_clock: MockClock) -> None:
    """The answer to a probe keeps the connection; where something comes anyway, nothing is asked."""
    probes: list[f.ReceivedFrame] = []

    async def quiet(connection: ServerConnection) -> None:
        await connection.welcome()
        for _ in range(4):
            probes.extend(await connection.receive())
            await connection.send(f.ProbeEcho(b""))
        await connection.drop()

    async def busy(connection: ServerConnection) -> None:
        await connection.welcome()
        for _ in range(10):
            await trio.sleep(20)  # in time that jumps
            await connection.send(f.Lagging(1))
        await connection.drop()

    async with open_reconnector(quiet, busy, live) as running:
        await running.recorder.wait_connected(3)
        first, second, third = running.relay.dialled
        assert probes == [f.Probe(b"")] * 4
        assert 4 * 25 <= second - first <= 4 * 50
        assert third - second >= 200


async def test_another_handshake_is_tried_once(autojump_clock: MockClock) -> None:
    """A relay that does not have IK is asked with XX, under fresh keys; when it has neither there is no point.

    Both are post-quantum: nobody on the way can talk a client out of that.
    """
    async with open_reconnector(closing(CloseCode.UNSUPPORTED_HANDSHAKE), live) as running:
        await running.recorder.wait_connected(1)
        assert running.relay.asked_where == 2
    assert running.relay.patterns == [Pattern.IKpsk1, Pattern.XXpsk3]
    async with open_reconnector(closing(CloseCode.UNSUPPORTED_HANDSHAKE)) as running:
        await running.ended.wait()
        assert isinstance(running.end, ConnectionRefused)
        assert len(running.relay.dialled) == 2


async def test_a_relay_that_breaks_the_protocol_is_left(autojump_clock: MockClock) -> None:
    """What does not authenticate, or may not be said now, closes the connection; the next one may be better."""

    async def forger(connection: ServerConnection) -> None:
        await connection.welcome()
        await connection._write(bytes(64))
        await connection.receive()

    async def twice(connection: ServerConnection) -> None:
        await connection.welcome()
        connection.session._out = {**connection.session._out, f.Welcome: connection.session.state}
        await connection.send(running.recorder.connections[-1].welcome)
        await connection.receive()

    async with open_reconnector(forger, twice, live) as running:
        await running.recorder.wait_connected(3)
        assert [why for why, _ in running.recorder.disconnects] == ["the relay broke the protocol"] * 2


async def test_goodbye_waits_for_what_is_queued(autojump_clock: MockClock) -> None:
    """Closing writes what was said before it."""
    heard: list[f.ReceivedFrame] = []

    async def script(connection: ServerConnection) -> None:
        await connection.welcome()
        while True:
            heard.extend(await connection.receive())

    async with open_reconnector(script) as running:
        await running.recorder.wait_connected(1)
        running.recorder.connections[0].send(f.Join())
        with trio.fail_after(5):
            await running.reconnector.aclose()
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
    """Without a ticket there is no connection: an API that is away is asked again, one that refuses ends it."""
    async with open_reconnector(live) as running:
        faults = iter([fault] * 3)
        ask = running.relay.ticket

        async def ticket() -> object:
            for each in faults:
                raise each
            return await ask()

        running.relay.ticket = ticket  # type: ignore[method-assign,assignment] # the API's mood
        with running.store.transaction():
            running.store.settings.remove(TICKET)
        if ends:
            await running.ended.wait()
            assert running.end is fault
        else:
            await running.recorder.wait_connected(1)
            assert len(running.recorder.disconnects) == 3
            if isinstance(fault, Busy):
                assert all(pause is not None and pause >= 9 for _, pause in running.recorder.disconnects)
