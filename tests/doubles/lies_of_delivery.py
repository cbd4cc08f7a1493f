"""Lies about messages: their order, their numbers, what was lost, and the prekeys they begin with."""

from typing import TypeVar

import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.doubles.dishonest_server import DishonestServer
from tests.ids import id_of
from tests.varde.endpoints import NOW, Endpoint
from varde.clock import fresh_id
from varde_contract import frames as f
from varde_contract.bodies import GroupKey
from varde_contract.ids import ClientId, EpochId, MessageId
from varde_contract.rest.people import ClaimedKey, ClaimedKeys, SignedKey
from varde_contract.signed_statements import one_time_key_statement
from varde_contract.talk import ConversationKind, GapReason

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


async def two_histories(server: DishonestServer) -> None:
    """Of two messages Bob is given one and Carol the other, as the same number."""
    await server.say(server.alice, "hello")
    server.hide_next(server.bob)
    await server.say(server.alice, "yes")
    server.hide_next(server.carol)
    await server.say(server.alice, "no")
    await server.say(server.carol, "she said yes")


async def two_orders(server: DishonestServer) -> None:
    """Bob reads two messages in their order, Carol the other way round."""
    await server.say(server.alice, "hello")
    held = server.hold(server.carol)
    await server.say(server.alice, "no")
    await server.say(server.alice, "on second thoughts, yes")
    server.release(server.carol, held[::-1])


async def reordered(server: DishonestServer) -> None:
    """Two messages of one sender swap their numbers."""
    held = server.hold(server.bob)
    await server.say(server.alice, "first")
    await server.say(server.alice, "second")
    server.release(server.bob, held[::-1])


async def dropped(server: DishonestServer) -> None:
    """A message is acked and given to nobody, and the next one has its number."""
    server.hide_next(server.bob)
    await server.say(server.alice, "hidden")
    await server.say(server.alice, "after it")


async def not_for_you(server: DishonestServer) -> None:
    """In the place of a message Bob is told that it was for others."""
    await server.say(server.alice, "hello")
    server.hold(server.bob)
    await server.say(server.alice, "hidden")
    (hidden,) = server.held.pop(server.bob.id)
    gap = f.Gap(server.talk.conversation, hidden.seq, hidden.seq, GapReason.NOT_FOR_YOU)
    server.relay.deliver(server.bob.id, gap)
    await server.say(server.alice, "after it")


async def not_for_you_by_all(server: DishonestServer) -> None:
    """Bob is told so of everything that Alice says; Carol, who has read it, writes."""
    await server.say(server.alice, "hello")
    honest = server.relay.alter
    server.relay.alter = lambda device, frame: [
        f.Gap(each.conversation, each.seq, each.seq, GapReason.NOT_FOR_YOU)
        if isinstance(each, f.New) and device == server.bob.id and each.sender_device == server.alice.id
        else each
        for each in honest(device, frame)
    ]
    await server.say(server.alice, "hidden")
    await server.say(server.alice, "hidden too")
    await server.say(server.carol, "I agree")


async def withheld_tail(server: DishonestServer) -> None:
    """The newest message is acked and given to nobody."""
    await server.say(server.alice, "hello")
    server.hide_next(server.bob)
    await server.say(server.alice, "hidden")


async def replayed(server: DishonestServer) -> None:
    """A message is delivered twice."""
    held = server.hold(server.bob)
    await server.say(server.alice, "once")
    server.release(server.bob, held)
    server.relay.deliver(server.bob.id, *held)


async def replayed_as_another_number(server: DishonestServer) -> None:
    """A message is delivered a second time, as the next number."""
    held = server.hold(server.bob)
    await server.say(server.alice, "once")
    server.release(server.bob, held * 2)


async def made_up_ack(server: DishonestServer) -> None:
    """Bob is told that the number of Alice's message is one of his own."""
    ack = f.Ack(ClientId(fresh_id()), server.talk.conversation, MessageId(fresh_id()), 1, NOW)
    server.relay.deliver(server.bob.id, ack)
    await server.say(server.alice, "not hidden")


async def made_up_gap(server: DishonestServer) -> None:
    """In the place of a message Bob is told that the number is one of his own."""
    server.hold(server.bob)
    await server.say(server.alice, "hidden")
    server.held.pop(server.bob.id)
    server.relay.deliver(server.bob.id, f.Gap(server.talk.conversation, 1, 1, GapReason.OWN))


async def made_up_epoch(server: DishonestServer) -> None:
    """Everybody is told that the server lost what it has."""
    await server.say(server.alice, "one")
    await server.say(server.bob, "two")
    server.relay.epochs.insert(0, (EpochId(id_of(100)), {server.talk.conversation: 0}))
    await reconnect(server, server.alice, server.bob)


async def older_epoch(server: DishonestServer) -> None:
    """An epoch that was over comes back."""
    await server.say(server.alice, "one")
    server.relay.epochs.insert(0, (EpochId(id_of(100)), {server.talk.conversation: 1}))
    await reconnect(server, server.alice, server.bob)
    await server.say(server.bob, "two")
    server.relay.epochs.pop(0)
    await reconnect(server, server.alice, server.bob)


async def made_up_own_number(server: DishonestServer) -> None:
    """Alice is told that her device sent more than it did."""
    await server.say(server.alice, "one")
    honest = server.relay.alter
    server.relay.alter = lambda device, frame: [
        replace(each, own_seq=1_000) if isinstance(each, f.Joined) and device == server.alice.id else each
        for each in honest(device, frame)
    ]
    await reconnect(server, server.alice)
    await server.say(server.alice, "two")


async def reconnect(server: DishonestServer, *clients: Endpoint) -> None:
    """Cut clients, and let them come back."""
    for client in clients:
        server.relay.cut(client.id)
    await wait_all_tasks_blocked()
    await trio.sleep(1)  # of the mocked clock: what is sent again is sent by then
    await wait_all_tasks_blocked()


async def swapped_prekey(server: DishonestServer) -> None:
    """The ghost's prekey is handed out as Bob's."""
    key = ClaimedKey(server.bob.id, server.ghost.one_time_keys[0], fallback=False)
    server.bend(server.alice, "claim_prekeys", lambda _: ClaimedKeys((key,), ()))
    await server.say(server.alice, "secret")


async def non_canonical_prekey(server: DishonestServer) -> None:
    """Bob's prekey with bit 255 set, which Bob's device even signed."""
    honest = server.bob.one_time_keys[0]
    bent = honest.key[:-1] + bytes((honest.key[-1] | 0x80,))
    signature = server.bob.sign(one_time_key_statement(server.bob.id, bent, honest.kem_key))
    key = ClaimedKey(server.bob.id, SignedKey(bent, honest.kem_key, signature), fallback=False)
    server.bend(server.alice, "claim_prekeys", lambda _: ClaimedKeys((key,), ()))
    await server.say(server.alice, "secret")


async def group_key_in_dm(server: DishonestServer) -> None:
    """A device of Bob that is in league with the server sends a group key into a dm."""
    await server.say(server.alice, "hello")
    draft = server.talk.draft(server.bob)
    ready = server.talk.encrypt_for_each(server.bob, draft, GroupKey(bytes(32), "AAAA"))
    assert ready.devices is not None
    server.talk.seq = 1
    server.relay.deliver(server.alice.id, server.talk.commit(server.bob, draft, ready)[server.alice.id])
