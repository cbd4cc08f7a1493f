"""A database that lost what it had acked: connections end, and whoever comes back is told what is left."""

import trio

from simulation.stores.memory import FIRST_EPOCH
from tests.cast import alice, alice_laptop, alice_phone, bob
from tests.ids import id_of
from tests.relay.memory_node import KEPT, Backend, MemoryNode, Sends, open_room
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import ConversationId, EpochId

SECOND = EpochId(id_of(2))


def restore(backend: Backend, conversation: ConversationId, head: int) -> None:
    """Put back a copy of when this was the head, and note what it has kept."""
    talk = backend.memory.talks[conversation]
    for seq in range(head + 1, talk.head + 1):
        sent = talk.log.pop(seq)
        del talk.known[sent.device, sent.client_id]
    talk.head = head
    backend.memory.epochs.insert(0, (SECOND, {conversation: head}))


async def test_a_new_epoch_ends_every_connection(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Who is connected has numbers that are lost: each comes back, and hears which were kept."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice), sends.group(roster, alice))
    await laptop.receive_many(4)
    restore(backend, roster.conversation, 1)
    assert (await laptop.wait_closed()).code == CloseCode.DATABASE_LOST
    laptop = node.open_client(alice_laptop)
    assert (await laptop.connect()).epoch == SECOND
    await laptop.send(f.Join(roster.conversation))
    assert (await laptop.receive(f.Joined)).epochs == (f.EpochHead(SECOND, 1), f.EpochHead(FIRST_EPOCH, 0))


async def test_nothing_is_acked_under_numbers_of_another_epoch(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A message stored after the loss is not acked to who does not know of it; asked again, it is there once."""
    roster = await open_room(backend, alice, bob)
    phone = await node.connect_client(alice_phone)
    frame = sends.group(roster, alice)
    backend.interference.hold_commits()
    await phone.send(frame)
    await backend.interference.wait_commit_held()
    restore(backend, roster.conversation, 0)
    backend.interference.release_commits()
    assert (await phone.wait_closed()).code == CloseCode.DATABASE_LOST
    phone = await node.connect_client(alice_phone)
    await trio.sleep(2)  # longer than the node takes its database to be away
    await phone.send(frame)
    assert (await phone.receive(f.Ack)).seq == 1
    assert backend.memory.talks[roster.conversation].head == 1


async def test_a_store_that_lost_nothing_says_so(node: MemoryNode, backend: Backend) -> None:
    """One epoch, and every number of it was kept."""
    roster = await open_room(backend, alice, bob)
    laptop = node.open_client(alice_laptop)
    assert (await laptop.connect()).epoch == FIRST_EPOCH
    await laptop.send(f.Join(roster.conversation))
    assert (await laptop.receive(f.Joined)).epochs == KEPT
