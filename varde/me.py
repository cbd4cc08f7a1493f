"""Who this client is: the account, the device, and the profiles it speaks as."""

from dataclasses import dataclass, field

from msgspec import Struct

from varde_contract.ids import AccountId, DeviceId, ProfileId
from varde_contract.rest.profiles import ProfileType


class Profile(Struct, frozen=True):
    """One mode of the account. Its id is the address others write to."""

    id: ProfileId
    type: ProfileType


class Me(Struct, frozen=True):
    """This device and what it may speak as."""

    account: AccountId
    device: DeviceId
    profiles: tuple[Profile, ...]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that was enrolled. `recovery_phrase` brings the account back: show it once, write it on paper.

    It is None after the first connect: the store forgets it then.
    """

    account: AccountId
    device: DeviceId
    profiles: tuple[Profile, ...]
    recovery_phrase: str | None = field(repr=False)
