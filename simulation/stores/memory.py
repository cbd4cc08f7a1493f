"""The rows that the memory stores keep, and the queries that several of them share."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from domain.fleet.model import NodeReport, Order
from domain.jobs.ports import WorkerId
from domain.people import model as people
from domain.people.ports import UserName
from domain.ports import Clock
from domain.talk import model as talk_model
from domain.transparency.model import SignedHead
from simulation.stores.clock import ManualClock
from varde_contract.ids import (
    ENTROPY_BYTES,
    AccountId,
    ClientId,
    ConversationId,
    DeviceId,
    EpochId,
    LinkId,
    ProfileId,
    SessionId,
    uuid7,
)
from varde_contract.limits import ROSTER_GRACE_MS
from varde_contract.talk import ConversationKind, Role
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.tiles import Tile

FIRST_EPOCH: Final = EpochId(uuid7(0, bytes(ENTROPY_BYTES)))
"""Of time 0, so that every later one is younger, as ids are compared."""


@dataclass
class Membership:
    """A membership."""

    account: AccountId
    role: Role
    from_seq: int
    accepted: bool = True
    read_upto: int = 0
    inviter: AccountId | None = None
    asked_ms: int = 0


@dataclass
class Position:
    """Where a device stands in a conversation."""

    start: int
    upto: int


@dataclass
class StoredConversation:
    """A conversation with its log. For all, `ciphers` has None for the device, and b"" of a part."""

    id: ConversationId
    kind: ConversationKind
    created_ms: int
    version: int = 1
    head: int = 0
    members: dict[ProfileId, Membership] = field(default_factory=dict)
    positions: dict[DeviceId, Position] = field(default_factory=dict)
    log: dict[int, talk_model.Draft] = field(default_factory=dict)
    ciphers: dict[tuple[int, DeviceId | None], bytes] = field(default_factory=dict)
    known: dict[tuple[DeviceId, ClientId], int] = field(default_factory=dict)
    superseded_ms: list[int] = field(default_factory=list)
    statements: list[tuple[talk_model.StoredStatement, bytes]] = field(default_factory=list)
    """With the hash of each."""
    signers: set[ProfileId] = field(default_factory=set)
    last_put_back: bool = False
    words: dict[tuple[ProfileId, DeviceId], talk_model.Words] = field(default_factory=dict)
    membership: bytes | None = None

    def move_version(self, now_ms: int, *, removal: bool = False) -> people.RosterChange:
        """Move the roster version."""
        self.version += 1
        # As `storage.postgres.talk.positions` does it, with its 64: a test of either must hold for both.
        recent = [at_ms for at_ms in self.superseded_ms if at_ms > now_ms - ROSTER_GRACE_MS]
        self.superseded_ms = [] if removal else [*recent, now_ms][-64:]
        return people.RosterChange(self.id, self.version)

    def add_device(self, device: DeviceId) -> None:
        """Give a device a position, unless it has one."""
        self.positions.setdefault(device, Position(self.head + 1, self.head))

    def remove_device(self, device: DeviceId) -> None:
        """Take a device's position and its waiting ciphertext, and what only it was waited for."""
        position = self.positions.pop(device, None)
        if position is not None:
            self._forget(device, position.upto, self.head)

    def confirm(self, device: DeviceId, upto: int) -> int | None:
        """Move a position; return where to, or None when it did not move."""
        position = self.positions.get(device)
        upto = min(upto, self.head)
        if position is None or upto <= position.upto:
            return None
        before, position.upto = position.upto, upto
        self._forget(device, before, upto)
        return upto

    def _forget(self, device: DeviceId, after: int, upto: int) -> None:
        for seq in range(after + 1, upto + 1):
            self.ciphers.pop((seq, device), None)
            message = self.log.get(seq)
            if message is not None and not self._awaited(seq, message.device):
                self.ciphers.pop((seq, None), None)

    def _awaited(self, seq: int, sender: DeviceId) -> bool:
        return any(position.upto < seq for device, position in self.positions.items() if device != sender)


@dataclass
class KeyChain:
    """A device's prekeys. `known` remembers those that were handed out, too."""

    one_time: list[people.Prekey] = field(default_factory=list)
    fallback: people.Prekey | None = None
    known: set[bytes] = field(default_factory=set)


@dataclass
class LogMemory:
    """The transparency log. `heads` has the cosigned checkpoint under True."""

    places: int = 0
    pending: dict[int, Entry] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    tiles: dict[Tile, bytes] = field(default_factory=dict)
    heads: dict[bool, SignedHead] = field(default_factory=dict)

    def enqueue(self, entry: Entry) -> None:
        """Let an entry wait for the log."""
        self.places += 1
        self.pending[self.places] = entry


