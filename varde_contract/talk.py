"""Types about conversations that frames, REST bodies, stores and rules share."""

import enum


class ConversationKind(enum.StrEnum):
    """What a conversation is."""

    DM = "dm"
    GROUP = "group"
    SELF = "self"


class Role(enum.StrEnum):
    """What a member may do: an owner everything, an admin add and remove members, a member write."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class PresenceState(enum.StrEnum):
    """What a profile shows of itself. Never stored."""

    ACTIVE = "active"
    AWAY = "away"
    OFFLINE = "offline"


class GapReason(enum.StrEnum):
    """Why numbers of a conversation cannot be had by this device."""

    OWN = "own"  # this device sent them itself
    BEFORE_YOU = "before-you"  # they are older than the membership or the device
    DELIVERED = "delivered"  # this device confirmed them, so the ciphertext was deleted
    EXPIRED = "expired"  # the retention time passed before this device fetched them
    NOT_FOR_YOU = "not-for-you"  # they were parts, for other devices than this one; believe only what the sender says
