"""Trust: rosters checked against the accounts' own device lists, which the server cannot make."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from varde.clock import now_ms
from varde.crypto import CannotDecrypt
from varde.crypto.device_lists import DeviceLists, is_current
from varde.errors import ListRollback, UntrustedDevice, UpdateNeeded
from varde.events import Reason
from varde.store.people import KnownDevice, PinnedProfile
from varde.store.store import Store
from varde_contract.device_list import commitment
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.membership import listed_key
from varde_contract.membership_statements import ChainFault, Statement
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ConversationView, MemberView, RosterDevice


def check_signature(public_key: bytes, statement: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032). Raises UntrustedDevice."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        raise UntrustedDevice("a signature does not match its key") from None


class UnknownSigner(PeerFault):
    """The device list that a statement names, or the salt of its signer's profile, is not here yet."""

    def __init__(self, statement: Statement) -> None:
        super().__init__("the signer is not known")
        self.statement = statement


class Trust:
    """What this device trusts of others, over the store. Changes run inside a transaction of the caller."""

    def __init__(self, store: Store, account: AccountId) -> None:
        self._store = store
        self._account = account
        self.lists = DeviceLists(store)

    def accept_roster(self, view: ConversationView) -> tuple[DeviceId, ...]:
        """Check a roster against the chain and the device lists in the store, pin what is new, and store it.

        Returns the devices that the lists prove for it and the server withholds. The lists that the view names must be
        known. Raises UpdateNeeded, ListRollback or UntrustedDevice; the caller's transaction then rolls back what was
        pinned.
        """
        self._check_members(view)
        heads = {head.account: head for head in view.lists}
        for member in view.members:
            if member.account not in heads or self.lists.missing_from(heads[member.account]) is not None:
                raise ListRollback("the server shows a member without the device list that proves its devices")
            self.pin_profile(member.profile, PinnedProfile(member.account, member.salt))
        proven = self._proven(view)
        for device in view.devices:
            _check_device(device, proven)
        # After every check: a transaction that fails leaves neither pins nor roster of a view that lied somewhere.
        self._store.conversations.put_roster(view)
        return tuple(sorted(proven.keys() - {device.device for device in view.devices}))

    def signer_key(self, statement: Statement) -> bytes:
        """Return the key that a statement must be signed with: a `varde_contract.membership.SignerKey`.

        Raises UnknownSigner where the list that it names, or the salt of its profile, is not here.
        """
        pinned, newest = self._store.pins.profile(statement.profile), self.lists.newest(statement.account)
        if pinned is None or newest is None or newest.number < statement.list_number:
            raise UnknownSigner(statement)
        if pinned.account != statement.account:
            raise ChainFault(RefusalCode.BAD_SIGNATURE, "the statement is signed as somebody else's profile")
        # The list of then: a device that was revoked later had the right, and to undo what it did would fork the chain.
        return listed_key(statement, self.lists.at(statement.account, statement.list_number), pinned.salt)

    def pin_profile(self, profile: ProfileId, pinned: PinnedProfile) -> None:
        """Trust from now on that the profile is this account's. Raises UntrustedDevice where it was another's."""
        known = self._store.pins.profile(profile)
        if known is None:
            self._store.pins.pin_profile(profile, pinned)
        elif known != pinned:
            raise UntrustedDevice("a profile belongs to another account than before, or has another salt")

    def devices_of(self, profile: ProfileId, now_ms: int) -> tuple[KnownDevice, ...]:
        """Return the devices that the newest list of a pinned profile's account proves for it."""
        pinned = self._store.pins.profile(profile)
        newest = None if pinned is None else self.lists.newest(pinned.account)
        if pinned is None or newest is None:
            return ()
        mark = commitment(profile, pinned.salt)
        listed = (each.device for each in newest.devices if mark in each.profiles and is_current(each, now_ms))
        return tuple(known for known in map(self._store.pins.device, listed) if known is not None)

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
        # A device known from elsewhere is a stranger here, unless its profile accepted to be a member once.
        chain = self._store.chains.find(conversation)
        return known if chain is not None and chain.past.get(profile) == known.account else None

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

    def _check_members(self, view: ConversationView) -> None:
        chain = self._store.chains.find(view.conversation)
        if chain is None:
            raise UntrustedDevice("no statement proves who is in this conversation")
        if chain.blocked:
            raise UpdateNeeded("a statement about the members is not known to this version")
        if view.kind is not chain.state.kind:
            raise UntrustedDevice("a conversation is called of another kind than it was created as")
        proven = {profile: (member.account, member.role) for profile, member in chain.state.accepted.items()}
        if any(proven.get(member.profile) != (member.account, member.role) for member in view.members):
            raise UntrustedDevice("a member is named that no statement proves")
        before = self._store.conversations.roster(view.conversation)
        if before is not None and before.roster_version == view.roster_version and _content(before) != _content(view):
            # The version moves with every change, so this one was made by whoever shows it.
            raise UntrustedDevice("a roster changed without a new version")


def _check_device(device: RosterDevice, proven: dict[DeviceId, tuple[AccountId, frozenset[ProfileId]]]) -> None:
    account, profiles = proven.get(device.device, (None, frozenset()))
    if account != device.account or not device.profiles or not profiles.issuperset(device.profiles):
        raise UntrustedDevice("a device is in a roster that its account's own device list does not prove")


def _content(view: ConversationView) -> tuple[object, ...]:
    members = {(member.profile, member.account) for member in view.members}
    return members, {(device.device, device.profiles) for device in view.devices}
