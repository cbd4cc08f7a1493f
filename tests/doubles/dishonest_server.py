"""A dishonest server: relay, API and log around honest clients, lying in every way of the table `LIES`.

Each lie is one function over the server's means: frames that are hidden, held back, altered or made up, answers of the
API that are bent, another log. What an honest client says of it stands in the row; the test holds it to that.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import trio
from msgspec import Struct
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.cast import bob as bob_person
from tests.cast import bob_laptop, salt_of
from tests.ids import id_of
from tests.varde.endpoints import NOW, Endpoint, endpoint
from tests.varde.fake_log import listed
from tests.varde.memory_relay import ConversationClients, open_client, refused
from tests.varde.test_transparency import wrong_proof
from varde.client import Client
from varde.clock import fresh_id
from varde.conversation import Conversation
from varde.crypto.device_lists import next_list, sign
from varde.errors import ListRollback, LogForked, UnprovenList, UntrustedDevice, VardeError
from varde.event_stream import EventIterator
from varde.events import (
    Break,
    Event,
    ForkedLog,
    Gap,
    HistoryLost,
    Reason,
    TranscriptBroken,
    Undecryptable,
    Unsent,
    Withheld,
)
from varde.transparency import STALE_SECONDS
from varde_contract import frames as f
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.device_list import DeviceList, commitment, list_hash
from varde_contract.envelope import ENVELOPE_VERSION, Cipher, GroupKey
from varde_contract.ids import ClientId, DeviceId, EpochId, MessageId
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import ClaimedKey, ClaimedKeys, DeviceLists, DeviceListView, SignedKey
from varde_contract.rest.talk import (
    ChainHead,
    ConversationView,
    ListHead,
    MemberView,
    RosterDevice,
    Statements,
    StatementView,
)
from varde_contract.signed_statements import one_time_key_statement
from varde_contract.talk import ConversationKind, GapReason, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


class DishonestServer:
    """The server of one conversation. Alice, Bob and Carol are honest; the ghost reads along if anybody lets it."""

    def __init__(
        self, room: ConversationClients, alice: Endpoint, bob: Endpoint, carol: Endpoint, ghost: Endpoint
    ) -> None:
        self.room, self.relay, self.talk = room, room.relay, room.talk
        self.alice, self.bob, self.carol, self.ghost = alice, bob, carol, ghost
        self.noticed: set[object] = set()
        """What honest clients raised or told: a kind of error or event, or the reason of one."""
        self.written: dict[DeviceId, list[str]] = defaultdict(list)
        self.hidden: defaultdict[DeviceId, set[int]] = defaultdict(set)
        self.held: dict[DeviceId, list[f.New]] = {}
        self.relay.alter = self._alter

    async def say(self, writer: Endpoint, text: str, conversation: Conversation | None = None) -> None:
        """Let somebody write, who may refuse to."""
        self.written[writer.id].append(text)
        try:
            await (conversation or self.room[writer]).send(text)
        except VardeError as error:
            self.noticed.add(type(error))
        await wait_all_tasks_blocked()

    async def listen(self, events: EventIterator[Event]) -> None:
        """Note what a client tells."""
        try:
            async for event in events:
                match event:
                    case TranscriptBroken():
                        self.noticed.add(event.why)
                    case Undecryptable():
                        self.noticed.add(event.reason)
                    case Gap() | HistoryLost() | ForkedLog() | Withheld() | Unsent():
                        self.noticed.add(type(event))
        except VardeError as error:
            self.noticed.add(type(error))

    def bend(self, reader: Endpoint | Client, call: str, change: Callable[[A], object]) -> None:
        """Answer a client's calls of the API otherwise than is true."""
        client = reader if isinstance(reader, Client) else self.room.clients[reader]
        rest: Any = client._services.rest
        honest = getattr(rest, call)

        async def bent(*asked: object) -> object:
            return change(await honest(*asked))

        setattr(rest, call, bent)

    async def show(self, reader: Endpoint, view: ConversationView) -> None:
        """Show a roster from now on, and say that it is new."""
        self.bend(reader, "conversation", lambda _: view)
        self.relay.deliver(reader.id, f.Changed(f.ChangeKind.DEVICES, self.talk.conversation, view.roster_version))
        await wait_all_tasks_blocked()

    def hide_next(self, reader: Endpoint) -> None:
        """Never give the next message to a reader, whose numbers stay without a gap."""
        self.hidden[reader.id].add(len(self._log) + 1)

    def hold(self, reader: Endpoint) -> list[f.New]:
        """Keep messages for a reader until `release`."""
        self.held[reader.id] = []
        return self.held[reader.id]

    def release(self, reader: Endpoint, frames: Sequence[f.New]) -> None:
        """Deliver what was held back, as numbers in this order."""
        held = self.held.pop(reader.id)
        for seq, frame in enumerate(frames, start=min(each.seq for each in held)):
            self.relay.deliver(reader.id, replace(frame, seq=seq))

    @property
    def view(self) -> ConversationView:
        """The roster as it is, under the next version."""
        return replace(self.talk.view, roster_version=self.talk.version + 1)

    def view_with_ghost(self, version: int) -> ConversationView:
        """Bob with one device more, which is the ghost's."""
        device = RosterDevice(self.ghost.id, bob_person.account, (bob_person.profile,))
        return replace(self.talk.view, roster_version=version, devices=(*self.talk.view.devices, device))

    def view_with_member(self, view: ConversationView) -> ConversationView:
        """The ghost as a member, with everything that an honest one has but a statement."""
        person = self.ghost.person
        member = MemberView(person.profile, person.account, Role.MEMBER, salt_of(person.profile))
        device = RosterDevice(self.ghost.id, person.account, (person.profile,))
        return replace(
            view,
            members=(*view.members, member),
            lists=(*view.lists, self.ghost.account.head),
            devices=(*view.devices, device),
        )

    @property
    def _log(self) -> list[Any]:
        return self.relay.log[self.talk.conversation]

    def _alter(self, device: DeviceId, frame: Struct) -> Sequence[Struct]:
        if isinstance(frame, f.New) and frame.seq in self.hidden[device]:
            return ()
        if isinstance(frame, f.New) and device in self.held:
            self.held[device].append(frame)
            return ()
        if isinstance(frame, f.New | f.Ack):
            return (replace(frame, seq=self._shown_as(device, frame.seq)),)
        if isinstance(frame, f.Gap):
            first, last = self._shown_as(device, frame.from_seq), self._shown_as(device, frame.to_seq)
            return (replace(frame, from_seq=first, to_seq=last),)
        return (frame,)

    def _shown_as(self, device: DeviceId, seq: int) -> int:
        return seq - sum(hidden < seq for hidden in self.hidden[device])


