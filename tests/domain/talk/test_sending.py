"""Whether a message may be stored, and the sender without a relay."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from domain.budgets import Budgets
from domain.talk import model as talk
from domain.talk.events import MessagesCommitted
from domain.talk.sending import TRIES, Messages, Sender, decide, decide_part
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.clock import DeterministicEntropy, ManualClock
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import (
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol_phone,
    mallory,
    mallory_phone,
    open_conversation,
    put_member,
    remove_member,
    revoke,
    roster_of,
    settle,
)
from varde_contract.envelope import ENVELOPE_VERSION, Cipher
from varde_contract.frames import Send
from varde_contract.ids import ClientId, DeviceId, EpochId, MessageId, ProfileId, uuid7
from varde_contract.limits import ROSTER_GRACE_MS
from varde_contract.refusals import RefusalCode, Refused, StaleDevices
from varde_contract.rest.talk import NewMessage
from varde_contract.talk import ConversationKind, Role

ROSTER = roster_of(alice, bob, version=7)
CLIENT_ID = ClientId(uuid7(1, bytes(10)))
MESSAGE = MessageId(uuid7(2, bytes(10)))
NOW_MS = 1_000
SENDER = Sender(alice.account, alice_laptop.id)
OTHERS = (alice_phone.id, bob_phone.id, bob_laptop.id)


def group(**changes: object) -> Send:
    """A good group message of Alice's laptop."""
    return replace(Send(CLIENT_ID, ROSTER.conversation, alice.profile, 7, group=b"sealed"), **changes)


def judge(
    request: Send | NewMessage, sender: Sender = SENDER, roster: talk.Roster | None = ROSTER
) -> talk.Draft | Refused:
    """Decide."""
    return decide(roster, sender, request, message=MESSAGE, now_ms=NOW_MS)


def code(judged: talk.Draft | Refused) -> RefusalCode | None:
    """Why not."""
    return judged.code if isinstance(judged, Refused) else None


def test_a_good_group_message_is_a_draft() -> None:
    """A draft holds everything the journal needs, at the version that was decided upon."""
    assert judge(group()) == talk.Draft(
        message=MESSAGE,
        conversation=ROSTER.conversation,
        roster_version=7,
        client_id=CLIENT_ID,
        profile=alice.profile,
        device=alice_laptop.id,
        sent_ms=NOW_MS,
        group=b"sealed",
        devices=None,
    )


def test_the_same_request_over_rest_is_the_same_draft() -> None:
    """There is one rule for both faces."""
    body = NewMessage(CLIENT_ID, ROSTER.conversation, alice.profile, 7, group=b"sealed")
    assert judge(body) == judge(group())


@given(st.sets(st.sampled_from((*OTHERS, alice_laptop.id, carol_phone.id))))
def test_the_devices_must_be_exactly_the_others(named: set[DeviceId]) -> None:
    """Every other current device and nobody else: whatever differs is said, as missing or as gone."""
    judged = judge(group(group=None, devices=dict.fromkeys(named, b"sealed")))
    if named == set(OTHERS):
        assert isinstance(judged, talk.Draft)
    else:
        assert isinstance(judged, Refused)
        assert judged.code is RefusalCode.STALE_DEVICES
        assert judged.stale is not None
        assert set(judged.stale.missing) == set(OTHERS) - named
        assert set(judged.stale.gone) == named - set(OTHERS)


@pytest.mark.parametrize("version", [6, 8])
def test_a_group_message_for_another_version_is_stale(version: int) -> None:
    """Older or newer: the sender has to look, and learns the version there is."""
    judged = judge(group(roster_version=version))
    assert isinstance(judged, Refused)
    assert (judged.code, judged.stale) == (RefusalCode.STALE_DEVICES, StaleDevices(7))


def judge_part(
    devices: dict[DeviceId, bytes] | None, roster: talk.Roster = ROSTER, **changes: object
) -> talk.Draft | Refused:
    """Decide about a part."""
    request = group(**{"group": None, "devices": devices} | changes)
    return decide_part(roster, SENDER, request, message=MESSAGE, now_ms=NOW_MS)


