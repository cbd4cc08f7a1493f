"""The methods of the interface, but for those of `links`."""

import math
from datetime import datetime
from importlib.metadata import version
from typing import Annotated, Final

import trio
from msgspec import Meta, Struct

import varde
from varde.events import Message, Request
from varde_cli.names import Names, as_uuid, check_name, find_conversation, find_profile, load_members, open_conversation
from varde_cli.rpc import links  # noqa: F401 - it registers its methods
from varde_cli.rpc.table import REGISTERED, Method, Nothing, Params, method
from varde_cli.run import Failure
from varde_contract.bodies import LONGEST_TIMER_S, MessageRef
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.limits import SEQ_MAX
from varde_contract.talk import ConversationKind, Role

MOST_MESSAGES: Final = 1_000
UNREAD_MOST: Final = 100
"""More are not counted."""


class Version(Struct, frozen=True):
    """The program that owns the home."""

    version: str


@method("version")
async def _version(_: varde.Client, params: Nothing) -> Version:  # noqa: ARG001 - every method takes its params
    """Which version of varde answers."""
    return Version(version("varde"))


class OwnProfile(Struct, frozen=True):
    """One of the account's profiles."""

    profile: ProfileId
    mode: str


class WhoAmI(Struct, frozen=True):
    """The account and device that the home is of."""

    account: str
    device: DeviceId
    profiles: tuple[OwnProfile, ...]
    connected: bool


@method("whoami")
async def whoami(client: varde.Client, params: Nothing) -> WhoAmI:  # noqa: ARG001
    """Who the home belongs to, and whether it is connected."""
    mine = client.identity
    profiles = tuple(OwnProfile(each.id, each.type) for each in mine.profiles)
    return WhoAmI(str(mine.account), mine.device, profiles, client.connected)


class Chat(Struct, frozen=True, kw_only=True):
    """One conversation of the list. `last` and `time` are of its newest message; at most 100 unread are counted."""

    id: ConversationId
    name: str
    kind: ConversationKind
    unread: int = 0
    last: str = ""
    time: datetime | None = None


@method("conversations")
async def conversations(client: varde.Client, params: Nothing) -> tuple[Chat, ...]:  # noqa: ARG001
    """The conversations, with names, unread messages and the last one."""
    names = Names(client)
    return tuple([await _chat(names, each) for each in await client.conversations()])


async def _chat(names: Names, conversation: varde.Conversation) -> Chat:
    await load_members(conversation)
    newest = conversation.history(UNREAD_MOST)
    others = ", ".join(names.of(each.profile) for each in conversation.members if not names.is_mine(each.profile))
    own = "notes to yourself" if conversation.kind is ConversationKind.SELF else "nobody but you"
    return Chat(
        id=conversation.id,
        name=others or own,
        kind=conversation.kind,
        unread=sum(not each.mine and each.seq > conversation.read_upto for each in newest),
        last=newest[-1].text if newest else "",
        time=newest[-1].written if newest else None,
    )


def _known(client: varde.Client, text: str) -> varde.Conversation | None:
    """A conversation that this device knows, by its whole id: a chat says that in every call, and asks no server."""
    found = as_uuid(text)
    if found is None:
        return None
    conversation = client.conversation(ConversationId(found))
    try:
        _ = conversation.roster
    except varde.NotEnrolled:
        return None
    return conversation


async def _find(client: varde.Client, text: str) -> varde.Conversation:
    return _known(client, text) or await find_conversation(client, text)


class Open(Params):
    """`to` names a person or a conversation, as in `varde chat`; `as_profile` one of the own modes."""

    to: str
    as_profile: str | None = None


@method("open")
async def _open(client: varde.Client, params: Open) -> ConversationId:
    """Open the conversation with somebody, or find the one that is named."""
    return (await open_conversation(client, Names(client), params.to, params.as_profile)).id