async def ghost_under_same_version(server: DishonestServer) -> None:
    """A roster of the version that is known has one device more, and the relay refuses sends without it."""
    await server.say(server.alice, "before")
    stale = StaleDevices(server.talk.version + 1, (server.ghost.id,), ())
    server.relay.refuse = lambda send: refused(send, RefusalCode.STALE_DEVICES, stale=stale)
    server.bend(server.alice, "conversation", lambda _: server.view_with_ghost(server.talk.version))
    await server.say(server.alice, "secret")


async def ghost_under_new_version(server: DishonestServer) -> None:
    """The same under a new version, of which everybody is told."""
    await server.say(server.alice, "before")
    await server.show(server.alice, server.view_with_ghost(server.talk.version + 1))
    await server.say(server.alice, "secret")


async def ghost_member(server: DishonestServer) -> None:
    """A member, with device list and device, whom nobody invited."""
    await server.show(server.alice, server.view_with_member(server.view))
    await server.say(server.alice, "secret")


async def dm_becomes_group(server: DishonestServer) -> None:
    """A dm is called a group, so that it has room for one more."""
    await server.show(server.alice, replace(server.view, kind=GROUP))
    await server.say(server.alice, "secret")


async def other_profile_of_device(server: DishonestServer) -> None:
    """Bob is there as a second profile, on his laptop; the server says that his phone receives for that one too."""
    jobb, laptop = bob_person.jobb, endpoint(bob_laptop)
    listed_for_jobb = replace(laptop.listed, profiles=(commitment(jobb.id, jobb.salt),))
    server.bob.account.put([server.bob.listed, listed_for_jobb])
    server.talk.past.append(laptop)
    server.talk.chain.say(server.alice, s.Invite, jobb.id, bob_person.account, Role.MEMBER)
    server.talk.chain.say(SecondProfile(laptop.signer._replace(profile=jobb.id), laptop), s.Accept, None)
    devices = tuple(
        replace(each, profiles=(*each.profiles, jobb.id)) if each.device == server.bob.id else each
        for each in (*server.view.devices, RosterDevice(laptop.id, bob_person.account, (jobb.id,)))
    )
    member = MemberView(jobb.id, bob_person.account, Role.MEMBER, jobb.salt)
    await server.show(server.alice, replace(server.view, members=(*server.view.members, member), devices=devices))
    await server.say(server.alice, "secret")


