"""The full-screen chat as a program on a terminal: keys, signals, suspension, and its end."""

import asyncio
import os
import signal
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from prompt_toolkit.application import Application
from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, FilterOrBool, has_completions
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyProcessor
from prompt_toolkit.output import ColorDepth, Output

from varde_cli.chat.layout import STYLE, Panes
from varde_cli.chat.model import Mode
from varde_cli.chat.presenter import Presenter
from varde_cli.chat.remote import Remote
from varde_cli.chat.slash_commands import COMMANDS
from varde_cli.run import Exit

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Typed:
    """prompt_toolkit's buffer, as the presenter sees it. A text that is put into it has the cursor at its end."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    @property
    def text(self) -> str:
        """What is typed."""
        return self._buffer.text

    @text.setter
    def text(self, text: str) -> None:
        self._buffer.set_document(Document(text), bypass_readonly=True)


class Names(Completer):
    """Completes commands at the beginning, and names everywhere."""

    def __init__(self, names: Callable[[], list[str]]) -> None:
        self._names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Any:  # noqa: ARG002
        """See `Completer`."""
        before = document.text_before_cursor
        if before.startswith("/") and not any(each.isspace() for each in before):
            for command in COMMANDS:
                if command.startswith(before[1:]):
                    yield Completion(f"{command} ", -len(before) + 1, display_meta=COMMANDS[command].meaning)
            return
        word = document.get_word_before_cursor(WORD=True)
        plain = word.removeprefix("@").casefold()
        for name in self._names():
            if plain and name.casefold().startswith(plain):
                yield Completion(f"{name} ", -len(word.removeprefix("@")), display=name)


class Screen:
    """The application, and what it does with keys and signals."""

    def __init__(self, remote: Remote, given: Input | None = None, output: Output | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.buffer = Buffer(
            multiline=True,
            completer=Names(self._names),
            on_text_changed=lambda _: self.presenter.typed(),
            read_only=Condition(lambda: self.presenter.state.mode in {Mode.SELECT, Mode.RESULTS}),
        )
        self._pasting = self._more = False
        self.presenter = Presenter(remote, Typed(self.buffer), self._redraw, loop.time)
        panes = Panes(lambda: self.presenter.state, loop.time, self._size, self._sized, self.buffer)
        self.app: Application[int] = Application(
            panes.layout,
            style=STYLE,
            key_bindings=self._keys(),
            full_screen=True,
            mouse_support=False,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
            input=given,
            output=output,
        )
        self.app.key_processor.before_key_press += self._note_more
        # An arrow key is Esc and two more characters: they come together. A person waits no longer than this for Esc.
        self.app.ttimeoutlen = 0.05
        self.app.timeoutlen = 0.2

    async def run(self, who: str | None = None, as_profile: str | None = None) -> int:
        """Show the chat until the person ends it, and return the exit code. Raises why the client ended."""
        presenter, loop = self.presenter, self._loop
        loop.set_exception_handler(self._fail)
        for number in _ENDING:
            loop.add_signal_handler(number, presenter.end, int(Exit.INTERRUPTED))
        loop.add_signal_handler(signal.SIGTSTP, self.suspend)
        loop.add_signal_handler(signal.SIGCONT, self._continue)
        presenter.start_vital(presenter.open_first, who, as_profile)
        presenter.start_vital(presenter.run_events)
        ticking = asyncio.ensure_future(self._tick())
        presenter.ended.add_done_callback(lambda _: self.app.is_running and self.app.exit(result=0))
        try:
            with suppress(EOFError):
                await self.app.run_async(set_exception_handler=False)
            presenter.end(Exit.OK)
            return presenter.ended.result()
        finally:
            ticking.cancel()
            await presenter.aclose()
            for number in (*_ENDING, signal.SIGTSTP, signal.SIGCONT):
                loop.remove_signal_handler(number)

    def _names(self) -> list[str]:
        state = self.presenter.state
        return sorted({*state.names.values(), *(each.name for each in state.chats)})

    def _size(self) -> tuple[int, int]:
        size = self.app.output.get_size()
        return size.columns, size.rows

    def _sized(self, width: int, height: int) -> None:
        self.presenter.size = (width, height)

    def _redraw(self) -> None:
        self.app.invalidate()

    async def _tick(self) -> None:
        """Draw once a second what changes by itself: the countdown, and who types."""
        while True:
            await asyncio.sleep(1)
            state = self.presenter.state
            if state.link.retry_at is not None or state.talk.typing:
                self._redraw()

    def _fail(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A terminal that is gone, above all: it is drawn in a callback, which nobody waits for.
        error = context.get("exception")
        self.presenter.end(error if isinstance(error, Exception) else RuntimeError(context["message"]))

    def suspend(self) -> None:
        """Give the terminal back and stop, until somebody says `fg`."""
        if self.app.is_running and not self.app._running_in_terminal:  # noqa: SLF001
            run_in_terminal(self._stop)

    def _stop(self) -> None:
        self._loop.remove_signal_handler(signal.SIGTSTP)  # from here on it stops
        # The whole group, as the key does; where no shell could continue it, nothing happens.
        os.kill(0, signal.SIGTSTP)
        # Continued. What was typed meanwhile was for others.
        with suppress(termios.error):
            termios.tcflush(self.app.input.fileno(), termios.TCIFLUSH)
        self._loop.add_signal_handler(signal.SIGTSTP, self.suspend)

    def _continue(self) -> None:
        # After a SIGSTOP, which nobody can catch, the shell has left the terminal as it likes it.
        if self.app.is_running and not self.app._running_in_terminal:  # noqa: SLF001
            run_in_terminal(lambda: None)

    def _note_more(self, keys: KeyProcessor) -> None:
        """Note whether there was read more than this key."""
        if not self._more:
            self._pasting = False
        self._more = bool(keys.input_queue)

    def _enter(self) -> None:
        # More was read with it: it was pasted, into a terminal that does not say so. The last line end of a paste
        # stays, too; but one line and its end, read together, come over a slow connection.
        if self.presenter.state.mode is Mode.WRITE and (self._more or self._pasting):
            self._pasting = True
            self.buffer.insert_text("\n")
        else:
            self.presenter.enter()

    def _escape(self) -> None:
        if self.buffer.complete_state:
            self.buffer.cancel_completion()
        else:
            self.presenter.escape()

    def _complete(self) -> None:
        if self.buffer.complete_state:
            self.buffer.complete_next()
        else:
            self.buffer.start_completion(insert_common_part=True)

    def _keys(self) -> KeyBindings:
        # The presenter is asked for when a key is pressed: it is made after these.
        def do(action: Callable[[Presenter], None]) -> Callable[[], None]:
            return lambda: action(self.presenter)

        def within(*modes: Mode) -> Condition:
            return Condition(lambda: self.presenter.state.mode in modes)

        writing, choosing = within(Mode.WRITE), within(Mode.PICK, Mode.SELECT, Mode.RESULTS)
        first_line = Condition(lambda: self.buffer.document.on_first_line)
        table: tuple[tuple[str, FilterOrBool, Callable[[], None]], ...] = (
            ("c-c", True, do(lambda it: it.end(Exit.INTERRUPTED))),
            ("<sigint>", True, do(lambda it: it.end(Exit.INTERRUPTED))),
            ("c-d", Condition(lambda: not self.buffer.text), do(lambda it: it.end(Exit.OK))),
            ("c-z", True, self.suspend),
            ("enter", True, self._enter),
            ("escape enter", writing, lambda: self.buffer.insert_text("\n")),
            ("escape", True, self._escape),
            ("tab", writing, self._complete),
            ("up", choosing | (writing & first_line & ~has_completions), do(lambda it: it.move(-1))),
            ("down", choosing, do(lambda it: it.move(1))),
            ("pageup", True, do(lambda it: it.page(-1))),
            ("pagedown", True, do(lambda it: it.page(1))),
            ("c-f", True, do(lambda it: it.find())),
            ("c-r", True, do(lambda it: it.reconnect())),
            ("s-tab", True, do(lambda it: it.toggle_list())),
            ("c-n", True, do(lambda it: it.step(1))),
            ("c-p", True, do(lambda it: it.step(-1))),
        )
        keys = KeyBindings()
        for names, condition, action in table:
            keys.add(*names.split(), filter=condition)(_handler(action))
        keys.add("<any>", filter=within(Mode.SELECT))(lambda event: self.presenter.act(event.data))
        keys.add("<any>", filter=within(Mode.RESULTS))(lambda _: None)
        return keys


def _handler(action: Callable[[], None]) -> Callable[[KeyPressEvent], None]:
    return lambda _: action()
