"""Every close code, every frame of the relay, and every refusal it sends is provoked, and a client sees it.

Whoever adds one of them adds how it is provoked: the tables here have a row for each, and a test for that.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args

import pytest
import trio
from msgspec.structs import replace

from domain.people.events import KeysLow, TicketsRevoked
from domain.talk import model as talk
from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.ids import id_of
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION, Pattern

DAY_MS: Final = 24 * 60 * 60 * 1000
NOWHERE: Final = ConversationId(id_of(7))

Settings = dict[str, Any]
Provoke = Callable[[MemoryNode, Backend], Awaitable[StreamClient]]


async def connect(node: MemoryNode, _: Backend) -> StreamClient:
    """A client in good order."""
    return await node.connect_client(alice_laptop)


async def draining(node: MemoryNode, _: Backend) -> StreamClient:
    """The node begins to drain before an IK client has proven to be alive."""
    client = await node.connect_client(alice_laptop, Pattern.IK)
    node.services.begin_drain()
    await client.send(f.Join())
    return client


async def slow_consumer(node: MemoryNode, backend: Backend) -> StreamClient:
    """A client does not read, and its messages no longer fit into its outbox."""
    client = await connect(node, backend)
    for _ in range(3):
        node.services.hub.find(alice_laptop.id).outbox.put(f.New, bytes(400))  # type: ignore[union-attr]
    return client


async def full(node: MemoryNode, backend: Backend) -> StreamClient:
    """The node has as many connections as it may have."""
    await connect(node, backend)
    return await begin(node.open_client(bob_phone))


async def begin(client: StreamClient) -> StreamClient:
    """Open the handshake and wait for nothing."""
    await client.upgrade()
    await client.send_message(client.session.open())
    return client


async def database_away(node: MemoryNode, backend: Backend) -> StreamClient:
    """The database does not answer."""
    backend.interference.unavailable = True
    return await begin(node.open_client(alice_laptop))


async def silent_after_upgrade(node: MemoryNode, _: Backend) -> StreamClient:
    """No handshake follows the upgrade."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    return client


async def silent(node: MemoryNode, backend: Backend) -> StreamClient:
    """No ping is answered."""
    client = await connect(node, backend)
    await trio.sleep(4 * node.services.settings.heartbeat)  # in time that jumps
    return client


async def no_ticket(node: MemoryNode, _: Backend) -> StreamClient:
    """The ticket is not signed by us."""
    return await begin(node.open_client(alice_laptop, ticket="no ticket"))


async def revoked(node: MemoryNode, backend: Backend) -> StreamClient:
    """The device is revoked."""
    client = await connect(node, backend)
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=True)])
    return client


async def replaced(node: MemoryNode, backend: Backend) -> StreamClient:
    """The device connects again."""
    client = await connect(node, backend)
    await connect(node, backend)
    return client


async def malformed(node: MemoryNode, backend: Backend) -> StreamClient:
    """A message in good order holds no frames."""
    client = await connect(node, backend)
    await client.send_message(client.session.seal(b"\xc0"))
    return client


async def ticket_expired(node: MemoryNode, backend: Backend) -> StreamClient:
    """The ticket expires while the client is connected."""
    client = await connect(node, backend)
    backend.clock.advance(DAY_MS)
    return client


async def no_noise(node: MemoryNode, _: Backend) -> StreamClient:
    """What follows the byte of the pattern is no Noise message."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    await client.send_message(b"\x02" + bytes(100))
    return client


async def unknown_pattern(node: MemoryNode, _: Backend) -> StreamClient:
    """The first byte names no pattern."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    await client.send_message(bytes(100))
    return client


async def no_hello(node: MemoryNode, _: Backend) -> StreamClient:
    """Noise authenticates, and what it carries is no Hello."""
    client = node.open_client(alice_laptop)
    client.session._hello = b"\xc0"
    return await begin(client)


async def future_version(node: MemoryNode, _: Backend) -> StreamClient:
    """Hello asks for a version that does not exist yet."""
    hello = f.Hello(PROTOCOL_VERSION + 1, node.ticket(alice_laptop), alice_laptop.id)
    return await begin(node.open_client(alice_laptop, hello=hello))


