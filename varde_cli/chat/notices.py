"""What a chat says of events that are no messages: one sentence each, and whether it is an alarm."""

from collections.abc import Callable
from typing import Final, TypeAlias

from varde.events import (
    Break,
    Change,
    ContactShared,
    ForkedLog,
    Gap,
    HistoryLost,
    LinkUsed,
    MembershipChange,
    NotJoined,
    OwnListChanged,
    RequestsChanged,
    RootKeyChange,
    RosterChange,
    TimerChanged,
    TranscriptBroken,
    Undecryptable,
    Unknown,
    Unsent,
    Withheld,
)
from varde_cli.chat.remote import Event
from varde_cli.output import format_time
from varde_contract.ids import ProfileId

Name: TypeAlias = Callable[[ProfileId], str]

_BREAKS: Final = {
    Break.DROPPED: "the server left out messages before number {seq}, and did not say so",
    Break.REORDERED: "message {seq} was written before others that came earlier",
    Break.FORKED: "message {seq} follows other messages than those shown here: the server shows two histories",
    Break.OLD_LISTS: "who wrote message {seq} does not know of a device that came or is gone: a lost one may read it",
    Break.OTHER_LISTS: "who wrote message {seq} was shown other devices of the members than are shown here",
    Break.RESTORED: "the device that wrote message {seq} was restored from a backup",
}

_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))

ANYWHERE: Final = (ForkedLog, RequestsChanged, NotJoined, OwnListChanged, RootKeyChange)
"""They concern no one conversation: they are said in whichever is open."""
CHANGES_LIST: Final = (LinkUsed, MembershipChange, RosterChange)
"""Names of people or conversations may be others after them."""


def notice(event: Event, name: Name) -> tuple[str, bool] | None:  # noqa: C901, PLR0912 - one row for each kind
    """Return the sentence, and True where it is an alarm; None for what is shown in another way, or not at all."""
    match event:
        case ForkedLog(why=why):
            return f"WARNING, transparency log: {why}", True
        case RequestsChanged():
            return "somebody wants to write to you: `varde requests` says who", False
        case LinkUsed(profile=profile):
            return f"{name(profile)} came by a link of yours", False
        case ContactShared(profile=profile, name=called):
            return f"{name(profile)} passed on a contact, {called}: `varde contacts cards` says how to keep it", False
        case NotJoined(conversation=conversation, detail=detail):
            where = "other conversations" if conversation is None else "a conversation"
            return f"the relay does not bring what comes in {where}: {detail}", True
        case OwnListChanged():
            return "your devices changed: was it you? `varde devices` lists them", True
        case RootKeyChange(effective=effective):
            when = "now" if effective is None else f"at {format_time(effective)}"
            return f"somebody replaces their recovery phrase {when}: compare safety numbers", True
        case Gap(from_seq=first, to_seq=last, why=why):
            return f"messages {first} to {last} cannot be had here: {why.value}", False
        case Undecryptable(reason=reason):
            return f"a message came that cannot be opened here: {reason.value}", True
        case Unknown(profile=profile):
            return f"{name(profile)} sent something that this version cannot show yet", False
        case TranscriptBroken(seq=seq, why=why):
            return _BREAKS[why].format(seq=seq), True
        case HistoryLost(from_seq=first, to_seq=last):
            return (
                f"the server has lost numbers {first} to {last}; what this device sent of them goes out again",
                True,
            )
        case Unsent(text=text):
            return f"this was not sent: {text}", True
        case TimerChanged(profile=profile, timer=0):
            return f"{name(profile)} lets messages stay", False
        case TimerChanged(profile=profile, timer=seconds):
            return f"{name(profile)} lets messages be deleted {_duration(seconds)} after they are read", False
        case MembershipChange():
            return _change(event, name), False
        case Withheld(profiles=profiles):
            names = ", ".join(map(name, profiles)) or "a device of a member"
            return f"the server keeps what is said here from {names}", True
        case RosterChange(joined=(), devices_added=added) if added:
            return "somebody has a new device", False
    return None


def _duration(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _change(change: MembershipChange, name: Name) -> str:
    role = change.role.value if change.role is not None else ""
    whom = name(change.profile)
    says = {
        Change.CREATED: "began this",
        Change.INVITED: f"invited {whom}",
        Change.ACCEPTED: "joined",
        Change.DECLINED: "declined",
        Change.REMOVED: f"removed {whom}",
        Change.LEFT: "left",
        Change.ROLE: f"made {whom} {role}",
        Change.LINK: "made a link to join by",
        Change.POLICY: "changed the rules",
    }[change.change]
    return f"{name(change.by)} {says}"
