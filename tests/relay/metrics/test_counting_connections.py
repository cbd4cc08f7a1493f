"""What becomes of connections is counted: each once as it comes, once as it goes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.people.events import TicketsRevoked
from relay.socket.tls_certificate import TlsCertificate
from relay.socket.websocket import SLOW_FRAMES
from settings.relay import TlsFiles
from storage.program import read_clock
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.certificates import Authority, issue
from tests.relay.caller import Caller
from tests.relay.request import UPGRADE
from tests.relay.scrape import watch
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.limits import HEADS_PER_WELCOME
from varde_contract.session import PROTOCOL_VERSION, Pattern

DAY_MS: Final = 24 * 60 * 60 * 1000

Story = Callable[[Stage], Awaitable[None]]


def saying(said: bytes, *, leaving: bool = False) -> Story:
    """Somebody who connects, says this, and listens to the end, or hangs up."""

    async def story(stage: Stage) -> None:
        stream = stage.open_stream()
        await stream.send_all(said)
        if leaving:
            await wait_all_tasks_blocked()
            await stream.aclose()
        else:
            await read_all(stream)

    return story


async def read_all(stream: trio.SocketStream) -> None:
    """Read to the end, and hang up."""
    async with stream:
        while await stream.receive_some():
            pass


def beginning(first: bytes) -> Story:
    """Somebody who upgrades, and says this instead of a handshake."""

    async def story(stage: Stage) -> None:
        caller = stage.pick_up(alice_laptop)
        await caller.upgrade()
        await caller.stream.send_all(first)
        await caller.hear_end()
        await caller.vanish()

    return story


async def call(stage: Stage) -> None:
    """An honest one."""
    await stage.call(alice_laptop)


async def leave_in_the_middle(stage: Stage) -> None:
    """Upgrade, and close in good order."""
    caller = stage.pick_up(alice_laptop)
    await caller.upgrade()
    await caller.close()


async def fail(caller: Caller) -> None:
    """Go through the handshake as far as it goes."""
    await caller.upgrade()
    await caller.send(caller.session.open())
    await caller.hear_end()
    await caller.vanish()


async def forge(stage: Stage) -> None:
    """Show a ticket of somebody else."""
    await fail(stage.pick_up(alice_laptop, ticket=stage.ticket(bob_phone)))


async def come_late(stage: Stage) -> None:
    """Show an old ticket."""
    ticket = stage.ticket(alice_laptop)
    stage.ground.clock.go_on(DAY_MS)
    await fail(stage.pick_up(alice_laptop, ticket=ticket))


async def be_revoked(stage: Stage) -> None:
    """Be a revoked device."""
    stage.ground.bus.publish_nowait([TicketsRevoked(alice_laptop.id, stage.ground.clock.now_ms, final=True)])
    stage.ground.clock.go_on(1)
    await fail(stage.pick_up(alice_laptop))


async def speak_another_version(stage: Stage) -> None:
    """Be of tomorrow."""
    await fail(
        stage.pick_up(alice_laptop, hello=f.Hello(PROTOCOL_VERSION + 1, stage.ticket(alice_laptop), alice_laptop.id))
    )


async def come_during_an_outage(stage: Stage) -> None:
    """The database says that it cannot."""
    with stage.ground.interference.outage():
        await fail(stage.pick_up(alice_laptop))


async def come_during_a_silence(stage: Stage) -> None:
    """The database says nothing at all: that is not the newcomer's fault."""
    stage.ground.interference.silent = True
    await fail(stage.pick_up(alice_laptop))
    stage.ground.interference.silent = False


async def meet_a_fault(stage: Stage) -> None:
    """Something of ours is broken."""
    del stage.services.admission._addresses
    await saying(UPGRADE)(stage)