async def abuse(node: MemoryNode, backend: Backend) -> StreamClient:
    """Refusals for too many frames are ignored."""
    client = await connect(node, backend)
    for _ in range(4):
        await client.send(*[f.Sync(NOWHERE, 1)] * 256)
    return client


CLOSED: Final[dict[CloseCode, tuple[Provoke, Settings]]] = {
    CloseCode.DRAINING: (draining, {}),
    CloseCode.SLOW_CONSUMER: (slow_consumer, {"outbox_bytes": 1_000}),
    CloseCode.OVERLOADED: (full, {"connections": 1}),
    CloseCode.DATABASE_LOST: (database_away, {}),
    CloseCode.HANDSHAKE_TIMEOUT: (silent_after_upgrade, {}),
    CloseCode.HEARTBEAT_MISSED: (silent, {}),
    CloseCode.BAD_TICKET: (no_ticket, {}),
    CloseCode.REVOKED: (revoked, {}),
    CloseCode.REPLACED: (replaced, {}),
    CloseCode.PROTOCOL_ERROR: (malformed, {}),
    CloseCode.TICKET_EXPIRED: (ticket_expired, {}),
    CloseCode.HANDSHAKE_FAILED: (no_noise, {}),
    CloseCode.BAD_HELLO: (no_hello, {}),
    CloseCode.UNSUPPORTED_HANDSHAKE: (unknown_pattern, {}),
    CloseCode.UNSUPPORTED_VERSION: (future_version, {}),
    CloseCode.ABUSE: (abuse, {"frames_per_second": 1, "strikes": 1}),
}


TELL_THE_RULE: Final = frozenset(
    {
        *(CloseCode.OVERLOADED, CloseCode.DATABASE_LOST, CloseCode.HANDSHAKE_TIMEOUT, CloseCode.BAD_TICKET),
        *(CloseCode.PROTOCOL_ERROR, CloseCode.HANDSHAKE_FAILED, CloseCode.UNSUPPORTED_VERSION, CloseCode.ABUSE),
        *(CloseCode.BAD_HELLO, CloseCode.UNSUPPORTED_HANDSHAKE),
    }
)


@pytest.mark.parametrize("code", CloseCode)
async def test_every_close_code_is_seen_by_a_client(backend: Backend, code: CloseCode) -> None:
    """With its code, and a reason that begins with its label; a rule that was broken follows."""
    await open_room(backend, alice, bob)
    provoke, settings = CLOSED[code]
    async with open_node(backend, **settings) as node:
        closed = await (await provoke(node, backend)).wait_closed()
        word, _, rule = (closed.reason or "").partition(": ")
        assert (closed.code, word) == (code, code.label)
        assert bool(rule) is (code in TELL_THE_RULE)


REFUSED: Final[dict[RefusalCode, tuple[Callable[[talk.Roster], f.ClientFrame], Settings]]] = {
    RefusalCode.MALFORMED: (lambda _: f.Join(None, 1), {}),
    RefusalCode.NOT_FOUND: (lambda _: f.Join(NOWHERE), {}),
    RefusalCode.PROFILE_NOT_ALLOWED: (lambda _: f.Presence(bob.profile, f.PresenceState.ACTIVE), {}),
    RefusalCode.STALE_DEVICES: (lambda roster: Sends().group(replace(roster, version=99), alice), {}),
    RefusalCode.NOT_JOINED: (lambda roster: f.Delivered(roster.conversation, 0), {}),
    RefusalCode.OUT_OF_RANGE: (lambda roster: f.Join(roster.conversation, 99), {}),
    RefusalCode.TOO_MANY: (lambda roster: f.Join(roster.conversation), {"joined": 0}),
    RefusalCode.RATE_LIMITED: (lambda _: f.Typing(NOWHERE, alice.profile, active=True), {"ephemeral_per_second": 1e-9}),
    RefusalCode.OVERLOADED: (lambda roster: Sends().group(roster, alice), {"queue_bytes": 0}),
    RefusalCode.UNAVAILABLE: (lambda roster: f.Delivered(roster.conversation, 0), {}),
}
"""A frame that is refused with the code, by a client that has joined nothing."""