class History(Params):
    """The newest messages of a conversation, or those before number `before`, or those of a thread."""

    conversation: str
    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_MESSAGES)] = 50
    thread: MessageRef | None = None


@method("history")
async def _history(client: varde.Client, params: History) -> tuple[Message, ...]:
    """Messages of a conversation in their order, as they stand now; of a thread its first message, too."""
    conversation = await _find(client, params.conversation)
    if params.thread is not None:
        root = conversation.message(params.thread)
        return (*(() if root is None else (root,)), *conversation.thread(params.thread))
    return tuple(conversation.history(params.limit, before=params.before))


class Send(Params):
    """`timeout` is in seconds; without one it takes as long as it takes."""

    to: str
    text: str
    reply: MessageRef | None = None
    thread: MessageRef | None = None
    as_profile: str | None = None
    timeout: Annotated[float, Meta(ge=0, le=86_400)] | None = None


class Sending(Struct, frozen=True):
    """`sent` is None while the message waits on this device, which sends it later. `waits_for` says for what."""

    conversation: ConversationId
    sent: varde.Sent | None
    waits_for: str | None


_UNANSWERED = 2.0  # seconds for the text to be stored, and for an answer that is just coming


def what_it_waits_for(client: varde.Client, conversation: varde.Conversation) -> str:
    """Say why a message of this conversation is not stored yet."""
    if conversation.waiting:
        return "the other to accept"
    return "the server to store it" if client.connected else "a connection to the server"


@method("send")
async def send(client: varde.Client, params: Send) -> Sending:
    """Send a text, and wait until the server has stored it, or the time is up."""
    if not params.text.strip():
        raise Failure("there is nothing to send")
    conversation = _known(client, params.to) if params.as_profile is None else None
    if conversation is None:
        conversation = await open_conversation(client, Names(client), params.to, params.as_profile)
    limit = math.inf if params.timeout is None else params.timeout
    await load_members(conversation)  # with that known, it is queued at once and stays so, however long it waits
    sent = None
    with trio.move_on_after(min(limit, _UNANSWERED) if conversation.waiting else limit):
        sent = await conversation.send(params.text, reply_to=params.reply, thread=params.thread)
    if sent is not None:
        return Sending(conversation.id, sent, None)
    return Sending(conversation.id, None, what_it_waits_for(client, conversation))


class React(Params):
    """`message` is its device and client id."""

    conversation: str
    message: MessageRef
    emoji: str
    on: bool = True


@method("react")
async def _react(client: varde.Client, params: React) -> varde.Sent:
    """Put an emoji on a message, or take it away."""
    conversation = await _find(client, params.conversation)
    try:
        return await conversation.react(params.message, params.emoji, on=params.on)
    except ValueError:
        raise Failure(f"'{params.emoji}' is no emoji") from None


class Edit(Params):
    """`message` is its device and client id."""

    conversation: str
    message: MessageRef
    text: str


@method("edit")
async def _edit(client: varde.Client, params: Edit) -> varde.Sent:
    """Change the text of an own message."""
    return await (await _find(client, params.conversation)).edit(params.message, params.text)


class Delete(Params):
    """`message` is its device and client id."""

    conversation: str
    message: MessageRef


@method("delete")
async def _delete(client: varde.Client, params: Delete) -> varde.Sent:
    """Take an own message back, for everybody."""
    return await (await _find(client, params.conversation)).delete(params.message)


class SetTimer(Params):
    """`seconds` after reading messages are deleted; 0: never."""

    conversation: str
    seconds: Annotated[int, Meta(ge=0, le=LONGEST_TIMER_S)]


@method("set_timer")
async def _set_timer(client: varde.Client, params: SetTimer) -> varde.Sent:
    """Let messages of a conversation be deleted some time after they were read."""
    return await (await _find(client, params.conversation)).set_timer(params.seconds)


class MarkRead(Params):
    """Every message up to and with number `upto`."""

    conversation: str
    upto: Annotated[int, Meta(ge=0, le=SEQ_MAX)]


