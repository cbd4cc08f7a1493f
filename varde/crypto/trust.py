"""Trust: rosters checked against the accounts' own device lists, which the server cannot make."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from varde.clock import now_ms
from varde.crypto import CannotDecrypt
from varde.crypto.device_lists import DeviceLists, is_current
from varde.errors import ListRollback, UntrustedDevice
from varde.events import Reason
from varde.store.people import KnownDevice, PinnedProfile
from varde.store.store import Store
from varde_contract.device_list import commitment
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.rest.talk import ConversationView, MemberView, RosterDevice
from varde_contract.talk import ConversationKind


def check_signature(public_key: bytes, statement: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032). Raises UntrustedDevice."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        raise UntrustedDevice("a signature does not match its key") from None


class Trust:
    """What this device trusts of others, over the store. Changes run inside a transaction of the caller."""

    def __init__(self, store: Store, account: AccountId) -> None:
        self._store = store
        self._account = account
        self.lists = DeviceLists(store)

    def accept_roster(self, view: ConversationView) -> tuple[DeviceId, ...]:
        """Check a roster against the device lists in the store, pin what is new, and store it.

        Returns the devices that the lists prove for it and the server withholds. The lists that the view names must be
        known. Raises ListRollback or UntrustedDevice; the caller's transaction then rolls back what was pinned.
        """
        self._check_shape(view)
        heads = {head.account: head for head in view.lists}
        for member in view.members:
            if member.account not in heads or self.lists.missing_from(heads[member.account]) is not None:
                raise ListRollback("the server shows a member without the device list that proves its devices")
            self.pin_profile(member.profile, PinnedProfile(member.account, member.salt))
        proven = self._proven(view)
        for device in view.devices:
            _check_device(device, proven)
        self._store.conversations.put_roster(view)
        return tuple(sorted(proven.keys() - {device.device for device in view.devices}))

    def pin_profile(self, profile: ProfileId, pinned: PinnedProfile) -> None:
        """Trust from now on that the profile is this account's. Raises UntrustedDevice where it was another's."""
        known = self._store.pins.profile(profile)
        if known is None:
            self._store.pins.pin_profile(profile, pinned)
        elif known != pinned:
            raise UntrustedDevice("a profile belongs to another account than before, or has another salt")

    def knows(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> bool:
        """Whether a device is known to speak for a profile in a conversation, so that what it wrote can be opened."""
        return self._sender(conversation, device, profile) is not None

    def sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> KnownDevice:
        """Return a sending device that speaks for a profile of its account. Raises CannotDecrypt."""
        known = self._sender(conversation, device, profile)
        if known is None:
            raise CannotDecrypt(Reason.UNKNOWN_SENDER)
        return known

    def _sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> KnownDevice | None:
        known, pinned = self._store.pins.device(device), self._store.pins.profile(profile)
        if known is None or pinned is None or known.account != pinned.account:
            return None
        if commitment(profile, pinned.salt) not in known.profiles:
            return None
        # A device known from a group is still a stranger in a conversation whose members never change.
        roster = self._store.conversations.roster(conversation)
        may_write = roster is not None and (
            roster.kind is ConversationKind.GROUP or any(member.profile == profile for member in roster.members)
        )
        return known if may_write else None

    def _proven(self, view: ConversationView) -> dict[DeviceId, tuple[AccountId, frozenset[ProfileId]]]:
        """Return the devices that the accounts' own lists prove for the members, with the profiles of each."""
        by_account: dict[AccountId, list[MemberView]] = {}
        for member in view.members:
            by_account.setdefault(member.account, []).append(member)
        now, proven = now_ms(), {}
        for account, members in by_account.items():
            newest = self.lists.newest(account)
            assert newest is not None, "lists are taken in before rosters"
            opened = {commitment(member.profile, member.salt): member.profile for member in members}
            for listed in newest.devices:
                profiles = frozenset(opened[each] for each in listed.profiles if each in opened)
                if profiles and is_current(listed, now):
                    proven[listed.device] = account, profiles
        return proven

    def _check_shape(self, view: ConversationView) -> None:
        before = self._store.conversations.roster(view.conversation)
        members = {member.profile for member in view.members}
        if before is not None and before.kind is not view.kind:
            raise UntrustedDevice("a conversation is of another kind than before")
        if before is not None and before.roster_version == view.roster_version and _content(before) != _content(view):
            # The version moves with every change, so this one was made by whoever shows it.
            raise UntrustedDevice("a roster changed without a new version")
        if view.kind is ConversationKind.GROUP:
            return
        if before is not None and {member.profile for member in before.members} != members:
            raise UntrustedDevice("the members of a conversation that cannot change did")
        if view.kind is ConversationKind.SELF and {member.account for member in view.members} != {self._account}:
            raise UntrustedDevice("somebody else is in a conversation with oneself")
        if len(members) > (2 if view.kind is ConversationKind.DM else 1):
            raise UntrustedDevice("there are more members than this kind of conversation has")


def _check_device(device: RosterDevice, proven: dict[DeviceId, tuple[AccountId, frozenset[ProfileId]]]) -> None:
    account, profiles = proven.get(device.device, (None, frozenset()))
    if account != device.account or not device.profiles or not profiles.issuperset(device.profiles):
        raise UntrustedDevice("a device is in a roster that its account's own device list does not prove")


def _content(view: ConversationView) -> tuple[object, ...]:
    members = {(member.profile, member.account) for member in view.members}
    return members, {(device.device, device.profiles) for device in view.devices}