ELSEWHERE: Final = frozenset(
    {
        # Of a Hello: they become close codes, above.
        *(RefusalCode.TICKET_INVALID, RefusalCode.TICKET_EXPIRED, RefusalCode.TICKET_REVOKED),
        *(RefusalCode.VERSION_UNSUPPORTED, RefusalCode.TOO_SLOW, RefusalCode.INTERNAL),
        # Of the API: tests/api provokes them.
        *(RefusalCode.TOO_LARGE, RefusalCode.UNSUPPORTED_MEDIA_TYPE, RefusalCode.METHOD_NOT_ALLOWED),
        *(RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED, RefusalCode.CODE_WRONG, RefusalCode.CODE_EXPIRED),
        *(RefusalCode.CODE_EXHAUSTED, RefusalCode.NOT_ALLOWED, RefusalCode.NO_DEVICE, RefusalCode.BAD_DEVICE_LIST),
        *(
            RefusalCode.STALE_DEVICE_LIST,
            RefusalCode.STALE_CHAIN,
            RefusalCode.SESSION_HAS_DEVICE,
            RefusalCode.DEVICE_EXISTS,
            RefusalCode.BAD_KEY,
        ),
        *(RefusalCode.BAD_SIGNATURE, RefusalCode.WRONG_KIND, RefusalCode.ALREADY_MEMBER, RefusalCode.LAST_OWNER),
        *(RefusalCode.CLAIM_LIMIT, RefusalCode.STALE_CHAIN, RefusalCode.NAME_TAKEN),
        *(RefusalCode.BAD_CARD, RefusalCode.STALE_CARD),
    }
)


@pytest.mark.parametrize("code", REFUSED)
async def test_every_refusal_of_a_frame_is_seen_by_a_client(backend: Backend, code: RefusalCode) -> None:
    """The answer names the frame and its code."""
    roster = await open_room(backend, alice, bob)
    make_frame, settings = REFUSED[code]
    async with open_node(backend, **settings) as node:
        client = await node.connect_client(alice_laptop)
        frame = make_frame(roster)
        if code is RefusalCode.RATE_LIMITED:
            await client.send(frame)
            await client.receive(f.RefusedFrame)  # for the one that the limit allows
        backend.interference.unavailable = code is RefusalCode.UNAVAILABLE
        await client.send(frame)
        refused = await client.receive(f.RefusedFrame)
        assert (refused.code, refused.about, refused.subject) == (code, f.tag_of(frame), f.subject_of(frame))
        backend.interference.unavailable = False


async def test_every_frame_of_the_relay_is_seen_by_a_client(backend: Backend, sends: Sends) -> None:
    """In one conversation between two people."""
    roster = await open_room(backend, alice, bob)
    conversation, seen = roster.conversation, set[type]()
    async with open_node(backend, outbox_bytes=4_096) as node:
        laptop = await node.connect_client(alice_laptop)
        seen.add(f.Welcome)
        phone = await node.listen(bob_phone, conversation)
        await laptop.send(f.Join(conversation), f.Join(NOWHERE))
        await laptop.send(sends.group(roster, alice))
        await phone.receive(f.New)
        await phone.send(f.Delivered(conversation, 1), f.Read(conversation, bob.profile, 1), sends.group(roster, bob))
        await phone.send(
            f.Typing(conversation, bob.profile, active=True), f.Presence(bob.profile, f.PresenceState.ACTIVE)
        )
        await laptop.send(f.Probe(b""))
        backend.bus.publish_nowait([KeysLow(alice_laptop.id, 3)])
        seen |= {type(frame) for frame in await laptop.receive_pending()}
        peer = node.services.hub.find(alice_laptop.id)
        assert peer is not None
        peer.outbox.put(f.TypingBy, bytes(5_000))  # it finds no room
        peer.send_goaway(f.Goaway(CloseCode.DRAINING, 0, 0))
        peer.outbox.flush()
        seen |= {type(frame) for frame in await laptop.receive_pending()}
    assert {each.__name__ for each in seen} == {each.__name__ for each in get_args(f.ServerFrame)}


def test_every_code_has_its_row() -> None:
    """Whoever adds a close code or a refusal says here how it is provoked, or that no frame is refused with it."""
    assert set(CLOSED) == set(CloseCode)
    assert set(REFUSED) | ELSEWHERE == set(RefusalCode)
    assert not set(REFUSED) & ELSEWHERE
