"""From the first byte to Welcome, one message at a time."""

from dataclasses import replace
from uuid import UUID

import msgspec
import pytest
from trio.testing import wait_all_tasks_blocked

from domain.people.events import TicketsRevoked
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, mallory_phone
from tests.relay.caller import Caller, Ended
from tests.relay.stage import RELAY_KEY, TICKET_KEY, Ground, Stage, open_room
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.session import PROTOCOL_VERSION, Pattern

DAY_MS = 24 * 60 * 60 * 1000


async def end_of(caller: Caller) -> int | None:
    """Go through the handshake as far as it goes, and return the close code."""
    await caller.upgrade()
    await caller.send(caller.session.open())
    return (await caller.hear_end()).code


async def test_frame_welcome(stage: Stage, ground: Ground) -> None:
    """The relay's first word says what it allows and where each conversation of the device stands."""
    roster = await open_room(ground, alice, bob)
    welcome = await stage.pick_up(alice_laptop).connect()
    assert welcome.heads == (f.Head(roster.conversation, 0, 0, 1),)
    assert not welcome.more
    assert welcome.time == ground.clock.now_ms
    assert welcome.heartbeat_ms == 25_000
    assert welcome.limits == stage.services.limits


async def test_frame_hello_travels_last_in_xx(stage: Stage, ground: Ground) -> None:
    """With XX the client knows the relay's key before it says who it is, and the relay has no doubt afterwards."""
    await open_room(ground, alice, bob)
    caller = stage.pick_up(alice_laptop)
    await caller.upgrade()
    await caller.send(caller.session.open())
    await caller.hear(f.Welcome)
    assert caller.session.remote_static == RELAY_KEY.public
    assert caller.messages == 2
    assert stage.services.hub.find(alice_laptop.id) is not None


async def test_ik_takes_one_round_trip(stage: Stage, ground: Ground) -> None:
    """With IK the first message carries Hello, and the Noise answer and Welcome come back without another word."""
    await open_room(ground, alice, bob)
    caller = stage.pick_up(alice_laptop, Pattern.IK)
    await caller.connect()
    await caller.say(f.Join())
    assert isinstance(await caller.hear(f.Joined), f.Joined)
    assert stage.services.hub.find(alice_laptop.id) is not None


async def test_a_replayed_ik_message_has_no_side_effect(stage: Stage, ground: Ground) -> None:
    """Who only repeats a first message replaces nobody, shows nobody and can read no answer."""
    roster = await open_room(ground, alice, bob)
    original, replay = (stage.pick_up(alice_laptop, Pattern.IK) for _ in range(2))
    first = original.session.open()
    await original.upgrade()
    await original.send(first)
    await original.hear(f.Welcome)
    await original.say(f.Join(roster.conversation))
    await original.hear(f.Joined)
    before = stage.services.hub.find(alice_laptop.id)
    await replay.upgrade()
    await replay.send(first)
    await wait_all_tasks_blocked()
    assert stage.services.hub.find(alice_laptop.id) is before
    assert ground.told == []
    await original.say(f.Sync(roster.conversation, 1))
    assert (await original.hear(f.RefusedFrame)).code == "out-of-range"


async def test_a_replayer_that_answers_pings_is_cut_all_the_same(stage: Stage, ground: Ground) -> None:
    """Without one authentic message the connection ends with the handshake's deadline, whatever the WebSocket says."""
    await open_room(ground, alice)
    caller = stage.pick_up(alice_laptop, Pattern.IK)
    await caller.connect()
    ended = await caller.hear_end()
    assert ended.code == 4004
    assert len(stage.services.hub) == 0


async def test_close_handshake_timeout(stage: Stage) -> None:
    """Who upgrades and then says nothing is closed after ten seconds."""
    caller = stage.pick_up(alice_laptop)
    await caller.upgrade()
    assert (await caller.hear_end()).code == 4004


async def test_close_bad_ticket(stage: Stage) -> None:
    """A ticket that no key of ours signed is refused."""
    head, claims, _ = stage.ticket(alice_laptop).split(".")
    assert await end_of(stage.pick_up(alice_laptop, ticket=f"{head}.{claims}.{'A' * 86}")) == 4100


async def test_refusal_ticket_invalid(stage: Stage) -> None:
    """A good ticket of another device does not open the door, whichever of the two Hello names."""
    foreign = stage.ticket(bob_phone)
    assert await end_of(stage.pick_up(mallory_phone, ticket=foreign)) == 4100
    hello = f.Hello(PROTOCOL_VERSION, foreign, bob_phone.id)
    assert await end_of(stage.pick_up(mallory_phone, hello=hello)) == 4100


