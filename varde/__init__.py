"""Varde for Python: end-to-end encrypted messaging, on Trio. Everything an application needs is named here.

    await varde.request_code(api_url, email)
    done = await varde.sign_up(home, unlock, api_url=api_url, email=email, code=code)
    async with varde.connect(home, unlock) as client:
        conversation = await client.open_dm(profile)
        await conversation.send("hei")
        async for message in conversation:
            ...

It is the SDK and nothing else: no server code, no terminal, and of the repository it imports the contract only.
"""

from varde.client import Client
from varde.conversation import Conversation
from varde.crypto.device_lists import Learned
from varde.crypto.root_key import check_phrase
from varde.enrolment import complete_device, forget_phrase, log_in, request_code, request_device, sign_up
from varde.errors import (
    AlreadyEnrolled,
    Busy,
    CodeNeeded,
    CodeRefused,
    ConnectionRefused,
    DeviceRevoked,
    Ended,
    ListRollback,
    LogForked,
    NotAccepted,
    NotAllowed,
    NotEnrolled,
    NotFound,
    NotListed,
    Refusal,
    Replaced,
    RootKeyChanged,
    SignedOut,
    StoreDamaged,
    StoreFailed,
    StoreInUse,
    TooLarge,
    UnprovenList,
    Unreachable,
    UntrustedDevice,
    UnusableCode,
    UpdateNeeded,
    VardeError,
    WrongAccount,
    WrongKey,
    WrongPhrase,
    WrongWord,
)
from varde.event_stream import EventIterator
from varde.events import (
    Change,
    Connected,
    Disconnected,
    Event,
    ForkedLog,
    Gap,
    HistoryLost,
    LinkUsed,
    MembershipChange,
    Message,
    NotJoined,
    Outgoing,
    OwnListChanged,
    Presence,
    Reason,
    Receipt,
    Request,
    RequestsChanged,
    RootKeyChange,
    RosterChange,
    Sent,
    TranscriptBroken,
    Typing,
    Undecryptable,
    Unknown,
    Unsent,
    Withheld,
)
from varde.identity import Enrolled, Identity, Profile
from varde.links import LinkInfo
from varde.own_list import OwnList, RootKeyAnnouncement
from varde.reauthentication import StoredDevice, find_device, sign_in_again
from varde.store import Argon2Cost, Contacts, KeyFile, Passphrase, Unlock
from varde.tasks import connect
from varde.transparency import LoggedDeviceList
from varde_contract.close_codes import CloseCode
from varde_contract.device_list import DeviceList, ListedDevice
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, MessageId, ProfileId, SessionId
from varde_contract.links import GroupLink, PersonLink
from varde_contract.people import FoundBy, ProfileType
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import CodeSent, DeviceView, SessionView
from varde_contract.rest.talk import ConversationView, MemberView
from varde_contract.talk import ConversationKind, GapReason, PresenceState, Role

__all__ = [
    "AccountId",
    "AlreadyEnrolled",
    "Argon2Cost",
    "Busy",
    "Change",
    "Client",
    "ClientId",
    "CloseCode",
    "CodeNeeded",
    "CodeRefused",
    "CodeSent",
    "Connected",
    "ConnectionRefused",
    "Contacts",
    "Conversation",
    "ConversationId",
    "ConversationKind",
    "ConversationView",
    "DeviceId",
    "DeviceList",
    "DeviceRevoked",
    "DeviceView",
    "Disconnected",
    "Ended",
    "Enrolled",
    "Event",
    "EventIterator",
    "ForkedLog",
    "FoundBy",
    "Gap",
    "GapReason",
    "GroupLink",
    "HistoryLost",
    "Identity",
    "KeyFile",
    "Learned",
    "LinkInfo",
    "LinkUsed",
    "ListRollback",
    "ListedDevice",
    "LogForked",
    "LoggedDeviceList",
    "MemberView",
    "MembershipChange",
    "Message",
    "MessageId",
    "NotAccepted",
    "NotAllowed",
    "NotEnrolled",
    "NotFound",
    "NotJoined",
    "NotListed",
    "Outgoing",
    "OwnList",
    "OwnListChanged",
    "Passphrase",
    "PersonLink",
    "Presence",
    "PresenceState",
    "Profile",
    "ProfileId",
    "ProfileType",
    "Reason",
    "Receipt",
    "Refusal",
    "RefusalCode",
    "Replaced",
    "Request",
    "RequestsChanged",
    "Role",
    "RootKeyAnnouncement",
    "RootKeyChange",
    "RootKeyChanged",
    "RosterChange",
    "Sent",
    "SessionId",
    "SessionView",
    "SignedOut",
    "StaleDevices",
    "StoreDamaged",
    "StoreFailed",
    "StoreInUse",
    "StoredDevice",
    "TooLarge",
    "TranscriptBroken",
    "Typing",
    "Undecryptable",
    "Unknown",
    "Unlock",
    "UnprovenList",
    "Unreachable",
    "Unsent",
    "UntrustedDevice",
    "UnusableCode",
    "UpdateNeeded",
    "VardeError",
    "Withheld",
    "WrongAccount",
    "WrongKey",
    "WrongPhrase",
    "WrongWord",
    "check_phrase",
    "complete_device",
    "connect",
    "find_device",
    "forget_phrase",
    "log_in",
    "request_code",
    "request_device",
    "sign_in_again",
    "sign_up",
]