@method("mark_read")
async def _mark_read(client: varde.Client, params: MarkRead) -> None:
    """Mark messages as read, and tell the others so."""
    await (await _find(client, params.conversation)).read(params.upto)


class Typing(Params):
    """Whether somebody types."""

    conversation: str
    active: bool


@method("typing")
async def _typing(client: varde.Client, params: Typing) -> None:
    """Show the others that somebody types here, or has stopped."""
    (await _find(client, params.conversation)).typing(params.active)


class Of(Params):
    """Of this conversation."""

    conversation: str


class Member(Struct, frozen=True, kw_only=True):
    """Somebody in a conversation, and how far they have received and read it."""

    profile: ProfileId
    name: str
    role: Role = Role.MEMBER
    delivered: int = 0
    read: int = 0


@method("members")
async def members(client: varde.Client, params: Of) -> tuple[Member, ...]:
    """Who is in a conversation."""
    found = await load_members(await _find(client, params.conversation), fresh=True)
    names, receipts = Names(client), found.receipts
    return tuple(
        Member(
            profile=each.profile,
            name=names.of(each.profile),
            role=each.role,
            delivered=receipts.get(each.profile, (0, 0))[0],
            read=receipts.get(each.profile, (0, 0))[1],
        )
        for each in found.members
    )


@method("requests")
async def _requests(client: varde.Client, params: Nothing) -> tuple[Request, ...]:  # noqa: ARG001
    """Who wants to write, and waits for an answer."""
    return await client.requests()


@method("accept")
async def _accept(client: varde.Client, params: Of) -> None:
    """Accept a request."""
    await (await _find(client, params.conversation)).accept()


@method("decline")
async def _decline(client: varde.Client, params: Of) -> None:
    """Decline a request."""
    await (await _find(client, params.conversation)).decline()


class Create(Params):
    """`people` are named as everywhere."""

    people: tuple[str, ...]
    as_profile: str | None = None


@method("group.create")
async def _create(client: varde.Client, params: Create) -> ConversationId:
    """Make a group, and invite people into it."""
    people = [await find_profile(client, each) for each in params.people]
    return (await client.open_group(people, as_profile=Names(client).own_profile(params.as_profile))).id


class Someone(Params):
    """A group, and a person."""

    group: str
    who: str


@method("group.add")
async def _add(client: varde.Client, params: Someone) -> None:
    """Invite somebody into a group."""
    await (await _find(client, params.group)).invite(await find_profile(client, params.who))


@method("group.remove")
async def _remove(client: varde.Client, params: Someone) -> None:
    """Remove somebody from a group."""
    await (await _find(client, params.group)).remove(await find_profile(client, params.who))


@method("contacts")
async def contacts(client: varde.Client, params: Nothing) -> dict[str, ProfileId]:  # noqa: ARG001
    """The names that this device has for people."""
    return dict(sorted(client.contacts.all().items()))


class Named(Params):
    """A name, and whom it stands for."""

    name: str
    who: str


@method("contacts.add")
async def _add_contact(client: varde.Client, params: Named) -> None:
    """Let a name stand for somebody on this device."""
    client.contacts.add(check_name(params.name), await find_profile(client, params.who))


class Search(Params):
    """`words` as in `varde search`; with `conversation` only there."""

    words: str
    conversation: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


@method("search")
async def _search(client: varde.Client, params: Search) -> tuple[varde.Found, ...]:
    """Messages on this device with all the words in them, the newest first."""
    where = None if params.conversation is None else (await _find(client, params.conversation)).id
    return tuple(await client.search(params.words, conversation=where, limit=params.limit))


@method("reconnect")
async def _reconnect(client: varde.Client, params: Nothing) -> None:  # noqa: ARG001
    """Try to connect now, and do not wait for the next try."""
    client.reconnect()


METHODS: Final[dict[str, Method]] = {**REGISTERED}
"""All of them, those of `links` included."""
