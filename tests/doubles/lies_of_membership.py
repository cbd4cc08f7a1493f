"""Lies about the chain of membership statements."""

from typing import TypeVar

from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.cast import bob_laptop
from tests.doubles.dishonest_server import DishonestServer
from tests.ids import id_of
from tests.varde.endpoints import NOW, endpoint
from tests.varde.memory_relay import open_client
from varde.clock import fresh_id
from varde_contract import frames as f
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.envelope import ENVELOPE_VERSION, Cipher
from varde_contract.ids import ClientId, MessageId
from varde_contract.rest.talk import (
    ChainHead,
    Statements,
    StatementView,
)
from varde_contract.talk import ConversationKind, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


async def show_chain(server: DishonestServer, state: m.Membership, *signed: bytes, ghost: bool = False) -> None:
    """Show Bob a roster after these statements."""
    numbers = [s.parse_statement(each)[0].number for each in signed]
    page = Statements(tuple(StatementView(n, 1_000 + n, each, None) for n, each in zip(numbers, signed, strict=True)))
    server.bend(server.bob, "statements", lambda _: page)
    view = replace(server.view, chain=ChainHead(state.number, state.head))
    await server.show(server.bob, server.view_with_member(view) if ghost else view)
    await server.say(server.bob, "secret")


def forged_invitation(server: DishonestServer) -> bytes:
    """Alice's invitation of the ghost, which Alice never signed."""
    head = m.next_head(server.talk.chain.now, server.alice.signer, NOW)
    person = server.ghost.person
    return s.sign_statement(s.Invite(*head, person.profile, person.account, Role.MEMBER), server.ghost.sign)


async def forged_statement(server: DishonestServer) -> None:
    """The ghost accepts an invitation that the server signed in Alice's name."""
    invitation = forged_invitation(server)
    invited = m.replay(server.talk.chain.now, invitation)
    acceptance = s.sign_statement(s.Accept(*m.next_head(invited, server.ghost.signer, NOW), None), server.ghost.sign)
    await show_chain(server, m.replay(invited, acceptance), invitation, acceptance, ghost=True)


async def forged_statement_in_log(server: DishonestServer) -> None:
    """The same statement is delivered as a message of Alice."""
    frame = f.New(
        conversation=server.talk.conversation,
        seq=1,
        message=MessageId(id_of(1)),
        client_id=ClientId(fresh_id()),
        sender_profile=server.alice.person.profile,
        sender_device=server.alice.id,
        time=NOW,
        ciphertext=bytes((ENVELOPE_VERSION, Cipher.MEMBERSHIP)) + forged_invitation(server),
    )
    server.relay.deliver(server.bob.id, frame)
    await wait_all_tasks_blocked()


def two_statements(server: DishonestServer) -> tuple[bytes, bytes]:
    """Alice removes Carol, and lets members invite."""
    server.talk.remove(server.carol)
    server.talk.chain.say(server.alice, s.Policy, "invite", "members")
    removal, policy = server.talk.chain.signed[-2:]
    return removal, policy


async def statement_left_out(server: DishonestServer) -> None:
    """Of two statements the first is left out: Carol stays a member for Bob."""
    _, policy = two_statements(server)
    await show_chain(server, server.talk.chain.now, policy)


async def statements_reordered(server: DishonestServer) -> None:
    """Two statements are shown in the other order."""
    removal, policy = two_statements(server)
    await show_chain(server, server.talk.chain.now, policy, removal)


async def membership_rolled_back(server: DishonestServer) -> None:
    """After Alice has removed Carol, the roster and the chain of before are shown again."""
    before = server.talk.view
    two_statements(server)
    server.relay.change(server.talk)
    await server.say(server.bob, "without Carol")
    await server.show(server.bob, replace(before, roster_version=server.view.roster_version))
    await server.say(server.bob, "secret")


async def removal_withheld(server: DishonestServer) -> None:
    """Alice removes Carol, and Bob is told nothing of it, nor when he asks because Alice's next message names it."""
    before = server.talk.view
    server.bend(server.bob, "conversation", lambda _: before)
    server.talk.remove(server.carol)
    await server.room[server.alice].refresh()
    await server.say(server.alice, "without Carol")


async def stale_snapshot(server: DishonestServer) -> None:
    """To a device that joins, the membership of before Carol was removed is shown with a snapshot of after it."""
    chain, before = server.talk.chain, server.talk.chain.now
    server.talk.remove(server.carol)
    while not chain.now.number or chain.now.number % m.SNAPSHOT_EVERY:
        chain.say(server.alice, s.Policy, "invite", "members")
        if m.snapshot_is_due(chain.now):
            chain.append(chain.sign(server.alice, s.Snapshot, chain.now.digest_of_state))
    stale = replace(before, number=chain.now.number - 1, head=s.parse_statement(chain.signed[-1])[0].previous or b"")
    newcomer = endpoint(bob_laptop)
    server.talk.endpoints.append(newcomer)
    server.talk.version += 1
    server.written[newcomer.id] = []
    async with open_client(server.relay, newcomer) as client:
        page = Statements((StatementView(chain.now.number, 1, chain.signed[-1], m.encode_state(stale)),))
        server.bend(client, "statements", lambda _: page)
        await server.say(newcomer, "secret", client.conversation(server.talk.conversation))
