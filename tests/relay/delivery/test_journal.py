"""The journal from outside: batches, and commits that wait, fail or never answer."""

import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.cast import (
    alice,
    alice_laptop,
    bob,
    bob_phone,
    put_member,
)
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room, waiting_bytes
from varde_contract import frames as f
from varde_contract.talk import Role


async def test_nothing_is_acked_or_told_before_the_commit(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """While the commit hangs, neither the sender nor anybody else hears a thing; afterwards both do."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    backend.interference.hold_commits()
    await laptop.send(sends.group(roster, alice))
    await backend.interference.wait_commit_held()
    assert await laptop.receive_pending() == []
    assert await phone.receive_pending() == []
    assert backend.published == []
    backend.interference.release_commits()
    await laptop.receive(f.Ack)
    await phone.receive(f.New)


async def test_what_waits_for_a_commit_is_one_batch(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Frames of several connections that gather during a commit are stored by the next one together."""
    roster = await open_room(backend, alice, bob)
    laptop, phone = await node.connect_client(alice_laptop), await node.connect_client(bob_phone)
    backend.interference.hold_commits()
    await laptop.send(sends.group(roster, alice))
    await backend.interference.wait_commit_held()
    await laptop.send(sends.group(roster, alice), sends.group(roster, alice))
    await phone.send(sends.group(roster, bob))
    await wait_all_tasks_blocked()
    backend.interference.release_commits()
    assert [ack.seq for ack in [await laptop.receive(f.Ack) for _ in range(3)]] == [1, 2, 3]
    assert (await phone.receive(f.Ack)).seq == 4
    batches = getattr(backend.stores.journal, "batches", [])
    assert [len(batch) for batch in batches] == [1, 3]


async def test_a_lost_answer_is_found_by_sending_again(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A commit whose answer was lost is refused as unavailable; the same client id brings its ack and its fan-out."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    backend.interference.lose_commit_answers()
    frame = sends.group(roster, alice)
    await laptop.send(frame)
    refused = await laptop.receive(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("msg:send", frame.client_id, "unavailable")
    assert await phone.receive_pending() == []
    assert refused.retry_after_ms is not None
    await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
    await laptop.send(frame)
    assert (await laptop.receive(f.Ack)).seq == 1
    assert (await phone.receive(f.New)).client_id == frame.client_id


async def test_an_outage_between_two_tries_is_said(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A send that has to be decided again while the database is away is refused as unavailable."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.each(roster, alice, alice_laptop))
    await backend.interference.wait_commit_held()
    await put_member(backend.stores, roster.conversation, bob, Role.ADMIN)
    backend.interference.release_commits()
    batches = backend.stores.journal.batches  # type: ignore[attr-defined]
    while not batches:
        await trio.lowlevel.checkpoint()
    with backend.interference.outage():
        assert (await laptop.receive(f.RefusedFrame)).code == "unavailable"


async def test_an_ack_of_what_another_node_stored_meanwhile_leaves_at_once(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A send that lost the race against its repetition at another node is acked at once, as any other."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    frame = sends.group(roster, alice)
    await laptop.send(frame)
    await backend.interference.wait_commit_held()
    await put_member(backend.stores, roster.conversation, bob, Role.ADMIN)
    backend.interference.release_commits()
    batches = backend.stores.journal.batches  # type: ignore[attr-defined]
    while not batches:
        await trio.lowlevel.checkpoint()
    ((draft,),) = batches
    await backend.stores.journal.commit([replace(draft, roster_version=roster.version + 1)])
    ack = await laptop.receive(f.Ack)
    assert (ack.client_id, ack.seq) == (frame.client_id, 1)


async def test_who_waits_behind_a_failed_commit_is_refused_at_once(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """Nobody waits for one deadline after another: the first failure answers for everything in the queue."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.group(roster, alice))
    await backend.interference.wait_commit_held()
    await laptop.send(*(sends.group(roster, alice) for _ in range(3)))
    await wait_all_tasks_blocked()
    backend.interference.unavailable = True
    backend.interference.release_commits()
    assert [(await laptop.receive(f.RefusedFrame)).code for _ in range(4)] == ["unavailable"] * 4
    backend.interference.unavailable = False
    assert await laptop.receive_pending() == []


async def test_a_commit_without_an_answer_has_a_deadline(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A database that neither answers nor fails is taken for one that is away."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.group(roster, alice))
    assert (await laptop.receive(f.RefusedFrame)).code == "unavailable"


async def test_refusal_overloaded(backend: Backend, sends: Sends) -> None:
    """When too many wait for the database, the next is asked to come back, and those that wait are stored."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, queue_drafts=4) as node:
        laptop = await node.connect_client(alice_laptop)
        backend.interference.hold_commits()
        await laptop.send(sends.group(roster, alice))
        await backend.interference.wait_commit_held()
        await laptop.send(*(sends.group(roster, alice) for _ in range(3)))
        refused = await laptop.receive(f.RefusedFrame)
        assert refused.code == "overloaded"
        assert refused.retry_after_ms is not None
        backend.interference.release_commits()
        assert [(await laptop.receive(f.Ack)).seq for _ in range(3)] == [1, 2, 3]


async def test_what_waits_is_bounded_in_bytes(backend: Backend, sends: Sends) -> None:
    """A few large messages fill the queue as many small ones do, and what is written makes room again."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, queue_bytes=2_000) as node:
        laptop = await node.connect_client(alice_laptop)
        for seqs in ([1, 2, 3], [4, 5, 6]):
            backend.interference.hold_commits()
            await laptop.send(sends.group(roster, alice))
            await backend.interference.wait_commit_held()
            await laptop.send(*(sends.group(roster, alice, bytes(500)) for _ in range(3)))
            assert (await laptop.receive(f.RefusedFrame)).code == "overloaded"
            backend.interference.release_commits()
            assert [(await laptop.receive(f.Ack)).seq for _ in range(3)] == seqs


async def test_bytes_that_were_refused_make_room(backend: Backend, sends: Sends) -> None:
    """After an outage that emptied the queue, all the room is there again."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, queue_bytes=2_000) as node:
        laptop = await node.connect_client(alice_laptop)
        backend.interference.hold_commits()
        await laptop.send(sends.group(roster, alice))
        await backend.interference.wait_commit_held()
        await laptop.send(*(sends.group(roster, alice, bytes(500)) for _ in range(2)))
        await wait_all_tasks_blocked()
        backend.interference.unavailable = True
        backend.interference.release_commits()
        assert [(await laptop.receive(f.RefusedFrame)).code for _ in range(3)] == ["unavailable"] * 3
        backend.interference.unavailable = False
        await trio.sleep(node.services.settings.outage_patience)  # in time that jumps
        await laptop.send(*(sends.group(roster, alice, bytes(500)) for _ in range(2)))
        assert [(await laptop.receive(f.Ack)).seq for _ in range(2)] == [1, 2]
        assert waiting_bytes(node) == 0