@dataclass
class Memory:
    """Everything the stores keep."""

    accounts: dict[AccountId, people.Account] = field(default_factory=dict)
    addresses: dict[bytes, AccountId] = field(default_factory=dict)
    codes: dict[bytes, people.OneTimeCode] = field(default_factory=dict)
    code_times: dict[bytes, list[int]] = field(default_factory=dict)
    sessions: dict[tuple[AccountId, SessionId], people.Session] = field(default_factory=dict)
    profiles: dict[ProfileId, people.Profile] = field(default_factory=dict)
    devices: dict[DeviceId, people.Device] = field(default_factory=dict)
    lists: dict[tuple[AccountId, int], people.StoredList] = field(default_factory=dict)
    stored_ms: dict[tuple[AccountId, int], int] = field(default_factory=dict)
    """When each list was stored."""
    device_owners: dict[DeviceId, AccountId] = field(default_factory=dict)
    revocations: dict[DeviceId, tuple[int, people.Revocation]] = field(default_factory=dict)
    keys: dict[DeviceId, KeyChain] = field(default_factory=dict)
    claims: dict[tuple[AccountId, DeviceId], list[int]] = field(default_factory=dict)
    talks: dict[ConversationId, StoredConversation] = field(default_factory=dict)
    blocks: dict[tuple[AccountId, AccountId], int] = field(default_factory=dict)
    cards: dict[ProfileId | ConversationId, talk_model.SealedCard] = field(default_factory=dict)
    links: dict[tuple[AccountId, LinkId], talk_model.Link] = field(default_factory=dict)
    link_uses: set[tuple[AccountId, LinkId, AccountId]] = field(default_factory=set)
    user_names: dict[bytes, tuple[UserName, int | None]] = field(default_factory=dict)
    """By skeleton; with the time when it was given up."""
    pairs: dict[tuple[ProfileId, ProfileId], ConversationId] = field(default_factory=dict)
    spending: dict[bytes, float] = field(default_factory=dict)
    """When each bucket is full again."""
    leases: dict[str, tuple[WorkerId, float]] = field(default_factory=dict)
    schema_fits: bool = True
    nodes: dict[str, tuple[NodeReport, Order, float]] = field(default_factory=dict)
    """With Trio's time of the last beat."""
    transparency: LogMemory = field(default_factory=LogMemory)
    epochs: list[tuple[EpochId, dict[ConversationId, int]]] = field(default_factory=lambda: [(FIRST_EPOCH, {})])
    """Newest first, with what each conversation had kept when it began."""
    clock: Clock = field(default_factory=ManualClock)

    def devices_of(self, account: AccountId) -> list[people.Device]:
        """Return the account's devices, oldest first."""
        own = (device for device in self.devices.values() if device.account == account)
        return sorted(own, key=lambda device: (device.created_ms, device.id))

    def talks_with(self, account: AccountId, profiles: Iterable[ProfileId]) -> list[StoredConversation]:
        """Return the conversations one of the account's profiles is a member of, in the order of their ids."""
        wanted = set(profiles)
        return [
            talk
            for _, talk in sorted(self.talks.items())
            if any(
                profile in wanted and member.account == account and member.accepted
                for profile, member in talk.members.items()
            )
        ]

    def received_profiles(self, talk: StoredConversation, device: people.Device) -> tuple[ProfileId, ...]:
        """Return the member profiles the device receives for."""
        return tuple(
            profile
            for profile in sorted(device.profiles)
            if (member := talk.members.get(profile)) is not None
            and member.account == device.account
            and member.accepted
        )

    def current_devices(self, talk: StoredConversation) -> Iterator[tuple[people.Device, tuple[ProfileId, ...]]]:
        """Walk the devices of the members, each with the member profiles it receives for."""
        for device in self.devices.values():
            profiles = self.received_profiles(talk, device)
            if profiles:
                yield device, profiles

    def reseat(self, talk: StoredConversation, device: people.Device) -> None:
        """Let a device's position begin or end, as the roster now says."""
        if device.id in self.devices and self.received_profiles(talk, device):
            talk.add_device(device.id)
        else:
            talk.remove_device(device.id)

    def links_used(self, by: AccountId, profile: ProfileId) -> list[talk_model.Link]:
        """Return the links to a profile that an account has used."""
        links = self.links.values()
        return [each for each in links if each.profile == profile and (each.account, each.id, by) in self.link_uses]

    def shares(self, account: AccountId, profile: ProfileId) -> bool:
        """Whether an account and a profile are members of one conversation."""
        for talk in self.talks.values():
            member, accounts = talk.members.get(profile), {m.account for m in talk.members.values() if m.accepted}
            if member is not None and member.accepted and account in accounts:
                return True
        return False

    def roster(self, talk: StoredConversation) -> talk_model.Roster:
        """Return the roster."""
        return talk_model.Roster(
            conversation=talk.id,
            kind=talk.kind,
            version=talk.version,
            members={
                profile: self._member(profile, member) for profile, member in talk.members.items() if member.accepted
            },
            devices={device.id: frozenset(profiles) for device, profiles in self.current_devices(talk)},
            superseded_ms=tuple(talk.superseded_ms),
        )

    def _member(self, profile: ProfileId, member: Membership) -> talk_model.Member:
        policies = self.profiles[profile].policies
        return talk_model.Member(
            profile=profile,
            account=member.account,
            role=member.role,
            from_seq=member.from_seq,
            read_receipts=policies.read_receipts,
            delivery_receipts=policies.delivery_receipts,
            typing=policies.typing,
            presence=policies.presence,
        )
