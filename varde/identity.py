"""Who this client is: the account, the device, and the profiles it writes as."""

from dataclasses import dataclass, field

from msgspec import Struct

from varde.errors import NotAllowed
from varde_contract.ids import AccountId, DeviceId, ProfileId
from varde_contract.people import ProfileType
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ConversationView


class Profile(Struct, frozen=True):
    """One mode of the account. Its id is the address others write to."""

    id: ProfileId
    type: ProfileType


class Identity(Struct, frozen=True):
    """This device, its account, and the profiles it may write as."""

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


def own_profile(view: ConversationView, identity: Identity, as_profile: ProfileId | None = None) -> ProfileId:
    """Return the profile to write as: the one asked for, or this account's first in the conversation.

    Raises NotAllowed.
    """
    members = {member.profile for member in view.members if member.account == identity.account}
    wanted = [profile.id for profile in identity.profiles if profile.id in members and as_profile in (None, profile.id)]
    if not wanted:
        raise NotAllowed(RefusalCode.PROFILE_NOT_ALLOWED, "None of this account's profiles is a member like that.")
    return wanted[0]


def default_profile(identity: Identity, as_profile: ProfileId | None) -> ProfileId:
    """Return the profile to open a conversation as. Raises NotAllowed."""
    wanted = [profile.id for profile in identity.profiles if as_profile in (None, profile.id)]
    if not wanted:
        raise NotAllowed(RefusalCode.PROFILE_NOT_ALLOWED, "That is none of this account's profiles.")
    return wanted[0]