@given(st.sets(st.sampled_from((*OTHERS, alice_laptop.id, carol_phone.id)), min_size=1))
def test_a_part_names_some_of_the_others(named: set[DeviceId]) -> None:
    """Any of the other current devices: who is missing may be in another part. Who is gone is said."""
    judged = judge_part(dict.fromkeys(named, b"sealed"))
    if named <= set(OTHERS):
        assert isinstance(judged, talk.Draft)
        assert judged.part
    else:
        assert isinstance(judged, Refused)
        assert judged.stale == StaleDevices(7, (), tuple(sorted(named - set(OTHERS))))


def test_a_part_is_for_a_conversation_that_is_there() -> None:
    """Else it is refused as any other message is, and nothing is looked at."""
    request = group(group=None, devices={bob_phone.id: b"sealed"})
    refused = decide_part(None, SENDER, request, message=MESSAGE, now_ms=NOW_MS)
    assert refused == decide(None, SENDER, request, message=MESSAGE, now_ms=NOW_MS)
    assert isinstance(refused, Refused)


def test_a_part_is_for_devices_of_a_group_as_it_is() -> None:
    """Not for all, for nobody, for another roster, with a statement in it, or in a dm, where everybody is named."""
    one = {bob_phone.id: b"sealed"}
    dm = replace(ROSTER, kind=ConversationKind.DM)
    refusals = [
        code(judge_part(None, group=b"sealed")),
        code(judge_part({})),
        code(judge_part(one, roster_version=6)),
        code(judge_part({bob_phone.id: bytes((ENVELOPE_VERSION, Cipher.MEMBERSHIP)) + b"x"})),
        code(judge_part(one, dm)),
        code(judge_part(one, profile=bob.profile)),
    ]
    assert refusals == [
        RefusalCode.MALFORMED,
        RefusalCode.MALFORMED,
        RefusalCode.STALE_DEVICES,
        RefusalCode.MALFORMED,
        RefusalCode.WRONG_KIND,
        RefusalCode.PROFILE_NOT_ALLOWED,
    ]
    moved = replace(ROSTER, version=8, superseded_ms=(NOW_MS,))
    assert isinstance(judge_part(one, moved, roster_version=7), talk.Draft)


def test_an_outsider_learns_nothing() -> None:
    """The answer to who does not belong is the very answer for what does not exist."""
    outsider = Sender(mallory.account, mallory_phone.id)
    assert judge(group(profile=mallory.profile), outsider) == judge(group(), SENDER, roster=None)
    assert judge(group(), outsider) == judge(group(), SENDER, roster=None)
    assert code(judge(group(), outsider)) is RefusalCode.NOT_FOUND


def test_a_stranger_device_of_a_member_learns_nothing() -> None:
    """A device that holds none of the member profiles is an outsider, whosever it is."""
    work_phone = Sender(alice.account, carol_phone.id)
    assert code(judge(group(), work_phone)) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize("profile", [bob.profile, alice.jobb.id, mallory.profile])
def test_a_device_writes_as_its_own_members_only(profile: ProfileId) -> None:
    """Neither as somebody else nor as a mode that is no member."""
    assert code(judge(group(profile=profile))) is RefusalCode.PROFILE_NOT_ALLOWED


def test_a_member_profile_that_the_device_does_not_hold_is_not_its_own() -> None:
    """Two modes of one account may both be members; each device writes as those on its whitelist."""
    both = roster_of(alice, bob)
    member = replace(both.members[alice.profile], profile=alice.jobb.id)
    roster = replace(both, members={**both.members, alice.jobb.id: member})
    assert code(judge(group(profile=alice.jobb.id, roster_version=1), roster=roster)) is RefusalCode.PROFILE_NOT_ALLOWED


@pytest.mark.parametrize("changes", [{"group": None}, {"devices": {}}])
def test_both_or_neither_is_malformed(changes: dict[str, object]) -> None:
    """Exactly one of the two kinds of ciphertext."""
    assert code(judge(group(**changes))) is RefusalCode.MALFORMED


def test_a_note_to_self_on_one_device_names_nobody() -> None:
    """There is nobody else to encrypt for."""
    roster = replace(
        ROSTER,
        members={alice.profile: ROSTER.members[alice.profile]},
        devices={alice_laptop.id: frozenset({alice.profile})},
    )
    assert isinstance(judge(group(group=None, devices={}), roster=roster), talk.Draft)


