"""Pages of a conversation: the newest, older ones as one scrolls back, and those around what was found."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from varde_cli.chat import model, rows
from varde_cli.chat.model import Mode, State
from varde_cli.chat.remote import Hit, Message, Ref, Remote
from varde_contract.ids import ConversationId

PAGE: Final = 50


class View(Protocol):
    """Whose pages they are."""

    state: State
    size: tuple[int, int]

    def change(self, state: State) -> None:
        """Show this from now on."""

    def start(self, work: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """Do something meanwhile."""

    async def open(self, conversation: ConversationId) -> None:
        """Show a conversation with its last messages."""


class History:
    """Loads pages into a view."""

    def __init__(self, view: View, remote: Remote) -> None:
        self._view = view
        self._remote = remote
        self._loading = False

    async def load_newest(self, conversation: ConversationId) -> None:
        """Load the last messages."""
        page = await self._remote.history(conversation, limit=PAGE)
        self._view.change(model.show_newest(self._view.state, conversation, page, whole=len(page) < PAGE))

    def load_around(self) -> None:
        """Load what is about to be seen, until it is there."""
        state, (width, height) = self._view.state, self._view.size
        talk, conversation = state.talk, state.open
        if conversation is None or self._loading:
            return
        found = rows.rows(state, width)
        start, end = rows.visible(state, found, height)
        if state.mode is not Mode.SELECT:
            if talk.detached:
                self._load(lambda: self.load_newest(conversation))
        elif start < height and not talk.whole:
            self._load(lambda: self._load_older(conversation))
        elif end == len(found) and talk.detached:
            self._load(lambda: self._load_newer(conversation))

    def _load(self, load: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def load_and_look() -> None:
            try:
                await load()
            finally:
                self._loading = False
            self.load_around()

        self._loading = True
        self._view.start(load_and_look)

    async def _load_older(self, conversation: ConversationId) -> None:
        messages = self._view.state.talk.messages
        before = messages[0].seq if messages else None
        page = await self._remote.history(conversation, before=before, limit=PAGE)
        state = model.set_extent(self._view.state, conversation, whole=not page)
        self._view.change(model.add_messages(state, conversation, page))

    async def _load_newer(self, conversation: ConversationId) -> None:
        last = before = self._view.state.talk.messages[-1].seq
        newest = (await self._remote.history(conversation, limit=1))[-1].seq
        reached = last
        page: tuple[Message, ...] = ()
        # By numbers, because pages are asked for from their end. Many reactions may stand between two messages.
        while reached <= last and before < newest:
            before += PAGE
            page = await self._remote.history(conversation, before=before + 1, limit=PAGE)
            reached = page[-1].seq
        state = model.set_extent(self._view.state, conversation, detached=reached < newest)
        self._view.change(model.add_messages(state, conversation, page))

    async def search(self, words: str) -> None:
        """Show what has these words."""
        hits = await self._remote.search(words)
        told = "" if hits else f"nothing found for '{words}'"
        mode = Mode.RESULTS if hits else Mode.SEARCH
        self._view.change(replace(self._view.state, mode=mode, hits=hits, picked=0, told=told))

    async def go_to(self, hit: Hit) -> None:
        """Select a message that was found, with what was said around it."""
        conversation, seq = hit.message.conversation, hit.message.seq
        await self._view.open(conversation)
        state = self._view.state
        if all(each.seq != seq for each in state.talk.messages):
            # Not all between: that may be a hundred thousand.
            page = await self._remote.history(conversation, before=seq + PAGE // 2, limit=PAGE)
            state = model.replace_messages(self._view.state, conversation, page)
        state = replace(state, mode=Mode.SELECT, hits=(), selected=model.key_of(hit.message.ref))
        width, height = self._view.size
        self._view.change(rows.reveal(state, rows.rows(state, width), height, middle=True))

    async def open_thread(self, conversation: ConversationId, root: Ref) -> None:
        """Show a thread alone."""
        page = await self._remote.thread(conversation, root)
        state = model.add_messages(self._view.state, conversation, page)
        self._view.change(replace(state, mode=Mode.WRITE, thread=root, selected=None, anchor=None))
