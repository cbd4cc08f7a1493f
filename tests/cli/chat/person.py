"""A person before the full-screen chat: types into a pipe, and looks at a terminal that pyte keeps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO

import pyte
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from tests.cli.chat.memory_rpc import MemoryRpc
from tests.cli.pseudo_terminal import Display
from varde_cli.chat.application import Screen
from varde_cli.chat.remote import Remote

PATIENCE_S = 30


class _Terminal(StringIO):
    """Where the program writes, and what one sees there."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.screen = Display(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.seen = asyncio.Event()

    def write(self, text: str) -> int:
        self._stream.feed(text)
        self.seen.set()
        return len(text)


class Person:
    """Types and looks."""

    def __init__(
        self,
        rpc: MemoryRpc,
        chat: Screen,
        keyboard: PipeInput,
        terminal: _Terminal,
        running: "asyncio.Future[int]",
    ) -> None:
        self.running = running
        self.rpc = rpc
        self.chat = chat
        self._keyboard = keyboard
        self.terminal = terminal

    @property
    def screen(self) -> str:
        """All rows, without the blanks at their ends."""
        return "\n".join(line.rstrip() for line in self.terminal.screen.display)

    def type(self, text: str) -> None:
        """Type, or press keys by what a terminal sends for them."""
        self._keyboard.send_text(text)

    async def see(self, *texts: str) -> str:
        """Wait until all of these are on the screen, and return it."""
        return await self.look(lambda screen: all(text in screen for text in texts), repr(texts))

    async def miss(self, *texts: str) -> str:
        """Wait until none of these is on the screen any more."""
        return await self.look(lambda screen: not any(text in screen for text in texts), f"not {texts!r}")

    async def look(self, wanted: Callable[[str], bool], what: str = "that") -> str:
        """Wait for a screen."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not wanted(self.screen):
                    self.terminal.seen.clear()
                    seen = asyncio.ensure_future(self.terminal.seen.wait())
                    await asyncio.wait((seen, self.running), return_when=asyncio.FIRST_COMPLETED)
                    assert not self.running.done(), f"the chat has ended with {self.running.result()}"
        except TimeoutError:
            raise AssertionError(f"{what} did not come; there is\n{self.screen}") from None
        return self.screen

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self.terminal.screen.resize(lines, columns)
        self.chat.app._on_resize()


@asynccontextmanager
async def open_chat(
    rpc: MemoryRpc, who: str | None = "bob", *, columns: int = 100, lines: int = 24
) -> AsyncIterator[Person]:
    """Open a chat while the block runs, and end it with Ctrl-C unless it has ended."""
    terminal = _Terminal(columns, lines)

    def size() -> Size:
        return Size(terminal.screen.lines, terminal.screen.columns)

    output = Vt100_Output(terminal, size, term="xterm-256color", enable_cpr=False)
    with create_pipe_input() as keyboard, create_app_session(keyboard, output):
        chat = Screen(Remote(rpc), keyboard, output)
        running = asyncio.ensure_future(chat.run(who))
        try:
            yield Person(rpc, chat, keyboard, terminal, running)
        finally:
            chat.presenter.end(130)
            await running
