"""Typed happenings, told to every node over the bus. A doorbell: losing one may cost time, never a message.

Refuses ciphertext, keys and anything secret; ids only.
"""

from typing import TypeAlias

from msgspec import Struct

from contract.frames import PresenceState
from contract.ids import ConversationId, DeviceId, ProfileId


class MessagesCommitted(Struct, frozen=True, tag="messages-committed"):
    """Numbers up to and with `head` are in the log. `node` is who committed and has served its own listeners."""

    node: str
    conversation: ConversationId
    head: int


class MembershipChanged(Struct, frozen=True, tag="membership-changed"):
    """Somebody joined or left; the roster is at `version`."""

    conversation: ConversationId
    version: int


class DevicesChanged(Struct, frozen=True, tag="devices-changed"):
    """A member's device list moved; the roster is at `version`."""

    conversation: ConversationId
    version: int


class ProfileChanged(Struct, frozen=True, tag="profile-changed"):
    """A profile's policies are different now; rosters that hold it are out of date."""

    profile: ProfileId


class TicketsRevoked(Struct, frozen=True, tag="tickets-revoked"):
    """Cut the device's connection; its tickets issued before `not_before_ms` are void, with `final` all of them."""

    device: DeviceId
    not_before_ms: int
    final: bool


class KeysLow(Struct, frozen=True, tag="keys-low"):
    """A device has `left` one-time keys."""

    device: DeviceId
    left: int


class DeliveredMoved(Struct, frozen=True, tag="delivered-moved"):
    """A device of `profile` confirmed up to `upto`."""

    node: str
    conversation: ConversationId
    profile: ProfileId
    upto: int


class ReadMoved(Struct, frozen=True, tag="read-moved"):
    """`profile` has read up to `upto`."""

    node: str
    conversation: ConversationId
    profile: ProfileId
    upto: int


class TypingMoved(Struct, frozen=True, tag="typing-moved"):
    """Somebody writes, or stopped."""

    node: str
    conversation: ConversationId
    profile: ProfileId
    active: bool


class PresenceMoved(Struct, frozen=True, tag="presence-moved"):
    """A profile shows another state."""

    node: str
    profile: ProfileId
    state: PresenceState


class NodeHere(Struct, frozen=True, tag="node-here"):
    """A relay node is there, and tells the others what it commits.

    `quiet`: until now it did not, because it believed to be alone. Whoever hears that looks for what was committed.
    """

    node: str
    quiet: bool


Event: TypeAlias = (
    MessagesCommitted
    | MembershipChanged
    | DevicesChanged
    | ProfileChanged
    | TicketsRevoked
    | KeysLow
    | DeliveredMoved
    | ReadMoved
    | TypingMoved
    | PresenceMoved
    | NodeHere
)
