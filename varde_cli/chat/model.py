"""What the full-screen chat shows, as one value, and how it changes. Nothing here waits, draws or asks anybody."""

import enum
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec.structs import replace as changed

from varde.events import Connected, Disconnected, Receipt, Typing
from varde_cli.chat.remote import Chat, Event, Hit, Member, Message, Ref
from varde_contract.ids import ConversationId, ProfileId

LOADED: Final = 4_000
"""Messages of one conversation that are kept in memory while nobody looks at old ones. More are loaded again."""
TYPING_S: Final = 15.0
"""How long somebody is shown as typing without being told so again."""
_SHORT: Final = 6


class Mode(enum.Enum):
    """Who gets the keys."""

    PICK = "pick"  # the list of conversations; what is typed filters it
    WRITE = "write"  # the input
    SELECT = "select"  # a message is selected, keys act on it
    REACT = "react"  # the input takes an emoji for it
    SEARCH = "search"  # the input takes words
    RESULTS = "results"  # one of what was found is selected


@dataclass(frozen=True, slots=True)
class Entry:
    """A message, one that waits to be sent, or a notice of the program between them.

    `order` places it: the number of the message, or of the one before it, and the order of coming there.
    """

    key: str
    order: tuple[float, int]
    message: Message | None = None
    text: str = ""
    event: Event | None = None
    waiting: bool = False
    reply_to: Ref | None = None
    thread: Ref | None = None

    @property
    def root(self) -> Ref | None:
        """The root of the thread that it is in."""
        return self.thread if self.message is None else self.message.thread


@dataclass(frozen=True, slots=True)
class Talk:
    """What is known of one conversation's messages. `whole` once there is nothing older to load."""

    entries: tuple[Entry, ...] = ()
    whole: bool = False
    detached: bool = False
    """Whether there are newer ones that are not loaded: somebody has gone to an old message."""
    unread_from: int | None = None
    """The number of the first message that was unread when it was opened."""
    positions: Mapping[ProfileId, tuple[int, int]] = field(default_factory=dict)
    """How far each of the others has received and read, as far as that was ever told."""
    others: frozenset[ProfileId] = frozenset()
    """Who else is in it."""
    typing: Mapping[ProfileId, float] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Those of the server, in their order."""
        return tuple(each.message for each in self.entries if each.message is not None)

    def find(self, key: str | None) -> Entry | None:
        """Return an entry by its key."""
        return next((each for each in self.entries if each.key == key), None)


@dataclass(frozen=True, slots=True)
class Link:
    """The connection, None until it is known; why there is none, and when the next try is, on the caller's clock."""

    up: bool | None = None
    why: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All of it."""

    mode: Mode = Mode.PICK
    chats: tuple[Chat, ...] = ()
    filter: str = ""
    picked: int = 0
    open: ConversationId | None = None
    talks: Mapping[ConversationId, Talk] = field(default_factory=dict)
    names: Mapping[ProfileId, str] = field(default_factory=dict)
    mine: frozenset[ProfileId] = frozenset()
    selected: str | None = None
    anchor: tuple[str, int] | None = None
    """The row at the bottom of the messages: of which entry, and which of its rows. None: whatever comes last."""
    thread: Ref | None = None
    reply_to: Ref | None = None
    editing: Ref | None = None
    hits: tuple[Hit, ...] = ()
    told: str = ""
    """One sentence about the last thing that was done, in the status line."""
    link: Link = field(default_factory=Link)
    counter: int = 0

    @property
    def talk(self) -> Talk:
        """What is open."""
        return self.talks.get(self.open, Talk()) if self.open is not None else Talk()

    @property
    def chat(self) -> Chat | None:
        """The open conversation as the list has it."""
        return next((each for each in self.chats if each.id == self.open), None)

    @property
    def shown(self) -> tuple[Entry, ...]:
        """The entries of the open conversation, or of the open thread."""
        if self.thread is None:
            return self.talk.entries
        root = key_of(self.thread)
        return tuple(each for each in self.talk.entries if each.key == root or each.root == self.thread)

    @property
    def listed(self) -> tuple[Chat, ...]:
        """The conversations that the filter leaves."""
        words = self.filter.casefold().split()
        return tuple(each for each in self.chats if all(word in each.name.casefold() for word in words))

    @property
    def selection(self) -> Message | None:
        """The selected message."""
        entry = self.talk.find(self.selected)
        return None if entry is None else entry.message

    def name(self, profile: ProfileId) -> str:
        """What somebody is called here."""
        if profile in self.mine:
            return "you"
        return self.names.get(profile) or f"…{str(profile)[-_SHORT:]}"


def key_of(ref: Ref) -> str:
    """Return the key of a message's entry."""
    return "{}{}".format(*ref)


# What others do.


def list_chats(state: State, chats: Iterable[Chat]) -> State:
    """Take the list of conversations, the one with the last message first. What is picked stays picked."""
    before = picked(state)
    state = replace(state, chats=tuple(sorted(chats, key=_age, reverse=True)))
    return _pick(state, before)


