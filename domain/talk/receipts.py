"""The audience of receipts, typing and presence; and receipts that wait to be stored.

Whether others see it is the policy of the profile that it tells of, never of the reader.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from domain.talk.model import Confirmation, Member, Roster
from varde_contract.ids import ConversationId, DeviceId, ProfileId

Audience: TypeAlias = frozenset[DeviceId]
NOBODY: Final[Audience] = frozenset()


def delivered_audience(roster: Roster, profile: ProfileId) -> Audience:
    """The devices of other people, if the profile shows what it holds."""
    return _others(roster, profile, shows=lambda member: member.delivery_receipts)


def read_audience(roster: Roster, profile: ProfileId) -> Audience:
    """The devices of other people, if the profile shows what it has read; and its own devices always."""
    own = frozenset(device for device, profiles in roster.devices.items() if profile in profiles)
    return _others(roster, profile, shows=lambda member: member.read_receipts) | own


def typing_audience(roster: Roster, profile: ProfileId) -> Audience:
    """The devices of other people, if the profile shows that it writes."""
    return _others(roster, profile, shows=lambda member: member.typing)


def presence_audience(roster: Roster, profile: ProfileId) -> Audience:
    """The devices of other people, if the profile shows that it is there."""
    return _others(roster, profile, shows=lambda member: member.presence)


def _others(roster: Roster, profile: ProfileId, *, shows: Callable[[Member], bool]) -> Audience:
    member = roster.members.get(profile)
    if member is None or not shows(member):
        return NOBODY
    # By account and not by profile: a person's two modes may both be members, and nobody is told about himself.
    own = {other.profile for other in roster.members.values() if other.account == member.account}
    return frozenset(device for device, profiles in roster.devices.items() if profiles.isdisjoint(own))


class ReadMark(Struct, frozen=True):
    """`profile` has read every number of `conversation` up to and with `upto`."""

    conversation: ConversationId
    profile: ProfileId
    upto: int


class PendingReceipts:
    """Receipts on their way to the store: one per position, however often it moved meanwhile."""

    def __init__(self) -> None:
        self._held: dict[tuple[ConversationId, DeviceId], int] = {}
        self._read: dict[tuple[ConversationId, ProfileId], int] = {}

    def __len__(self) -> int:
        return len(self._held) + len(self._read)

    def confirm(self, confirmation: Confirmation) -> None:
        """Take in what a device holds."""
        key = (confirmation.conversation, confirmation.device)
        self._held[key] = max(confirmation.upto, self._held.get(key, 0))

    def mark(self, mark: ReadMark) -> None:
        """Take in what a profile has read."""
        key = (mark.conversation, mark.profile)
        self._read[key] = max(mark.upto, self._read.get(key, 0))

    def take_confirmations(self, most: int) -> Sequence[Confirmation]:
        """Take out up to `most`, those first that came first."""
        # A dict keeps the order of first insertion, so a position that moves on and on does not wait for ever.
        keys = [key for key, _ in zip(self._held, range(most), strict=False)]
        return [
            Confirmation(conversation, device, self._held.pop((conversation, device))) for conversation, device in keys
        ]

    def take_marks(self, most: int) -> Sequence[ReadMark]:
        """Take out up to `most`, those first that came first."""
        keys = [key for key, _ in zip(self._read, range(most), strict=False)]
        return [
            ReadMark(conversation, profile, self._read.pop((conversation, profile))) for conversation, profile in keys
        ]
