"""The device lists that a message was encrypted for, found again by the digest that names them in its envelope.

A reader knows who was a member at the statement that the message names, and every list of those accounts. So it can say
which of the lists the digest is of. None of them: somebody was shown other lists. Old ones: somebody was not shown that
a device had come, or was gone, so a device that was taken away may still be able to read.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import NamedTuple

from varde.crypto.device_lists import DeviceLists
from varde.events import Break
from varde.store import Store
from varde_contract.device_list import CLOCK_SKEW_MS, DeviceList, commitment, list_hash
from varde_contract.envelope import ChainHead, lists_digest
from varde_contract.ids import AccountId, ConversationId, DeviceId

LAG_MS = 2 * CLOCK_SKEW_MS
"""How much later than a list a message may be written that names the one before.

An honest sender learns of a list within seconds, and the relay refuses what it encrypts for a device that is gone. But
two clocks are compared here, those of the sender and of the list's signer, and the server lets each be an hour wrong.
"""
QUICK = 16
"""Tries of digests while frames are received."""
THOROUGH = 1_024
"""Tries where that was not enough: 0.4 ms each for a room of two hundred. A member can make this necessary."""
SWAPPED = 6
"""Changes of lists next to each other whose order is in doubt: their times are by the clocks of different signers."""
WAITING = 8
"""Messages of one conversation that wait at once, each with other lists: one honest member has one at a time."""
KEPT = 1_000
"""Breaks and digests that are remembered. Beyond it a break may be told again, and a digest be searched for once
more."""


class Unjudged(NamedTuple):
    """What a message says of the lists that it was encrypted for."""

    conversation: ConversationId
    seq: int
    device: DeviceId
    chain: ChainHead
    lists: bytes
    written_ms: int


class _Named(NamedTuple):
    conversation: ConversationId
    number: int
    digest: bytes


class _Change(NamedTuple):
    """A step from one list of an account to the next."""

    issued_ms: int
    account: AccountId
    number: int


class NamedLists:
    """Judges messages by the lists in the store, and keeps those that must wait until newer lists are fetched."""

    def __init__(self, store: Store, lists: DeviceLists) -> None:
        self._store = store
        self._lists = lists
        self._revision = -1
        self._superseded: dict[_Named, int | None] = {}
        self._waiting: dict[ConversationId, list[Unjudged]] = {}
        self._asked: dict[ConversationId, list[Unjudged]] = {}
        self._told: dict[tuple[ConversationId, DeviceId, bytes], None] = {}

    def judge(self, message: Unjudged) -> Break | None:
        """Say what is wrong with the lists of a message. What is not found among those that are here must wait."""
        if (message.conversation, message.device, message.lists) in self._told:
            return None
        why = self._compare(message, QUICK)
        if why is not Break.OTHER_LISTS and not self._is_ahead(message):
            return self._tell(message, why)
        waiting = self._waiting.setdefault(message.conversation, [])
        if len(waiting) < WAITING and all(
            (each.device, each.lists) != (message.device, message.lists) for each in waiting
        ):
            waiting.append(message)
        return None

    def begin(self, conversation: ConversationId) -> bool:
        """Whether to fetch lists now: something waits for them, and no fetch is on its way."""
        if conversation in self._asked or conversation not in self._waiting:
            return False
        self._asked[conversation] = list(self._waiting[conversation])
        return True

    def wanted(self, conversation: ConversationId) -> frozenset[AccountId]:
        """Return the accounts whose lists the messages that wait may name."""
        return frozenset(each for message in self._waiting.get(conversation, ()) for each in self._accounts(message))

    def end(self, conversation: ConversationId, unknown: AbstractSet[AccountId]) -> list[tuple[Unjudged, Break]]:
        """The lists were fetched, but for those of `unknown`: return what is wrong with the messages that waited.

        One that came during the fetch may name a list that is newer than the answer, and waits for the next fetch.
        """
        asked, found = self._asked.pop(conversation), []
        for message in self._waiting.pop(conversation):
            why = self._compare(message, THOROUGH)
            if why is Break.OTHER_LISTS and message not in asked:
                self._waiting.setdefault(conversation, []).append(message)
            elif why is Break.OTHER_LISTS and not unknown.isdisjoint(self._accounts(message)):
                pass  # somebody who is gone, with all lists: nobody can say what they were
            elif why is not None and self._tell(message, why) is not None:
                found.append((message, why))
        return found

    def _is_ahead(self, message: Unjudged) -> bool:
        if self._store.chains.hash_of(message.conversation, message.chain.number) is not None:
            return False  # without a look at the chain, which costs the more the larger the room is
        chain = self._store.chains.find(message.conversation)
        return chain is not None and not chain.blocked and message.chain.number > chain.state.number

    def _accounts(self, message: Unjudged) -> list[AccountId]:
        return self._store.chains.accounts_at(message.conversation, message.chain.number)

    def _tell(self, message: Unjudged, why: Break | None) -> Break | None:
        """Return a break that is news: as long as nothing changes, every message of a sender has the same one."""
        key = message.conversation, message.device, message.lists
        if why is None or key in self._told:
            return None
        self._told[key] = None
        if len(self._told) > KEPT:
            del self._told[next(iter(self._told))]
        return why

    def _compare(self, message: Unjudged, tries: int) -> Break | None:
        if self._store.chains.hash_of(message.conversation, message.chain.number) != message.chain.hash:
            return None  # who the members were is in question itself, and that is told
        # What was an honest list may have become an old one with any list that came since.
        if self._revision != self._store.pins.revision or len(self._superseded) > KEPT:
            self._revision = self._store.pins.revision
            self._superseded.clear()
        named = _Named(message.conversation, message.chain.number, message.lists)
        if named not in self._superseded:
            accounts = self._accounts(message)
            if not accounts:
                return None  # before this device came
            numbers = self._find(accounts, named.digest, tries)
            if numbers is None:
                return Break.OTHER_LISTS
            self._superseded[named] = self._superseded_ms(named.conversation, numbers)
        since_ms = self._superseded[named]
        return Break.OLD_LISTS if since_ms is not None and message.written_ms > since_ms + LAG_MS else None

    def _find(self, accounts: Sequence[AccountId], digest: bytes, tries: int) -> Mapping[AccountId, int] | None:
        """Return the number of the list of each account that a digest names, None where it is found in no try."""
        # Whole histories are in the store, so a digest of older lists is found without asking anybody.
        pinned = {account: self._store.pins.newest(account) for account in accounts}
        newest = {account: each.number for account, each in pinned.items() if each is not None}
        if len(newest) < len(accounts):
            return None
        hashes = {(account, each.number): each.hash for account, each in pinned.items() if each is not None}
        for _, numbers in zip(range(tries), self._candidates(newest), strict=False):
            for place in numbers.items():
                if place not in hashes:
                    hashes[place] = list_hash(self._lists.at(*place))
            if lists_digest((*place, hashes[place]) for place in numbers.items()) == digest:
                return numbers
        return None

    def _candidates(self, newest: Mapping[AccountId, int]) -> Iterator[Mapping[AccountId, int]]:
        """Yield what the newest lists may have been, going back: a roster is of one moment.

        First in the order of the times in the lists. Then with changes that are next to each other in another order.
        """
        yield newest
        changes = sorted(self._changes(newest), reverse=True)
        now, past = dict(newest), [dict(newest)]
        for change in changes:
            now[change.account] = change.number - 1
            past.append(dict(now))
            yield past[-1]
        for place, before in enumerate(past[:-1]):
            window = changes[place : place + SWAPPED]
            for count in range(1, len(window)):
                for undone in combinations(window, count):
                    numbers = {**before, **{each.account: each.number - 1 for each in undone}}
                    # Sorted backwards, so the lowest number of an account is the last: all above it must be undone too.
                    if sum(before[each] - numbers[each] for each in numbers) == count:
                        yield numbers

    def _changes(self, newest: Mapping[AccountId, int]) -> Iterator[_Change]:
        for account, upto in newest.items():
            for number in range(2, upto + 1):
                yield _Change(self._lists.at(account, number).issued_ms, account, number)

    def _superseded_ms(self, conversation: ConversationId, numbers: Mapping[AccountId, int]) -> int | None:
        """Return since when these lists are over: another device is written to here, or one less. None: they are not.

        A list may be newer and change nothing for this conversation, a manager for one. No roster moves for that, and
        nobody is told to fetch it.
        """
        times = []
        for account, number in numbers.items():
            newest = self._store.pins.newest(account)
            assert newest is not None, "its lists were just looked through"
            if number < newest.number:
                marks = self._marks(conversation, account)
                before = _recipients(self._lists.at(account, number), marks)
                later = (self._lists.at(account, each) for each in range(number + 1, newest.number + 1))
                times += [each.issued_ms for each in later if _recipients(each, marks) != before][:1]
        return min(times, default=None)

    def _marks(self, conversation: ConversationId, account: AccountId) -> frozenset[bytes]:
        chain = self._store.chains.find(conversation)
        assert chain is not None, "its members were just looked up"
        profiles = [profile for profile, owner in chain.past.items() if owner == account]
        pinned = {profile: self._store.pins.profile(profile) for profile in profiles}
        return frozenset(commitment(profile, each.salt) for profile, each in pinned.items() if each is not None)


def _recipients(devices: DeviceList, marks: frozenset[bytes]) -> frozenset[tuple[DeviceId, frozenset[bytes]]]:
    receiving = ((each.device, marks.intersection(each.profiles)) for each in devices.devices)
    return frozenset(each for each in receiving if each[1])