def _age(chat: Chat) -> float:
    return chat.time.timestamp() if chat.time is not None else 0.0


def add_messages(state: State, conversation: ConversationId, messages: Iterable[Message]) -> State:
    """Put messages where their numbers say, each in the place of what was known of it."""
    talk = state.talks.get(conversation, Talk())
    new = {key_of(each.ref): each for each in messages}
    entries = [each for each in talk.entries if each.key not in new]
    for key, message in new.items():
        insort(entries, Entry(key, (message.seq, 0), message), key=_order)
    if state.selected is None and len(entries) > LOADED:
        entries, talk = entries[-LOADED:], replace(talk, whole=False)
    return _with_talk(state, conversation, replace(talk, entries=tuple(entries)))


def show_newest(state: State, conversation: ConversationId, messages: Iterable[Message], *, whole: bool) -> State:
    """Take the last messages; `whole` where there are no others. Older ones that are known stay, if they are next."""
    talk = state.talks.get(conversation, Talk())
    newest = tuple(messages)
    last = talk.messages[-1].seq if talk.messages else 0
    if talk.detached or (newest and newest[0].seq > last + 1):
        # There may be others between: these would be missing, and nobody would see that.
        rest = tuple(each for each in talk.entries if each.message is None)
        talk = replace(talk, entries=rest, detached=False, whole=False)
    talk = replace(talk, whole=talk.whole or whole)
    return add_messages(_with_talk(state, conversation, talk), conversation, newest)


def replace_messages(state: State, conversation: ConversationId, messages: Iterable[Message]) -> State:
    """Show messages of long ago instead of the last ones."""
    talk = replace(state.talks.get(conversation, Talk()), entries=(), whole=False, detached=True)
    return add_messages(_with_talk(state, conversation, talk), conversation, messages)


def set_extent(state: State, conversation: ConversationId, **extent: bool) -> State:
    """Note whether what is loaded is `whole`, with nothing older, or `detached`, with something newer."""
    return _with_talk(state, conversation, replace(state.talks.get(conversation, Talk()), **extent))  # type: ignore[arg-type]


def _order(entry: Entry) -> tuple[float, int]:
    return entry.order


def take_message(state: State, message: Message) -> State:
    """Somebody wrote: into its conversation, and to the top of the list."""
    conversation = message.conversation
    seen = message.mine or (state.open == conversation and state.mode is not Mode.PICK)
    chats = [
        changed(each, last=message.text, time=message.written, unread=0 if seen else each.unread + 1)
        if each.id == conversation
        else each
        for each in state.chats
    ]
    talk = state.talks.get(conversation)
    if talk is not None and not talk.detached:
        state = add_messages(state, conversation, (message,))
        state = _stop_typing(state, conversation, message.profile)
    return list_chats(state, chats)


def add_notice(state: State, conversation: ConversationId, said: str | Event) -> State:
    """Say something between the messages, after those that are there now."""
    talk = state.talks.get(conversation, Talk())
    last = max((each.message.seq for each in talk.entries if each.message is not None), default=0)
    number = state.counter + 1
    # An event is put into words when it is drawn: the names in it may be learned later.
    text, event = (said, None) if isinstance(said, str) else ("", said)
    entries = sorted((*talk.entries, Entry(f"notice-{number}", (last, number), text=text, event=event)), key=_order)
    return _with_talk(replace(state, counter=number), conversation, replace(talk, entries=tuple(entries)))


def take_receipt(state: State, receipt: Receipt) -> State:
    """Somebody has received or read what is there up to a number."""
    talk = state.talks.get(receipt.conversation)
    if talk is None or receipt.profile in state.mine:
        return state
    got, read = talk.positions.get(receipt.profile, (0, 0))
    now = (got, max(read, receipt.upto)) if receipt.read else (max(got, receipt.upto), read)
    return _with_talk(state, receipt.conversation, replace(talk, positions={**talk.positions, receipt.profile: now}))


def take_members(state: State, conversation: ConversationId, members: Iterable[Member]) -> State:
    """Take who is in a conversation: their names, and how far each of the others has received and read it."""
    found = tuple(members)
    names = {**state.names, **{each.profile: each.name for each in found}}
    talk = state.talks.get(conversation, Talk())
    others = [each for each in found if each.profile not in state.mine]
    positions = dict(talk.positions)
    for each in others:
        # What was told meanwhile may be newer than what was asked for.
        got, read = positions.get(each.profile, (0, 0))
        positions[each.profile] = (max(got, each.delivered), max(read, each.read))
    talk = replace(talk, positions=positions, others=frozenset(each.profile for each in others))
    return _with_talk(replace(state, names=names), conversation, talk)


def take_typing(state: State, typing: Typing, now: float) -> State:
    """Somebody types, or has stopped."""
    if typing.profile in state.mine:
        return state
    if not typing.active:
        return _stop_typing(state, typing.conversation, typing.profile)
    talk = state.talks.get(typing.conversation, Talk())
    typers = {**talk.typing, typing.profile: now + TYPING_S}
    return _with_talk(state, typing.conversation, replace(talk, typing=typers))