@pytest.mark.parametrize("version", [ROSTER.version - 1, ROSTER.version + 1])
def test_ciphertext_for_each_device_names_the_version_it_is_for(version: int) -> None:
    """The right devices under another version are refused like a group ciphertext; none is missing or gone."""
    devices = {device: b"sealed" for device in ROSTER.devices if device != SENDER.device}
    refused = judge(group(group=None, devices=devices, roster_version=version))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.stale) == (RefusalCode.STALE_DEVICES, StaleDevices(ROSTER.version))
    assert isinstance(judge(group(group=None, devices=devices)), talk.Draft)


def test_ciphertext_for_each_device_has_the_same_grace() -> None:
    """In a dm, and for a key share: a device that came since may be missing, for a while; one that is gone may not."""
    roster = replace(ROSTER, superseded_ms=(NOW_MS - 1,))
    fewer: dict[DeviceId, bytes] = {device: b"sealed" for device in OTHERS if device != bob_laptop.id}
    assert isinstance(judge(group(group=None, devices=fewer, roster_version=6), roster=roster), talk.Draft)
    for late in (
        judge(group(group=None, devices=fewer), roster=roster),  # of the present roster it left one out
        judge(group(group=None, devices=fewer, roster_version=5), roster=roster),
        judge(group(group=None, devices=fewer, roster_version=6), roster=replace(roster, superseded_ms=())),
        judge(
            group(group=None, devices=fewer, roster_version=6),
            roster=replace(roster, superseded_ms=(-ROSTER_GRACE_MS,)),
        ),
        judge(group(group=None, devices={**fewer, carol_phone.id: b""}, roster_version=6), roster=roster),
        judge(group(group=None, devices={**fewer, SENDER.device: b""}, roster_version=6), roster=roster),
    ):
        assert code(late) is RefusalCode.STALE_DEVICES


class Post:
    """A sender over the memory stores, and what the test does to them."""

    def __init__(self) -> None:
        self.memory, self.bus, self.interference = Memory(), RecordingBus(), Interference()
        self.stores = open_memory_stores(memory=self.memory, bus=self.bus, interference=self.interference)
        self.sender = Messages(
            self.stores.conversations,
            self.stores.journal,
            self.stores.epochs,
            self.bus,
            Budgets(clock=ManualClock()),
            node="api",
            clock=ManualClock(),
            entropy=DeterministicEntropy(),
        )

    async def open(self) -> talk.Roster:
        """Settle Alice and Bob and open their conversation."""
        await settle(self.stores, alice, bob)
        conversation = await open_conversation(self.stores, alice, bob)
        return (await self.stores.conversations.rosters([conversation]))[conversation]


def letter(roster: talk.Roster, number: int = 1) -> Send:
    """One ciphertext for each of the others."""
    devices = {device: b"sealed" for device in roster.devices if device != alice_laptop.id}
    client_id = ClientId(uuid7(number, bytes(10)))
    return Send(client_id, roster.conversation, alice.profile, roster.version, devices=devices)


async def test_a_sender_commits_and_rings() -> None:
    """When `send` returns, the message is stored and every node was told."""
    post = Post()
    roster = await post.open()
    sent = await post.sender.send(SENDER, letter(roster))
    assert isinstance(sent, talk.Committed)
    assert (sent.seq, sent.duplicate) == (1, False)
    assert post.bus.published == [MessagesCommitted("api", roster.conversation, 1)]


async def test_a_sender_rings_again_for_a_duplicate() -> None:
    """Who sends again may do so because the first doorbell was never rung."""
    post = Post()
    roster = await post.open()
    first = await post.sender.send(SENDER, letter(roster))
    again = await post.sender.send(SENDER, letter(roster))
    assert isinstance(first, talk.Committed)
    assert again == replace(first, duplicate=True)
    assert len(post.bus.published) == 2
    assert post.memory.talks[roster.conversation].head == 1


