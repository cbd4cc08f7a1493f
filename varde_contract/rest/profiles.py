"""Profiles, the modes of an account."""

from msgspec import Struct

from varde_contract.ids import ProfileId
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.rest.fields import Instant


class NewProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """Make a profile."""

    type: ProfileType
    theme: Theme = Theme.SYSTEM
    policies: Policies = Policies()


class ProfileUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """Replace what can change of a profile."""

    theme: Theme
    policies: Policies


class ProfileView(Struct, frozen=True):
    """One profile, as its owner sees it. Its id is the address others write to."""

    profile: ProfileId
    type: ProfileType
    theme: Theme
    policies: Policies
    created_at: Instant


class Profiles(Struct, frozen=True):
    """The profiles of an account."""

    profiles: tuple[ProfileView, ...]