class SecondProfile(NamedTuple):
    """A device that signs as a profile which is not its person's first."""

    signer: m.Signer
    key: Endpoint


async def withheld_device(server: DishonestServer) -> None:
    """Carol's device is left out of the roster."""
    devices = tuple(each for each in server.view.devices if each.device != server.carol.id)
    view = replace(server.view, devices=devices)
    server.talk.endpoints.remove(server.carol)
    server.talk.version += 1
    await server.show(server.alice, view)
    await server.say(server.alice, "to Bob")


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


async def list_rolled_back(server: DishonestServer) -> None:
    """Of a device list that is known, the one before is shown."""
    before = server.talk.view.lists
    server.bob.account.put(server.bob.account.devices)
    server.talk.version += 1
    server.relay.change(server.talk)
    await server.say(server.alice, "to the new list")
    await server.show(server.alice, replace(server.view, lists=before))
    await server.say(server.alice, "secret")


async def show_list(server: DishonestServer, signed: bytes, newest: DeviceList) -> None:
    """Show Alice a list as Bob's next."""
    account, number = server.bob.account.person.account, len(server.bob.account.lists) + 1
    shown = DeviceLists((DeviceListView(number, signed),))
    server.bend(server.alice, "device_lists", lambda _: shown)
    heads = tuple(each for each in server.view.lists if each.account != account)
    head = ListHead(account, number, list_hash(newest))
    await server.show(server.alice, replace(server.view_with_ghost(server.view.roster_version), lists=(*heads, head)))
    await server.say(server.alice, "secret")


def list_with_ghost(server: DishonestServer) -> DeviceList:
    """What Bob's next list would be if the ghost were his."""
    account = server.bob.account
    ghost = replace(server.ghost.listed, profiles=server.bob.listed.profiles)
    person = account.person
    return next_list(account.lists[-1], person.account, person.root_key, [*account.devices, ghost], NOW)


async def list_of_somebody_else(server: DishonestServer) -> None:
    """The ghost's own list is shown as Bob's."""
    account = server.ghost.account
    account.put(account.devices)
    await show_list(server, account.signed[-1], account.lists[-1])


async def list_unsigned(server: DishonestServer) -> None:
    """A list of Bob with the ghost, which only the ghost signed."""
    fresh = list_with_ghost(server)
    await show_list(server, sign(fresh, signers={server.ghost.id: server.ghost.sign}), fresh)


async def list_of_removed_manager(server: DishonestServer) -> None:
    """A list of Bob with the ghost, signed by a manager that Bob has taken off his list."""
    account, lost = server.bob.account, endpoint(bob_laptop)
    account.revoke(lost.id)
    server.talk.version += 1
    server.relay.change(server.talk)
    await wait_all_tasks_blocked()
    fresh = list_with_ghost(server)
    signers = {server.ghost.id: server.ghost.sign, lost.id: lost.sign}
    await show_list(server, sign(fresh, signers=signers), fresh)


async def wrong_inclusion_proof(server: DishonestServer) -> None:
    """The log's proof of a device list does not come to its root."""
    server.relay.transparency.lie = wrong_proof
    await server.say(server.alice, "secret")


