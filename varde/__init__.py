"""Varde for Python: end-to-end encrypted messaging, on Trio. Everything an application needs is named here.

await varde.request_code(api_url, email)
done = await varde.sign_up(home, unlock, api_url=api_url, email=email, code=code)
async with varde.connect(home, unlock) as client:
conversation = await client.open_dm(profile)
await conversation.send("hei")
async for message in conversation: ...
"""

from varde.client import Client
from varde.conversation import Conversation
from varde.enrolment import log_in, request_code, sign_up
from varde.errors import (
    AlreadyEnrolled,
    Busy,
    CodeRefused,
    ConnectionRefused,
    DeviceRevoked,
    Ended,
    NotAllowed,
    NotEnrolled,
    NotFound,
    Refusal,
    Replaced,
    RootKeyChanged,
    SignedOut,
    StoreDamaged,
    StoreInUse,
    TooLarge,
    Unreachable,
    UntrustedDevice,
    VardeError,
    WrongAccount,
    WrongKey,
    WrongPhrase,
)
from varde.events import (
    Connected,
    Disconnected,
    Event,
    Gap,
    Message,
    Outgoing,
    Presence,
    Reason,
    Receipt,
    RosterChange,
    Sent,
    Typing,
    Undecryptable,
    Unsent,
)
from varde.identity import Enrolled, Identity, Profile
from varde.reauthentication import StoredDevice, find_device, sign_in_again
from varde.store import KeyFile, Passphrase, Unlock
from varde.tasks import connect
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, MessageId, ProfileId, SessionId
from varde_contract.people import ProfileType
from varde_contract.talk import ConversationKind, GapReason, PresenceState, Role

__all__ = [
    "AccountId",
    "AlreadyEnrolled",
    "Busy",
    "Client",
    "ClientId",
    "CodeRefused",
    "Connected",
    "ConnectionRefused",
    "Conversation",
    "ConversationId",
    "ConversationKind",
    "DeviceId",
    "DeviceRevoked",
    "Disconnected",
    "Ended",
    "Enrolled",
    "Event",
    "Gap",
    "GapReason",
    "Identity",
    "KeyFile",
    "Message",
    "MessageId",
    "NotAllowed",
    "NotEnrolled",
    "NotFound",
    "Outgoing",
    "Passphrase",
    "Presence",
    "PresenceState",
    "Profile",
    "ProfileId",
    "ProfileType",
    "Reason",
    "Receipt",
    "Refusal",
    "Replaced",
    "Role",
    "RootKeyChanged",
    "RosterChange",
    "Sent",
    "SessionId",
    "SignedOut",
    "StoreDamaged",
    "StoreInUse",
    "StoredDevice",
    "TooLarge",
    "Typing",
    "Undecryptable",
    "Unlock",
    "Unreachable",
    "Unsent",
    "UntrustedDevice",
    "VardeError",
    "WrongAccount",
    "WrongKey",
    "WrongPhrase",
    "connect",
    "find_device",
    "log_in",
    "request_code",
    "sign_in_again",
    "sign_up",
]