HANDSHAKES: Final[list[tuple[str, Story, str, set[str]]]] = [
    ("honest", call, "accepted", set()),
    ("health", saying(b"GET /v1/health HTTP/1.1\r\n\r\n"), "plain-http", set()),
    ("no-subprotocol", saying(UPGRADE.replace(b"varde.v1", b"other")), "plain-http", set()),
    ("mail", saying(b"HELO relay.test\r\n"), "no-request", {"no-http"}),
    ("endless-headers", saying(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000), "no-request", {"no-http"}),
    ("giant-headers", saying(b"GET / HTTP/1.1\r\n" + b"a: %s\r\n" % bytes(4_000) * 10), "no-request", {"no-http"}),
    ("silent", saying(b""), "timed-out", {"idle"}),
    ("slow-header", saying(b"GET /v1/relay HT"), "timed-out", {"slow-header"}),
    ("no-hello", beginning(b""), "timed-out", {"slow-handshake"}),
    ("gone-at-once", saying(b"", leaving=True), "vanished", set()),
    ("gone-in-its-request", saying(b"GET /v1/relay HT", leaving=True), "vanished", set()),
    ("gone-after-upgrade", saying(UPGRADE, leaving=True), "vanished", set()),
    ("closed-in-the-middle", leave_in_the_middle, "vanished", set()),
    ("unmasked", beginning(b"\x82\x01x"), "malformed", {"bad-frame"}),
    ("compressed", beginning(b"\xc2\x81abcdx"), "malformed", {"reserved-bits"}),
    ("flood-of-pings", beginning(b"\x89\x80abcd" * (SLOW_FRAMES + 1)), "malformed", {"flood"}),
    ("no-noise", beginning(b"\x82\x81\0\0\0\0\x07"), "failed", set()),
    ("forged", forge, "bad-ticket", set()),
    ("late", come_late, "ticket-expired", set()),
    ("revoked", be_revoked, "revoked", set()),
    ("tomorrow", speak_another_version, "unsupported-version", set()),
    ("outage", come_during_an_outage, "database-lost", set()),
    ("silence", come_during_a_silence, "database-lost", set()),
    ("fault", meet_a_fault, "surprise", set()),
]


@pytest.mark.parametrize(("story", "outcome", "hostile"), [pytest.param(*case[1:], id=case[0]) for case in HANDSHAKES])
async def test_a_newcomer_is_counted_once(ground: Ground, story: Story, outcome: str, hostile: set[str]) -> None:
    """Whatever becomes of it: one outcome, and what it did on the way."""
    await open_room(ground, alice)
    async with open_stage(ground, strict=False) as stage:
        difference = await watch(stage, lambda: story(stage))
        assert difference.words("varde_relay_handshakes_total") == {outcome: 1}
        assert set(difference.words("varde_relay_hostile_total")) == hostile
        assert difference.words("varde_relay_disconnects_total") == {}


async def test_a_full_node_counts_whom_it_turns_away(ground: Ground) -> None:
    """After a good ticket."""
    await open_room(ground, alice, bob)
    async with open_stage(ground, connections=1) as stage:
        await stage.call(alice_laptop)
        difference = await watch(stage, lambda: fail(stage.pick_up(bob_phone)))
        assert difference.words("varde_relay_handshakes_total") == {"full": 1}


