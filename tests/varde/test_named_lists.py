"""Which device lists a message was encrypted for: found again by the reader, and told where they are old or unknown."""

from collections.abc import Mapping

from msgspec.structs import replace

from tests.cast import alice_laptop, bob_laptop, bob_phone, carol_phone
from tests.varde.endpoints import NOW, Account, Endpoint, SimulatedConversation, endpoint
from varde.events import Break
from varde.named_lists import LAG_MS, WAITING, NamedLists, Unjudged
from varde_contract.device_list import list_hash
from varde_contract.envelope import ChainHead, lists_digest
from varde_contract.ids import AccountId
from varde_contract.talk import ConversationKind

NOBODY = frozenset[AccountId]()
LATE = LAG_MS + 1
NEWEST: Mapping[str, int] = {}


class Room:
    """Alice, Bob and Carol in a group. Alice writes, and Carol judges for which lists."""

    def __init__(self) -> None:
        self.alice, self.bob, self.carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
        self.talk = SimulatedConversation(ConversationKind.GROUP, self.alice, self.bob, self.carol)
        self.talk.verify_everywhere()
        self.named = NamedLists(self.carol.store, self.carol.keychain.trust.lists)
        self.seq = 0

    def says(
        self, *accounts: Account, after_ms: int = 0, digest: bytes | None = None, at: Mapping[str, int] = NEWEST
    ) -> Unjudged:
        """A message of Alice for these accounts: for the lists with these numbers, the newest otherwise."""
        self.seq += 1
        named = [each.lists[at.get(each.person.name, 0) - 1] for each in accounts or self.accounts]
        lists = digest or lists_digest((each.account, each.number, list_hash(each)) for each in named)
        head = ChainHead(self.talk.chain.now.number, self.talk.chain.now.head)
        return Unjudged(self.talk.conversation, self.seq, self.alice.id, head, lists, NOW + after_ms)

    @property
    def accounts(self) -> list[Account]:
        """Of the members."""
        return self.talk.accounts

    def toggle_manager(self, each: Endpoint, issued_ms: int = NOW) -> None:
        """A list that changes nothing for a conversation."""
        account = each.account
        account.clock_ms = issued_ms
        account.put(replace(listed, manager=not listed.manager) for listed in account.devices)

    def learn(self) -> None:
        """Carol takes in everybody's lists."""
        self.carol.learn(*self.accounts)

    def fetched(self) -> list[Break]:
        """Lists were fetched for what waits: what is told now."""
        assert self.named.begin(self.talk.conversation)
        self.learn()
        return [why for _, why in self.named.end(self.talk.conversation, NOBODY)]


def test_the_newest_lists_fit() -> None:
    """What everybody knows is nothing to tell, however late."""
    room = Room()
    assert room.named.judge(room.says(after_ms=LATE)) is None
    assert not room.named.begin(room.talk.conversation)


def test_a_list_that_changes_nothing_here_may_stay_unknown_to_a_sender() -> None:
    """No roster moves for a new manager: an honest sender may name the list before it for ever."""
    room = Room()
    room.toggle_manager(room.bob)
    room.learn()
    assert room.named.judge(room.says(at={"bob": 1}, after_ms=LATE)) is None


def test_devices_of_before_are_told_when_they_are_named_too_late() -> None:
    """A device comes: whoever still encrypts for the others alone two hours later is kept in the dark. Told once."""
    room = Room()
    endpoint(bob_laptop)
    room.learn()
    assert room.named.judge(room.says(at={"bob": 1}, after_ms=LAG_MS)) is None, "clocks differ"
    assert room.named.judge(room.says(at={"bob": 1}, after_ms=LATE)) is Break.OLD_LISTS
    assert room.named.judge(room.says(at={"bob": 1}, after_ms=LATE)) is None
    assert room.named.judge(room.says(after_ms=LATE)) is None


def test_a_sender_who_knows_more_is_followed() -> None:
    """Its list is fetched, and then there is nothing to tell."""
    room = Room()
    endpoint(bob_laptop)
    assert room.named.judge(room.says()) is None
    assert room.fetched() == []


def test_lists_that_nobody_can_show_are_told() -> None:
    """Once for all messages with the same ones; one that came during the fetch waits for the next."""
    room = Room()
    message = room.says(digest=bytes(32))
    assert room.named.judge(message) is None
    assert room.named.begin(room.talk.conversation)
    assert not room.named.begin(room.talk.conversation), "one fetch at a time"
    room.named.judge(room.says(digest=b"\1" * 32))
    assert room.named.end(room.talk.conversation, NOBODY) == [(message, Break.OTHER_LISTS)]
    assert room.fetched() == [Break.OTHER_LISTS]
    assert room.named.judge(room.says(digest=bytes(32))) is None
    assert not room.named.begin(room.talk.conversation)


def test_made_up_lists_do_not_pile_up() -> None:
    """A member who names others in every message makes so many wait and no more."""
    room = Room()
    for number in range(2 * WAITING):
        room.named.judge(room.says(digest=number.to_bytes(32)))
    assert room.fetched() == [Break.OTHER_LISTS] * WAITING


def test_lists_of_before_are_found_whatever_the_clocks_of_their_signers() -> None:
    """Bob's list was signed after Alice's by his clock, and before it in truth: Alice named his new and her old one."""
    room = Room()
    room.toggle_manager(room.bob, NOW + 3)
    room.toggle_manager(room.alice, NOW + 2)
    room.toggle_manager(room.bob, NOW + 4)
    room.learn()
    for numbers in ({"alice": 1}, {"bob": 1}, {"bob": 2}, {"alice": 1, "bob": 2}):
        assert room.named.judge(room.says(after_ms=LATE, at=numbers)) is None
        assert not room.named.begin(room.talk.conversation)


def test_who_is_gone_with_all_lists_makes_nothing_suspicious() -> None:
    """Bob was a member when Alice wrote; then he left, and the server shows his lists no more."""
    room = Room()
    endpoint(bob_laptop)
    message = room.says()
    room.talk.remove(room.bob)
    room.talk.prove(room.carol)
    assert room.named.judge(message) is None
    assert room.named.wanted(room.talk.conversation) == {each.account.person.account for each in room.talk.everybody}
    assert room.named.begin(room.talk.conversation)
    assert room.named.end(room.talk.conversation, frozenset({room.bob.person.account})) == []


def test_the_members_of_then_are_what_counts() -> None:
    """After Bob has left, his list is named no more; what was written before still names it."""
    room = Room()
    before = room.says(after_ms=LATE)
    room.talk.remove(room.bob)
    room.talk.prove(room.carol)
    assert room.named.judge(before) is None
    assert room.named.judge(room.says(after_ms=LATE)) is None
    assert not room.named.begin(room.talk.conversation)
    room.named.judge(room.says(*room.accounts, room.bob.account))
    assert room.fetched() == [Break.OTHER_LISTS]