async def test_what_was_stored_is_acked_again_after_the_roster_moved() -> None:
    """A sender that lost its ack gets it, also when the devices it encrypted for are not the current ones any more."""
    post = Post()
    roster = await post.open()
    first = await post.sender.send(SENDER, letter(roster))
    assert isinstance(first, talk.Committed)
    await revoke(post.stores, bob.account, bob_laptop.id, NOW_MS)
    assert await post.sender.send(SENDER, letter(roster)) == replace(first, duplicate=True)
    stale = await post.sender.send(SENDER, letter(roster, 2))
    assert isinstance(stale, Refused)
    assert stale.code is RefusalCode.STALE_DEVICES
    assert post.bus.published == [MessagesCommitted("api", roster.conversation, 1)] * 2


async def test_what_was_stored_is_acked_again_to_who_has_left() -> None:
    """It is theirs and it was sent; and another device learns nothing by naming the same client id."""
    post = Post()
    roster = await post.open()
    first = await post.sender.send(SENDER, letter(roster))
    assert isinstance(first, talk.Committed)
    await remove_member(post.stores, roster.conversation, alice)
    assert await post.sender.send(SENDER, letter(roster)) == replace(first, duplicate=True)
    for stranger in (Sender(mallory.account, mallory_phone.id), Sender(alice.account, alice_phone.id)):
        refused = await post.sender.send(stranger, letter(roster))
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.NOT_FOUND


async def test_what_was_stored_when_an_epoch_began_is_asked_for_again(nursery: trio.Nursery) -> None:
    """Its number is of a history that clients will not have: it is no ack. The next answer says which it is now."""
    post = Post()
    roster = await post.open()
    outcomes: list[talk.Committed | Refused] = []

    async def send() -> None:
        outcomes.append(await post.sender.send(SENDER, letter(roster)))

    post.interference.hold_commits()
    nursery.start_soon(send)
    await post.interference.wait_commit_held()
    post.memory.epochs.insert(0, (EpochId(uuid7(5, bytes(10))), {}))
    post.interference.release_commits()
    await wait_all_tasks_blocked()
    await send()
    refused, again = outcomes
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.UNAVAILABLE
    assert refused.retry_after_ms is not None
    assert isinstance(again, talk.Committed)
    assert post.sender.epoch == post.memory.epochs[0][0]


async def test_a_refused_send_stores_and_rings_nothing() -> None:
    """A "no" leaves no trace."""
    post = Post()
    roster = await post.open()
    refused = await post.sender.send(Sender(mallory.account, mallory_phone.id), letter(roster))
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.NOT_FOUND
    assert post.bus.published == []
    assert post.memory.talks[roster.conversation].head == 0


async def test_a_sender_decides_again_when_the_roster_moves(nursery: trio.Nursery) -> None:
    """A roster that moved under the commit is read again: what still holds is stored, what does not is refused."""
    post = Post()
    roster = await post.open()
    outcomes: list[talk.Committed | Refused] = []

    async def send(request: Send) -> None:
        outcomes.append(await post.sender.send(SENDER, request))

    post.interference.hold_commits()
    nursery.start_soon(send, letter(roster, 1))
    await post.interference.wait_commit_held()
    await put_member(post.stores, roster.conversation, bob, Role.ADMIN)
    post.interference.release_commits()
    await wait_all_tasks_blocked()
    post.interference.hold_commits()
    nursery.start_soon(send, letter(roster, 2))
    await post.interference.wait_commit_held()
    await revoke(post.stores, bob.account, bob_laptop.id, NOW_MS)
    post.interference.release_commits()
    await wait_all_tasks_blocked()
    stored, refused = outcomes
    assert isinstance(stored, talk.Committed)
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.STALE_DEVICES


async def test_a_sender_gives_up_on_a_roster_that_never_rests(nursery: trio.Nursery) -> None:
    """After a few tries the sender is asked to come back, with a time."""
    post = Post()
    roster = await post.open()
    outcomes: list[talk.Committed | Refused] = []

    async def send() -> None:
        outcomes.append(await post.sender.send(SENDER, letter(roster)))

    post.interference.hold_commits()
    nursery.start_soon(send)
    for number in range(TRIES):
        await post.interference.wait_commit_held()
        await put_member(post.stores, roster.conversation, bob, (Role.ADMIN, Role.MEMBER)[number % 2])
        post.interference.release_commits()
        post.interference.hold_commits()
    await wait_all_tasks_blocked()
    (refused,) = outcomes
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.OVERLOADED
    assert refused.retry_after_ms is not None