@pytest.mark.parametrize(
    ("said", "outcome", "hostile"),
    [
        pytest.param(UPGRADE, "malformed", "bad-tls", id="plain-http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "timed-out", "slow-handshake", id="half-a-hello"),
        pytest.param(b"", "timed-out", "idle", id="silent"),
    ],
)
async def test_a_newcomer_to_tls_is_counted_once(
    stage: Stage, tmp_path: Path, said: bytes, outcome: str, hostile: str
) -> None:
    """The same, where TLS ends in the node and does not even begin."""
    certificate = TlsCertificate(TlsFiles(*issue(Authority(), tmp_path)), read_clock)
    behind_tls = replace(stage, services=replace(stage.services, certificate=certificate))
    difference = await watch(stage, lambda: saying(said)(behind_tls))
    assert difference.words("varde_relay_handshakes_total") == {outcome: 1}
    assert difference.words("varde_relay_hostile_total").keys() - {"slow-close"} == {hostile}


async def test_who_does_not_hang_up_is_counted(stage: Stage) -> None:
    """The answer was given, and a connection is held all the same, for as long as the node has grace."""

    async def story() -> None:
        stream = stage.open_stream()
        await stream.send_all(b"GET /v1/health HTTP/1.1\r\n\r\n")
        await trio.sleep(stage.services.config.close_grace + 1)  # in time that jumps

    difference = await watch(stage, story)
    assert difference.words("varde_relay_hostile_total") == {"slow-close": 1}


def closing(code: int | None) -> Callable[[Caller], Awaitable[object]]:
    """A peer that closes with this code."""

    async def story(caller: Caller) -> None:
        caller.protocol.send_close(code)
        await caller.flush()
        await caller.hear_end()

    return story


def sending(said: bytes) -> Callable[[Caller], Awaitable[object]]:
    """A peer that sends these bytes, and listens to what comes of it."""

    async def story(caller: Caller) -> None:
        await caller.stream.send_all(said)
        await caller.hear_end()

    return story


async def stay_silent(caller: Caller) -> None:
    """Hear the pings, and answer none."""
    while await caller.stream.receive_some():
        pass


async def talk_without_end(caller: Caller) -> None:
    """Ignore limits."""
    for _ in range(400):
        caller.protocol.send_binary(caller.session.send(f.Presence(alice.profile, f.PresenceState.AWAY)))
    await caller.flush()
    await caller.hear_end()


ENDS: Final[list[tuple[str, Callable[[Caller], Awaitable[object]], str, set[str]]]] = [
    ("goodbye", closing(1000), "1000", set()),
    ("going-away", closing(1001), "1001", set()),
    ("without-a-code", closing(None), "other", set()),
    ("a-code-of-ours", closing(4101), "other", set()),
    ("a-code-of-its-own", closing(4242), "other", set()),
    ("our-surprise", closing(1011), "other", set()),
    ("vanished", Caller.vanish, "none", set()),
    ("text", sending(b"\x81\x81\0\0\0\0x"), "1003", {"bad-frame"}),
    ("unmasked", sending(b"\x82\x01x"), "1002", {"bad-frame"}),
    ("compressed", sending(b"\xc2\x81\0\0\0\0x"), "1002", {"reserved-bits"}),
    ("giant", sending(b"\x82\xff" + (1 << 30).to_bytes(8)), "1009", {"giant-frame"}),
    ("fragments", sending(b"\x02\x80abcd" + b"\x00\x80abcd" * 2_000), "1008", {"fragments"}),
    ("pings", sending(b"\x89\x80abcd" * 3_000), "1008", {"flood"}),
    ("garbage", sending(b"\x82\x81\0\0\0\0x"), "protocol-error", {"garbage"}),
    ("flood", talk_without_end, "abuse", {"flood"}),
    ("half-open", stay_silent, "heartbeat-missed", {"half-open", "slow-close"}),
]


@pytest.mark.parametrize(("story", "code", "hostile"), [pytest.param(*case[1:], id=case[0]) for case in ENDS])
async def test_an_end_is_counted_once(
    ground: Ground, story: Callable[[Caller], Awaitable[object]], code: str, hostile: set[str]
) -> None:
    """By the code that was said first; and no peer can make its own code look like ours."""
    await open_room(ground, alice)
    async with open_stage(ground, frames_per_second=1, burst=1, strikes=3) as stage:
        caller = await stage.call(alice_laptop)
        difference = await watch(stage, lambda: story(caller))
        assert difference.words("varde_relay_disconnects_total") == {code: 1}
        assert set(difference.words("varde_relay_hostile_total")) == hostile
        assert difference.words("varde_relay_handshakes_total") == {}


async def test_a_replay_is_counted(stage: Stage, ground: Ground) -> None:
    """Who only repeats a first message: let in by it, and cut by the deadline."""
    await open_room(ground, alice)

    async def story() -> None:
        caller = stage.pick_up(alice_laptop, Pattern.IK)
        await caller.upgrade()
        await caller.send(caller.session.open())
        await caller.hear_end()

    difference = await watch(stage, story)
    assert difference.words("varde_relay_handshakes_total") == {"accepted": 1}
    assert difference.words("varde_relay_disconnects_total") == {"handshake-timeout": 1}
    assert difference.words("varde_relay_hostile_total") == {"replay": 1}


async def test_our_own_reasons_are_counted(ground: Ground) -> None:
    """A revocation, a newer connection, a fault of ours, and the end of the node."""
    await open_room(ground, alice, bob)
    async with open_stage(ground, strict=False) as stage:

        async def story() -> None:
            older = await stage.call(alice_laptop)
            await stage.call(alice_laptop)
            await older.hear_end()
            phone = await stage.call(bob_phone)
            ground.bus.publish_nowait([TicketsRevoked(bob_phone.id, ground.clock.now_ms, final=True)])
            await phone.hear_end()
            other = await stage.call(alice_phone)
            peer = stage.services.hub.find(alice_phone.id)
            assert peer is not None
            del peer.mailbox
            await other.say(f.Sync(ConversationId(UUID(int=1)), 1))
            await other.hear_end()

        difference = await watch(stage, story)
        assert difference.words("varde_relay_disconnects_total") == {"replaced": 1, "revoked": 1, "1011": 1}
        assert difference.words("varde_relay_hostile_total") == {}


async def open_slow(stage: Stage) -> Caller:
    """Connect Alice's phone over a socket that holds next to nothing of what was not read yet."""
    caller = stage.pick_up(alice_phone)
    caller.stream = stage.open_stream(narrow=True)
    await caller.connect()
    return caller


async def test_a_slow_reader_is_counted(ground: Ground, letters: Letters) -> None:
    """What is left out for it first, writes that the kernel took a part of, and its end."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground, outbox_bytes=20_000, ephemeral_per_second=1_000) as stage:
        slow = await open_slow(stage)
        await slow.say(f.Join(roster.conversation))
        await slow.hear(f.Joined)
        writer = await stage.listen(bob_phone, roster.conversation)

        async def write(size: int) -> None:
            await writer.say(letters.group(roster, bob, sealed=bytes(size)))
            await writer.hear_some(2)

        peer = stage.services.hub.find(alice_phone.id)
        assert peer is not None

        async def lag() -> None:
            while not peer.outbox.size:  # the kernel takes some first
                await write(5_000)
            await writer.say(*(f.Typing(roster.conversation, bob.profile, active=True) for _ in range(50)))
            for _ in range(2):
                await write(7_000)

        difference = await watch(stage, lag)
        assert difference.words("varde_relay_dropped_frames_total") == {"typing": 50}
        assert difference.moved("varde_relay_partial_writes_total") == 1
        assert difference.words("varde_relay_disconnects_total") == {}

        async def overflow() -> None:
            for _ in range(3):
                await write(6_500)
            await slow.hear_end()

        difference = await watch(stage, overflow)
        assert difference.words("varde_relay_disconnects_total") == {"slow-consumer": 1}
        assert set(difference.words("varde_relay_hostile_total")) <= {"slow-reader", "slow-close"}
        assert difference.moved("varde_relay_hostile_total", "slow-reader") == 1


async def test_answers_that_nobody_reads_are_counted(ground: Ground) -> None:
    """The same code, and another word: nobody had told it anything."""
    await open_room(ground, alice)
    async with open_stage(ground) as stage:
        slow = await open_slow(stage)

        async def pump() -> None:
            for _ in range(6_000):
                slow.protocol.send_ping(bytes(125))
            with pytest.raises(trio.BrokenResourceError):
                await slow.stream.send_all(b"".join(slow.protocol.data_to_send()))

        difference = await watch(stage, pump)
        assert difference.words("varde_relay_disconnects_total") == {"slow-consumer": 1}
        assert difference.moved("varde_relay_hostile_total", "unread-answers") == 1
        assert difference.moved("varde_relay_hostile_total", "slow-reader") == 0


async def test_a_ping_that_the_kernel_refuses_is_written_later(ground: Ground) -> None:
    """A peer that reads again hears every ping that was begun: it would be cut for not answering them."""
    await open_room(ground, alice)
    async with open_stage(ground) as stage:
        slow = await open_slow(stage)
        peer = stage.services.hub.find(alice_phone.id)
        assert peer is not None
        wire = peer.line.ping.__self__._wire  # type: ignore[attr-defined]
        pings = 0
        while not wire.unsent:
            peer.line.ping()
            pings += 1
        heard = b""
        while len(heard) < 2 * pings:
            heard += await slow.stream.receive_some()
        assert heard == b"\x89\x00" * pings


async def test_a_large_welcome_reaches_a_slow_reader(ground: Ground) -> None:
    """What the kernel refuses of it goes out when there is room, though nobody says anything more."""
    roster = await open_room(ground, alice)
    talk = ground.memory.talks[roster.conversation]
    for number in range(1, HEADS_PER_WELCOME):
        other = ConversationId(UUID(int=number))
        ground.memory.talks[other] = replace(talk, id=other)
    async with open_stage(ground) as stage:
        caller = stage.pick_up(alice_phone)
        caller.stream = stage.open_stream(narrow=True)
        assert len((await caller.connect()).heads) == HEADS_PER_WELCOME
