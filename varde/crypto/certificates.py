"""Trust: device certificates under root keys, root keys pinned at first sight, rosters checked against both."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from varde.crypto import CannotDecrypt
from varde.errors import RootKeyChanged, UntrustedDevice
from varde.events import Reason
from varde.store.store import Store
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.rest.people import Certificate
from varde_contract.rest.talk import ConversationView, RosterDevice, SenderView
from varde_contract.signed_statements import device_statement
from varde_contract.talk import ConversationKind


def check_signature(public_key: bytes, statement: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032). Raises UntrustedDevice."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        raise UntrustedDevice("a signature does not match its key") from None


def certify(
    root: Ed25519PrivateKey,
    account: AccountId,
    device: DeviceId,
    *,
    noise_key: bytes,
    signing_key: bytes,
    identity_key: bytes,
) -> Certificate:
    """Return the certificate of a device, signed by its account's root key."""
    statement = device_statement(
        account, device, noise_key=noise_key, signing_key=signing_key, identity_key=identity_key
    )
    return Certificate(account, device, noise_key, signing_key, identity_key, root.sign(statement))


def check_certificate(certificate: Certificate, root_key: bytes) -> None:
    """Check that the root key signed the certificate. Raises UntrustedDevice."""
    statement = device_statement(
        certificate.account,
        certificate.device,
        noise_key=certificate.noise_key,
        signing_key=certificate.signing_key,
        identity_key=certificate.identity_key,
    )
    check_signature(root_key, statement, certificate.signature)


class Trust:
    """What this device trusts of others, over the store. Changes run inside a transaction of the caller."""

    def __init__(self, store: Store, account: AccountId) -> None:
        self._store = store
        self._account = account

    def pin_root_key(self, account: AccountId, root_key: bytes) -> None:
        """Pin a root key at first sight. Raises RootKeyChanged for another one later."""
        pinned = self._store.pins.root_key(account)
        if pinned is None:
            self._store.pins.pin_root_key(account, root_key)
        elif pinned != root_key:
            raise RootKeyChanged("an account shows another root key than the one seen first")

    def accept_roster(self, view: ConversationView) -> None:
        """Check a roster against everything pinned, pin what is new, and store it.

        Raises RootKeyChanged or UntrustedDevice; the caller's transaction then rolls back what was pinned.
        """
        self._check_shape(view)
        for member in view.members:
            self.pin_root_key(member.account, member.root_key)
            self._pin_profile(member.profile, member.account)
        accounts = {member.profile: member.account for member in view.members}
        for device in view.devices:
            self._accept_device(device, accounts)
        self._store.conversations.put_roster(view)

    def accept_sender(
        self, conversation: ConversationId, device: DeviceId, profile: ProfileId, view: SenderView
    ) -> None:
        """Check a device that wrote as `profile` and is in no roster any more, by the rules of a roster; store it.

        Nothing is ever encrypted for it: that needs a roster that names it. In a group only the server says that the
        profile was a member when it wrote. Where members never change, it must be one of them.

        Raises RootKeyChanged or UntrustedDevice; the caller's transaction then rolls back what was pinned.
        """
        certificate = view.certificate
        if certificate.device != device:
            raise UntrustedDevice("another device was shown than the one asked for")
        roster = self._store.conversations.roster(conversation)
        owners = {} if roster is None else {member.profile: member.account for member in roster.members}
        is_group = roster is not None and roster.kind is ConversationKind.GROUP
        if not is_group and owners.get(profile) != certificate.account:
            raise UntrustedDevice("somebody wrote who is no member of a conversation whose members never change")
        self.pin_root_key(certificate.account, view.root_key)
        self._pin_profile(profile, certificate.account)
        self._keep(certificate)

    def knows(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> bool:
        """Whether a device is known to speak for a profile in a conversation, so that what it wrote can be opened."""
        return self._sender(conversation, device, profile) is not None

    def certificate_of(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> Certificate:
        """Return the certificate of a sending device that speaks for a profile of its account. Raises CannotDecrypt."""
        certificate = self._sender(conversation, device, profile)
        if certificate is None:
            raise CannotDecrypt(Reason.UNKNOWN_SENDER)
        return certificate

    def _sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> Certificate | None:
        certificate = self._store.pins.certificate(device)
        if certificate is None or self._store.pins.account_of(profile) != certificate.account:
            return None
        # A device known from a group is still a stranger in a conversation whose members never change.
        roster = self._store.conversations.roster(conversation)
        may_write = roster is not None and (
            roster.kind is ConversationKind.GROUP or any(member.profile == profile for member in roster.members)
        )
        return certificate if may_write else None

    def _check_shape(self, view: ConversationView) -> None:
        before = self._store.conversations.roster(view.conversation)
        members = {member.profile for member in view.members}
        if before is not None and before.kind is not view.kind:
            raise UntrustedDevice("a conversation is of another kind than before")
        if view.kind is ConversationKind.GROUP:
            return
        if before is not None and {member.profile for member in before.members} != members:
            raise UntrustedDevice("the members of a conversation that cannot change did")
        if view.kind is ConversationKind.SELF and {member.account for member in view.members} != {self._account}:
            raise UntrustedDevice("somebody else is in a conversation with oneself")
        if len(members) > (2 if view.kind is ConversationKind.DM else 1):
            raise UntrustedDevice("there are more members than this kind of conversation has")

    def _pin_profile(self, profile: ProfileId, account: AccountId) -> None:
        pinned = self._store.pins.account_of(profile)
        if pinned is None:
            self._store.pins.pin_profile(profile, account)
        elif pinned != account:
            raise UntrustedDevice("a profile belongs to another account than before")

    def _accept_device(self, device: RosterDevice, accounts: dict[ProfileId, AccountId]) -> None:
        certificate = device.certificate
        if not device.profiles or any(accounts.get(p) != certificate.account for p in device.profiles):
            raise UntrustedDevice("a device receives for a profile that is not its account's")
        self._keep(certificate)

    def _keep(self, certificate: Certificate) -> None:
        known = self._store.pins.certificate(certificate.device)
        if known is None:
            root_key = self._store.pins.root_key(certificate.account)
            assert root_key is not None, "accounts are pinned before their devices"
            check_certificate(certificate, root_key)
            self._store.pins.keep_certificate(certificate)
        elif known != certificate:
            raise UntrustedDevice("a device shows other keys than before")
