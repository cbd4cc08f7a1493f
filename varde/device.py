"""This device as its store holds it: ids, Noise key, certificate and profiles."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde.clock import fresh_id
from varde.crypto.certificates import certify
from varde.crypto.keychain import OwnDevice
from varde.crypto.olm import OlmAccount
from varde.crypto.pairwise import keep_account
from varde.errors import NotEnrolled
from varde.identity import Identity, Profile
from varde.store import Store
from varde_contract.ids import AccountId, DeviceId
from varde_contract.noise import KeyPair
from varde_contract.rest.people import Certificate, NewDevice, ProfileView
from varde_contract.secret_struct import SecretStruct

DEVICE = "device"
"""The setting that holds this device's keys, from before it is registered."""
IDENTITY = "me"
"""The setting that says who this device is, once it is enrolled."""
API_URL = "api-url"
PHRASE = "recovery-phrase"
"""The setting that holds the phrase until the first connect, so that no crash can lose it before it was shown."""


class DeviceKeys(SecretStruct, frozen=True):
    """The keys of this device next to its Olm account."""

    certificate: Certificate
    noise_private: bytes

    @property
    def own(self) -> OwnDevice:
        """Who this device is."""
        return OwnDevice(self.certificate.account, self.certificate.device)

    @property
    def noise(self) -> KeyPair:
        """The static key of the relay connection."""
        return KeyPair.from_private(self.noise_private)

    def registration(self, profiles: Sequence[ProfileView]) -> NewDevice:
        """Return what the server is told, receiving for all of these profiles."""
        known = self.certificate
        return NewDevice(
            known.device,
            known.noise_key,
            known.signing_key,
            known.identity_key,
            known.signature,
            tuple(profile.profile for profile in profiles),
        )


def open_device(store: Store, account: AccountId, root: Ed25519PrivateKey) -> DeviceKeys:
    """Return this store's device, made and certified now when there is none."""
    found = store.settings.find(DEVICE, DeviceKeys)
    if found is not None:
        return found
    olm, noise = OlmAccount.generate(), KeyPair.generate()
    certificate = certify(
        root,
        account,
        DeviceId(fresh_id()),
        noise_key=noise.public,
        signing_key=olm.signing_key,
        identity_key=olm.identity_key,
    )
    made = DeviceKeys(certificate, noise.private_bytes())
    with store.transaction():
        keep_account(store, olm)
        store.settings.put(DEVICE, made)
    return made


def load_device(store: Store) -> tuple[DeviceKeys, Identity]:
    """Return the enrolled device of a store. Raises NotEnrolled."""
    keys, identity = store.settings.find(DEVICE, DeviceKeys), store.settings.find(IDENTITY, Identity)
    if keys is None or identity is None:
        raise NotEnrolled("the enrolment of this device was not finished", advice="run it again")
    return keys, identity


def load_api_url(store: Store) -> str:
    """Return where the API of a store's device is. Raises NotEnrolled."""
    found = store.settings.find(API_URL, str)
    if found is None:
        raise NotEnrolled("this store does not know its server")
    return found


def profile_of(view: ProfileView) -> Profile:
    """Return the part of a profile that a client lives with."""
    return Profile(view.profile, view.type)