def typers(state: State, now: float) -> tuple[str, ...]:
    """Return who types in the open conversation."""
    return tuple(state.name(each) for each, until in state.talk.typing.items() if until > now)


def _stop_typing(state: State, conversation: ConversationId, profile: ProfileId) -> State:
    talk = state.talks.get(conversation, Talk())
    rest = {each: until for each, until in talk.typing.items() if each != profile}
    return _with_talk(state, conversation, replace(talk, typing=rest))


def take_connection(state: State, event: Connected | Disconnected, now: float) -> State:
    """The connection came, or went."""
    if isinstance(event, Connected):
        return replace(state, link=Link(up=True))
    return replace(state, link=Link(False, event.why, None if event.retry_in_s is None else now + event.retry_in_s))


def _with_talk(state: State, conversation: ConversationId, talk: Talk) -> State:
    return replace(state, talks={**state.talks, conversation: talk})


# What the person at the keys does.


def picked(state: State) -> Chat | None:
    """Return the conversation that the list has its mark on."""
    listed = state.listed
    return listed[min(state.picked, len(listed) - 1)] if listed else None


def _pick(state: State, chat: Chat | None) -> State:
    places = [place for place, each in enumerate(state.listed) if chat is not None and each.id == chat.id]
    return replace(state, picked=places[0] if places else 0)


def filter_chats(state: State, words: str) -> State:
    """Leave in the list what has all these words in its name."""
    return replace(state, filter=words, picked=0) if words != state.filter else state


def move(state: State, by: int) -> State:
    """Move the mark of the list, of the messages, or of what was found."""
    if state.mode is Mode.PICK:
        return replace(state, picked=_clamp(state.picked + by, len(state.listed)))
    if state.mode is Mode.RESULTS:
        return replace(state, picked=_clamp(state.picked + by, len(state.hits)))
    keys = [each.key for each in state.shown if each.message is not None]
    if not keys:
        return replace(state, mode=Mode.WRITE, selected=None, anchor=None)
    at = keys.index(state.selected) if state.selected in keys else len(keys)
    if at + by >= len(keys) and not state.talk.detached:
        # Below the last message is the input.
        return leave(state)
    return replace(state, mode=Mode.SELECT, selected=keys[_clamp(at + by, len(keys))], told="")


def _clamp(place: int, count: int) -> int:
    return max(0, min(place, count - 1))


def open_chat(state: State, conversation: ConversationId) -> State:
    """Show a conversation, and let what is typed go there."""
    chat = next((each for each in state.chats if each.id == conversation), None)
    talk = state.talks.get(conversation, Talk())
    unread = 0 if chat is None else chat.unread
    theirs = [each.seq for each in talk.messages if not each.mine]
    unread_from = theirs[-min(unread, len(theirs))] if unread and theirs else None
    state = replace(
        state,
        mode=Mode.WRITE,
        open=conversation,
        filter="",
        selected=None,
        anchor=None,
        thread=None,
        reply_to=None,
        editing=None,
        told="",
        chats=tuple(changed(each, unread=0) if each.id == conversation else each for each in state.chats),
    )
    return _pick(_with_talk(state, conversation, replace(talk, unread_from=unread_from)), chat)


def leave(state: State) -> State:
    """Leave the innermost of what is open: what Esc does."""
    match state.mode:
        case Mode.SELECT | Mode.SEARCH:
            return replace(state, mode=Mode.WRITE, selected=None, anchor=None, told="")
        case Mode.RESULTS:
            return replace(state, mode=Mode.WRITE, hits=(), picked=0, told="")
        case Mode.REACT:
            return replace(state, mode=Mode.SELECT, told="")
        case Mode.PICK if state.filter or state.open is None:
            return replace(state, filter="", picked=0)
        case Mode.PICK:
            return replace(state, mode=Mode.WRITE)
    if state.reply_to is not None or state.editing is not None:
        return replace(state, reply_to=None, editing=None)
    if state.thread is not None:
        return replace(state, thread=None, anchor=None)
    return _pick(replace(state, mode=Mode.PICK, filter="", told=""), state.chat)


def send_text(state: State, text: str) -> tuple[State, Entry]:
    """Show what is sent as waiting, where it will stand: below everything."""
    assert state.open is not None
    number = state.counter + 1
    entry = Entry(
        f"waiting-{number}",
        (float("inf"), number),
        text=text,
        waiting=True,
        reply_to=state.reply_to,
        thread=state.thread,
    )
    talk = replace(state.talk, entries=(*state.talk.entries, entry), unread_from=None)
    state = replace(state, counter=number, reply_to=None, anchor=None, told="")
    return _with_talk(state, state.open, talk), entry  # type: ignore[arg-type]


def settle(state: State, conversation: ConversationId, entry: Entry) -> State:
    """Take away what waited: it has come as a message, or never will."""
    talk = state.talks[conversation]
    entries = tuple(each for each in talk.entries if each.key != entry.key)
    return _with_talk(state, conversation, replace(talk, entries=entries))