async def forked_log(server: DishonestServer) -> None:
    """The log signs another history than before."""
    log = server.relay.transparency
    await server.say(server.alice, "before")
    log.entries[0] = listed(1, digest=99)
    server.bob.account.put(server.bob.account.devices)
    server.talk.version += 1
    server.relay.change(server.talk)
    await server.say(server.alice, "secret")


async def stale_checkpoint(server: DishonestServer) -> None:
    """The log has stopped for one client, which hides every list since."""
    server.relay.transparency.signed_ms = NOW - STALE_SECONDS * 1_000 - 2_000
    await server.say(server.alice, "secret")


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


class Lie(NamedTuple):
    """What a server does in which kind of conversation, and everything that honest clients say of it."""

    kind: ConversationKind
    tell: Callable[[DishonestServer], Awaitable[None]]
    noticed: frozenset[object]


def lie(kind: ConversationKind, tell: Callable[[DishonestServer], Awaitable[None]], *noticed: object) -> Lie:
    """A row."""
    return Lie(kind, tell, frozenset(noticed))


LIES: Final[dict[str, Lie]] = {
    "ghost device, same version": lie(GROUP, ghost_under_same_version, UntrustedDevice),
    "ghost device, moved version": lie(GROUP, ghost_under_new_version, UntrustedDevice),
    "ghost member": lie(GROUP, ghost_member, UntrustedDevice),
    "kind": lie(DM, dm_becomes_group, UntrustedDevice),
    "device of another profile": lie(GROUP, other_profile_of_device, UntrustedDevice),
    "device withheld": lie(GROUP, withheld_device, Withheld),
    "fork, two histories": lie(GROUP, two_histories, Break.DROPPED),
    "fork, two orders": lie(GROUP, two_orders, Break.DROPPED, Break.REORDERED),
    "reorder": lie(DM, reordered, Break.DROPPED, Break.REORDERED),
    "drop": lie(DM, dropped, Break.DROPPED),
    "tail withheld": lie(DM, withheld_tail),
    "replay": lie(DM, replayed),
    "replay under another number": lie(DM, replayed_as_another_number, Reason.TAMPERED),
    "made-up ack": lie(DM, made_up_ack),
    "made-up gap": lie(DM, made_up_gap, Gap),
    "made-up epoch": lie(DM, made_up_epoch, HistoryLost, Break.RESTORED, Reason.TAMPERED),
    "older epoch": lie(DM, older_epoch, HistoryLost, Break.RESTORED, Reason.TAMPERED),
    "made-up own number": lie(DM, made_up_own_number, Break.RESTORED),
    "swapped prekey": lie(DM, swapped_prekey, UntrustedDevice),
    "non-canonical prekey": lie(DM, non_canonical_prekey, UntrustedDevice),
    "group key in a dm": lie(DM, group_key_in_dm, Reason.MISATTRIBUTED),
    "list rolled back": lie(GROUP, list_rolled_back, ListRollback),
    "list of another account": lie(GROUP, list_of_somebody_else, UntrustedDevice),
    "list unsigned": lie(GROUP, list_unsigned, UntrustedDevice),
    "list of a removed manager": lie(GROUP, list_of_removed_manager, UntrustedDevice),
    "wrong inclusion proof": lie(GROUP, wrong_inclusion_proof, UnprovenList),
    "forked log": lie(GROUP, forked_log, LogForked, ForkedLog),
    "stale checkpoint": lie(GROUP, stale_checkpoint, UnprovenList),
    "forged statement": lie(GROUP, forged_statement, UntrustedDevice),
    "forged statement as message": lie(GROUP, forged_statement_in_log, Reason.FORGED_STATEMENT),
    "statement withheld": lie(GROUP, statement_left_out, UntrustedDevice),
    "statements reordered": lie(GROUP, statements_reordered, UntrustedDevice),
    "membership rolled back": lie(GROUP, membership_rolled_back, UntrustedDevice),
    "newest statement withheld": lie(GROUP, removal_withheld, Break.DROPPED),
    "stale snapshot": lie(GROUP, stale_snapshot, UntrustedDevice),
}
"""By the name that the row has in docs/threat-model.md."""
