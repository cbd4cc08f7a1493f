"""Profiles, the modes of an account."""

import enum
from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.ids import ProfileId
from varde_contract.rest.fields import Instant


class ProfileType(enum.StrEnum):
    """The papers' two modes."""

    PRIVAT = "PRIVAT"
    JOBB = "JOBB"


class Theme(enum.StrEnum):
    """How a client colours the mode."""

    DARK = "dark"
    LIGHT = "light"
    SYSTEM = "system"


class Notifications(enum.StrEnum):
    """When a client may notify."""

    ALL = "all"
    MENTIONS = "mentions"
    WORKING_HOURS = "working-hours"
    NONE = "none"


Minute = Annotated[int, Meta(ge=0, le=1_440, description="Minutes since local midnight.")]


class WorkingHours(Struct, frozen=True, forbid_unknown_fields=True):
    """From and to, in minutes since midnight in the profile's time zone."""

    from_minute: Minute
    to_minute: Minute
    time_zone: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$(?!\n)")] = "Europe/Oslo"


class Policies(Struct, frozen=True, forbid_unknown_fields=True):
    """What the mode allows. The relay enforces the receipts, typing and presence rows; clients the rest."""

    notifications: Notifications = Notifications.ALL
    working_hours: WorkingHours | None = None
    read_receipts: bool = True
    delivery_receipts: bool = True
    typing: bool = True
    presence: bool = True
    require_unlock: bool = False


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
