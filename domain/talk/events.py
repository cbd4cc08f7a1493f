"""Events about conversations on the bus. They hold ids only, nothing secret."""

from msgspec import Struct

from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import PresenceState


class MessagesCommitted(Struct, frozen=True, tag="messages-committed"):
    """Numbers up to and with `head` are in the log. `node` is who committed and has served its own listeners."""

    node: str
    conversation: ConversationId
    head: int


class MembershipChanged(Struct, frozen=True, tag="membership-changed"):
    """Somebody joined or left; the roster is at `version`."""

    conversation: ConversationId
    version: int


class Invited(Struct, frozen=True, tag="invited"):
    """A profile that `device` receives for is asked to be a member of something."""

    device: DeviceId


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
