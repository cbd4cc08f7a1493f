"""Types about people that REST bodies, stores and rules share: profiles and what they allow."""

import enum
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct


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


Minute: TypeAlias = Annotated[int, Meta(ge=0, le=1_440, description="Minutes since local midnight.")]


class FoundBy(enum.StrEnum):
    """Who may ask a profile into a conversation. To all others it is as if there were no such profile."""

    EVERYONE = "everyone"
    SHARED = "shared"  # whose account is in a conversation with it
    NOBODY = "nobody"


class WorkingHours(Struct, frozen=True, forbid_unknown_fields=True):
    """From and to, in minutes since midnight in the profile's time zone."""

    from_minute: Minute
    to_minute: Minute
    time_zone: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$(?!\n)")] = "Europe/Oslo"


class Policies(Struct, frozen=True, forbid_unknown_fields=True):
    """What the mode allows.

    The relay enforces the receipts, typing and presence rows, the API `found_by`; clients the rest.
    """

    notifications: Notifications = Notifications.ALL
    working_hours: WorkingHours | None = None
    read_receipts: bool = True
    delivery_receipts: bool = True
    typing: bool = True
    presence: bool = True
    require_unlock: bool = False
    found_by: FoundBy = FoundBy.EVERYONE