async def test_refusal_ticket_expired(stage: Stage, ground: Ground) -> None:
    """A ticket is good for a day."""
    ticket = stage.ticket(alice_laptop)
    ground.clock.go_on(DAY_MS)
    assert await end_of(stage.pick_up(alice_laptop, ticket=ticket)) == 4104


async def test_refusal_ticket_revoked(stage: Stage, ground: Ground) -> None:
    """A revoked device stays out, also with a ticket issued later."""
    ground.bus.publish_nowait([TicketsRevoked(alice_laptop.id, ground.clock.now_ms, final=True)])
    ground.clock.go_on(1_000)
    assert await end_of(stage.pick_up(alice_laptop)) == 4101


async def test_a_ticket_from_before_a_new_whitelist_is_withdrawn(stage: Stage, ground: Ground) -> None:
    """After its whitelist changed, a device comes back with a new ticket only."""
    await open_room(ground, alice)
    old = stage.ticket(alice_laptop)
    ground.clock.go_on(1_000)
    ground.bus.publish_nowait([TicketsRevoked(alice_laptop.id, ground.clock.now_ms, final=False)])
    ground.clock.go_on(1_000)
    assert await end_of(stage.pick_up(alice_laptop, ticket=old)) == 4100
    await stage.call(alice_laptop)


async def test_close_unsupported_version(stage: Stage) -> None:
    """A client of another version of the protocol is told so."""
    hello = f.Hello(PROTOCOL_VERSION + 1, stage.ticket(alice_laptop), alice_laptop.id)
    assert await end_of(stage.pick_up(alice_laptop, hello=hello)) == 4106


async def test_refusal_version_unsupported(stage: Stage) -> None:
    """Neither pattern lets another version in."""
    hello = f.Hello(PROTOCOL_VERSION + 1, stage.ticket(alice_laptop), alice_laptop.id)
    assert await end_of(stage.pick_up(alice_laptop, Pattern.IK, hello=hello)) == 4106


@pytest.mark.parametrize(
    "first", [b"", b"\x00", b"\x03" + bytes(64), b"\x01", b"\x01" + bytes(31), b"\x02" + bytes(96)]
)
async def test_close_handshake_failed(stage: Stage, first: bytes) -> None:
    """A first message that is no handshake ends the connection."""
    caller = stage.pick_up(alice_laptop)
    await caller.upgrade()
    await caller.send(first)
    assert (await caller.hear_end()).code == 4105


async def test_a_hello_that_is_none_fails_the_handshake(stage: Stage) -> None:
    """What is sealed in good order and means nothing ends the connection as well."""
    caller = stage.pick_up(alice_laptop)
    caller.session._hello = msgspec.msgpack.encode({"hello": 1})
    assert await end_of(caller) == 4105


async def test_a_frame_before_welcome_is_a_fault(stage: Stage, ground: Ground) -> None:
    """The session's table has no row for what a client says before it was welcomed."""
    await open_room(ground, alice)
    caller = stage.pick_up(alice_laptop, Pattern.IK)
    await caller.upgrade()
    caller.protocol.send_binary(caller.session.open())
    caller.protocol.send_binary(b"too early to be sealed")
    await caller.stream.send_all(b"".join(caller.protocol.data_to_send()))
    with pytest.raises(Ended) as ended:
        await caller.hear(f.Welcome)
    assert ended.value.code == 4103


async def test_close_database_lost(stage: Stage, ground: Ground) -> None:
    """Who comes while the database is away is asked to come back later."""
    with ground.interference.outage():
        assert await end_of(stage.pick_up(alice_laptop)) == 4003


async def test_two_devices_of_one_account_are_two_peers(stage: Stage, ground: Ground) -> None:
    """A phone does not replace a laptop."""
    await open_room(ground, alice)
    await stage.call(alice_laptop)
    await stage.call(alice_phone)
    assert len(stage.services.hub) == 2


async def test_a_device_with_many_conversations_is_told_of_the_first_thousand(stage: Stage, ground: Ground) -> None:
    """Welcome stays within one message, and says that there is more."""
    roster = await open_room(ground, alice)
    talk = ground.memory.talks[roster.conversation]
    for number in range(1, 1_001):
        other = ConversationId(UUID(int=number))
        ground.memory.talks[other] = replace(talk, id=other)
    welcome = await stage.pick_up(alice_laptop).connect()
    assert len(welcome.heads) == 1_000
    assert welcome.more


def test_the_ticket_key_of_the_tests_is_not_the_relays() -> None:
    """The two keys of a server are different things."""
    assert TICKET_KEY.private_bytes_raw() != RELAY_KEY.private_bytes()
