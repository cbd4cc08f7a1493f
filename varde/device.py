"""This device as its store holds it: ids, Noise key and profiles."""

from collections.abc import Sequence

from varde.clock import fresh_id
from varde.crypto.keychain import OwnDevice
from varde.crypto.olm import OlmAccount
from varde.crypto.pairwise import keep_account
from varde.errors import NotEnrolled, StoreDamaged
from varde.identity import Identity, Profile
from varde.store import Store
from varde_contract.device_list import ListedDevice, commitment
from varde_contract.ids import AccountId, DeviceId
from varde_contract.noise import KeyPair
from varde_contract.rest.people import ProfileView
from varde_contract.secret_struct import SecretStruct

DEVICE = "device"
"""The setting that holds this device's keys, from before it is registered."""
IDENTITY = "me"
"""The setting that says who this device is, once it is enrolled."""
API_URL = "api-url"
PHRASE = "recovery-phrase"
"""The setting that holds the phrase until the first connect, so that no crash can lose it before it was shown."""
PHRASE_KEPT = "recovery-phrase-kept"
"""The setting that lets it outlive connects, until `forget_phrase`."""


class DeviceKeys(SecretStruct, frozen=True):
    """This device, and the keys that are not in its Olm account."""

    account: AccountId
    device: DeviceId
    noise_private: bytes

    @property
    def own(self) -> OwnDevice:
        """Who this device is."""
        return OwnDevice(self.account, self.device)

    @property
    def noise(self) -> KeyPair:
        """The static key of the relay connection."""
        return KeyPair.from_private(self.noise_private)

    def listed(self, olm: OlmAccount, profiles: Sequence[ProfileView], *, manager: bool) -> ListedDevice:
        """Return this device as a device list shows it, receiving for all of these profiles."""
        commitments = sorted(commitment(profile.profile, profile.salt) for profile in profiles)
        return ListedDevice(
            self.device, self.noise.public, olm.signing_key, olm.identity_key, tuple(commitments), manager
        )


def open_device(store: Store, account: AccountId) -> DeviceKeys:
    """Return this store's device, made now when there is none."""
    found = store.settings.find(DEVICE, DeviceKeys)
    if found is not None:
        return found
    made = DeviceKeys(account, DeviceId(fresh_id()), KeyPair.generate().private_bytes())
    # Both at once, before anything is said to the server: an interrupted enrolment goes on with the same keys.
    with store.transaction():
        keep_account(store, OlmAccount.generate())
        store.settings.put(DEVICE, made)
    return made


def load_device(store: Store) -> tuple[DeviceKeys, Identity]:
    """Return the enrolled device of a store. Raises NotEnrolled."""
    keys, identity = store.settings.find(DEVICE, DeviceKeys), store.settings.find(IDENTITY, Identity)
    if keys is None or identity is None:
        raise NotEnrolled("the enrolment of this device was not finished", advice="run it again")
    if store.pins.newest(identity.account) is None:
        raise StoreDamaged("this account's own device list is missing from the store")
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
