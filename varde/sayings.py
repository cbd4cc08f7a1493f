"""What a person says, as it travels and as an application sees it: bodies of envelopes, and events."""

from datetime import datetime
from typing import TypeAlias, TypedDict

from varde.events import ContactShared, Deleted, Edited, Message, Reaction, TimerChanged
from varde_contract.bodies import Contact, Delete, Edit, React, Saying, SetTimer, Text
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, ProfileId

SaidEvent: TypeAlias = Message | Reaction | Edited | Deleted | TimerChanged | ContactShared


class Origin(TypedDict):
    """Who said it, where and when: the fields of `varde.events.Said`."""

    conversation: ConversationId
    seq: int
    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    account: AccountId
    written: datetime
    received: datetime
    mine: bool


def event_of(saying: Saying, origin: Origin) -> SaidEvent:
    """Return the event of a saying."""
    match saying:
        case Text(text, mentions, reply_to, thread, timer):
            return Message(**origin, text=text, mentions=mentions, reply_to=reply_to, thread=thread, timer=timer)
        case React(target, emoji, on):
            return Reaction(**origin, target=target, emoji=emoji, on=on)
        case Edit(target, text, mentions):
            return Edited(**origin, target=target, text=text, mentions=mentions)
        case Delete(target):
            return Deleted(**origin, target=target)
        case SetTimer(timer):
            return TimerChanged(**origin, timer=timer)
        case Contact(contact, name, account, root_hash):
            return ContactShared(**origin, contact=contact, name=name, contact_account=account, root_hash=root_hash)


def saying_of(event: SaidEvent) -> Saying:
    """Return what was said: to say it again, where the server has lost it."""
    match event:
        case Message():
            return Text(event.text, event.mentions, event.reply_to, event.thread, event.timer)
        case Reaction():
            return React(event.target, event.emoji, event.on)
        case Edited():
            return Edit(event.target, event.text, event.mentions)
        case Deleted():
            return Delete(event.target)
        case TimerChanged():
            return SetTimer(event.timer)
        case ContactShared():
            return Contact(event.contact, event.name, event.contact_account, event.root_hash)


def text_of(saying: Saying) -> str:
    """Return the words of it; nothing for what has none."""
    return saying.text if isinstance(saying, Text | Edit) else ""
