"""People and their conversations as rows: what sign-up and `POST /v1/conversations` would have written, table by
table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from domain.people.addresses import address_digest, normal_address
from domain.people.sessions import REFRESH_TIME
from loadtest.crowd.device_keys import address_of
from loadtest.crowd.seeding.people import Person
from varde_contract.ids import ConversationId
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.talk import ConversationKind, Role

Row: TypeAlias = tuple[Any, ...]
PAIR: Final = 2

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("account_id", "created_ms", "root_key"),
    "address_account": ("address", "account_id"),
    "profile": ("account_id", "profile_id", "type", "theme", "policies", "created_ms"),
    "profile_account": ("profile_id", "account_id"),
    "device": (
        *("account_id", "device_id", "noise_key", "signing_key", "identity_key", "signature", "profiles"),
        "created_ms",
    ),
    "device_account": ("device_id", "account_id"),
    "session": (
        *("account_id", "session_id", "device_id", "access_digest", "access_expires_ms"),
        *("refresh_digest", "refresh_expires_ms", "created_ms", "refreshed_ms"),
    ),
    "one_time_key": ("account_id", "device_id", "key", "signature"),
    "fallback_key": ("account_id", "device_id", "key", "signature"),
    "conversation": ("conversation_id", "kind", "created_ms"),
    "pair_conversation": ("low_profile_id", "high_profile_id", "conversation_id"),
    "membership": ("conversation_id", "profile_id", "account_id", "role", "from_seq"),
    "delivery": ("conversation_id", "device_id", "start_seq", "upto"),
}
"""In the order in which they have to be filled."""


class Gathering(Struct, frozen=True):
    """A conversation and who is in it. Two are a dm, and nobody's; more are a group, owned by the first."""

    conversation: ConversationId
    people: Sequence[Person]

    @property
    def group(self) -> bool:
        """Whether it is not a dm."""
        return len(self.people) > PAIR

    @property
    def pair(self) -> tuple[Any, ...]:
        """The two profiles, the lower id first."""
        return tuple(sorted(person.profile for person in self.people))


def rows_of(table: str, people: Sequence[Person], gatherings: Sequence[Gathering], pepper: bytes) -> Iterable[Row]:
    """Return the rows of one of the tables."""
    match table:
        case "address_account":
            return _addresses(people, pepper)
        case "conversation" | "pair_conversation" | "membership" | "delivery":
            return (row for gathering in gatherings for row in _rows_of_gathering(table, gathering))
        case _:
            return (row for person in people for row in _rows_of_person(table, person))


def _addresses(people: Iterable[Person], pepper: bytes) -> Iterator[Row]:
    for person in people:
        yield address_digest(pepper, normal_address(address_of(person.device.id))), person.device.account


_OPEN: Final = msgspec.json.encode(Policies()).decode()
_DISCREET: Final = msgspec.json.encode(
    Policies(read_receipts=False, delivery_receipts=False, typing=False, presence=False)
).decode()


def _rows_of_person(table: str, person: Person) -> Iterable[Row]:
    device = person.device
    account, now = device.account, device.created_ms
    place = (account, device.id)
    match table:
        case "account":
            return [(account, now, person.root_key)]
        case "profile":
            policies = _DISCREET if person.discreet else _OPEN
            return [(account, person.profile, ProfileType.PRIVAT.value, Theme.SYSTEM.value, policies, now)]
        case "profile_account":
            return [(person.profile, account)]
        case "device":
            keys = (device.noise_key, device.signing_key, device.identity_key, device.signature)
            return [(*place, *keys, list(device.profiles), now)]
        case "device_account":
            return [(device.id, account)]
        case "session":
            return [_session(person)]
        case "one_time_key":
            return [(*place, prekey.key, prekey.signature) for prekey in person.one_time]
        case "fallback_key":
            return [(*place, person.fallback.key, person.fallback.signature)]
    raise KeyError(table)


def _session(person: Person) -> Row:
    access, refresh, now = person.access, person.refresh, person.device.created_ms
    ids = (access.account, access.session, person.device.id)
    return (*ids, access.digest(), person.tickets_expire_ms, refresh.digest(), now + REFRESH_TIME, now, now)


def _rows_of_gathering(table: str, gathering: Gathering) -> Iterable[Row]:
    conversation, people = gathering.conversation, gathering.people
    match table:
        case "conversation":
            kind = ConversationKind.GROUP if gathering.group else ConversationKind.DM
            return [(conversation, kind.value, people[0].device.created_ms)]
        case "pair_conversation":
            return [] if gathering.group else [(*gathering.pair, conversation)]
        case "membership":
            return [_membership(gathering, person) for person in people]
        case "delivery":
            return [(conversation, person.device.id, 1, 0) for person in people]
    raise KeyError(table)


def _membership(gathering: Gathering, person: Person) -> Row:
    owns = gathering.group and person is gathering.people[0]
    role = Role.OWNER if owns else Role.MEMBER
    return (gathering.conversation, person.profile, person.device.account, role.value, 1)
