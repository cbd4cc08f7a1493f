"""The panes of the full-screen chat: drawn from the state, and nothing else decided here."""

from collections.abc import Callable, Sequence
from typing import Final

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Float,
    FloatContainer,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.styles import Style

from varde_cli.chat import model, rows
from varde_cli.chat.model import Mode, State
from varde_cli.output import printable

WIDE: Final = 72
"""From so many columns on the list of conversations stands beside the messages."""
TALL: Final = 10
"""From so many rows on there is a title above the messages, and the input grows."""
_LIST: Final = 26
_INPUT_ROWS: Final = 8

STYLE: Final = Style.from_dict(
    {
        "dim": "#808080",
        "mine": "bold",
        "name0": "ansicyan bold",
        "name1": "ansimagenta bold",
        "name2": "ansiyellow bold",
        "name3": "ansigreen bold",
        "name4": "ansiblue bold",
        "name5": "ansibrightred bold",
        "read": "#00afff bold",
        "quote": "#808080 italic",
        "reaction": "",
        "unread": "ansiyellow bold",
        "alarm": "ansibrightred bold",
        "selected": "reverse",
        "status": "reverse",
        "title": "bold",
        "line": "#606060",
        "completion-menu": "bg:#303030 #e0e0e0",
        "completion-menu.completion.current": "reverse",
    }
)

_KEYS: Final = {
    Mode.PICK: "↑↓ choose · Enter open · type to filter · Ctrl-D quit",
    Mode.WRITE: "Enter send · Alt-Enter new line · ↑ messages · Esc list · /help",
    Mode.SELECT: "r reply · + react · e edit · d delete · t thread · Esc back",
    Mode.REACT: "a number or an emoji, then Enter · Esc back",
    Mode.SEARCH: "Enter search · Esc back",
    Mode.RESULTS: "↑↓ choose · Enter go there · Esc back",
}


class Canvas(UIControl):
    """A control whose rows are drawn anew for the size that it has."""

    def __init__(self, draw: Callable[[int, int], Sequence[StyleAndTextTuples]]) -> None:
        self._draw = draw

    def create_content(self, width: int, height: int) -> UIContent:
        """See `UIControl`."""
        lines = list(self._draw(width, height))
        return UIContent(get_line=lines.__getitem__, line_count=len(lines), show_cursor=False)


class Panes:
    """The layout. `state` and `clock` are asked at each drawing; `sized` is told how large the messages' pane is."""

    def __init__(
        self,
        state: Callable[[], State],
        clock: Callable[[], float],
        size: Callable[[], tuple[int, int]],
        sized: Callable[[int, int], None],
        typed: Buffer,
    ) -> None:
        self._state = state
        self._clock = clock
        self._size = size
        self._sized = sized
        wide = Condition(lambda: size()[0] >= WIDE)
        tall = Condition(lambda: size()[1] >= TALL)
        picking = Condition(lambda: state().mode is Mode.PICK)
        messages = HSplit(
            [
                ConditionalContainer(Window(Canvas(self._title), height=1), tall),
                Window(Canvas(self._messages), always_hide_cursor=True),
            ]
        )
        chats = Window(Canvas(self._chats))
        body = VSplit(
            [
                ConditionalContainer(Window(Canvas(self._chats), width=_LIST), wide),
                ConditionalContainer(Window(width=1, char="│", style="class:line"), wide),
                ConditionalContainer(chats, ~wide & picking),
                ConditionalContainer(messages, wide | ~picking),
            ]
        )
        text = Window(
            BufferControl(typed, focusable=True),
            height=lambda: Dimension(min=1, max=_INPUT_ROWS if size()[1] >= TALL else 1),
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=self._prompt,
        )
        status = Window(Canvas(self._status), height=1)
        whole = HSplit([body, status, text])
        menu = Float(CompletionsMenu(max_height=6, scroll_offset=1), xcursor=True, ycursor=True)
        self.layout = Layout(FloatContainer(whole, [menu]), focused_element=text)

    def _prompt(self, line: int, wrap_count: int) -> StyleAndTextTuples:
        state = self._state()
        label = {Mode.PICK: "find", Mode.REACT: "react", Mode.SEARCH: "search"}.get(state.mode, "")
        if not label and state.editing is not None:
            label = "edit"
        elif not label and state.reply_to is not None:
            label = "reply"
        elif not label and state.thread is not None:
            label = "thread"
        text = f"{label}> "
        return [("class:title", text if line == 0 and wrap_count == 0 else " " * len(text))]

    def _chats(self, width: int, height: int) -> Sequence[StyleAndTextTuples]:
        state = self._state()
        per = 2
        first = max(0, (state.picked + 1) * per - height)
        lines: list[StyleAndTextTuples] = []
        now = model.picked(state)
        for chat in state.listed:
            unread = f" {chat.unread}" if chat.unread else ""
            name = rows.one_line(chat.name, width - len(unread) - 2)
            mark = "▌" if chat.id == state.open else " "
            style = "class:selected" if state.mode is Mode.PICK and now is not None and chat.id == now.id else ""
            line = f"{mark}{name}"
            pad = " " * (width - rows.width_of(line) - len(unread) - 1)
            lines.append(
                [
                    (f"{style} class:title" if chat.unread else style, line + pad),
                    (f"{style} class:unread", f"{unread} "),
                ]
            )
            lines.append([("class:dim", rows.one_line(f"  {chat.last}", width - 1))])
        return lines[first : first + height]

    def _title(self, width: int, _height: int) -> Sequence[StyleAndTextTuples]:
        state = self._state()
        chat = state.chat
        name = "" if chat is None else printable(chat.name).replace("\n", " ")
        if state.thread is not None:
            name += " · thread"
        if state.mode is Mode.RESULTS:
            name = f"{len(state.hits)} found"
        typers = model.typers(state, self._clock())
        typing = f" · {', '.join(map(printable, typers))} typing …" if typers else ""
        return [[("class:title", rows.fit(name, width)), ("class:dim", typing)]]

    def _messages(self, width: int, height: int) -> Sequence[StyleAndTextTuples]:
        self._sized(width, height)
        state = self._state()
        if state.mode is Mode.RESULTS:
            return self._results(state, width, height)
        if state.open is None:
            return [[("class:dim", line)] for each in _hint(state) for line in rows.wrap(each, width)]
        found = rows.rows(state, width)
        start, end = rows.visible(state, found, height)
        chosen = state.selected if state.mode in {Mode.SELECT, Mode.REACT} else None
        lines: list[StyleAndTextTuples] = [[] for _ in range(height - (end - start))]
        for row in found[start:end]:
            style = " class:selected" if row.key == chosen else ""
            lines.append([(f"{each}{style}", text) for each, text in row.fragments])
        return lines

    def _results(self, state: State, width: int, height: int) -> Sequence[StyleAndTextTuples]:
        first = max(0, state.picked + 1 - height)
        names = {chat.id: chat.name for chat in state.chats}
        lines: list[StyleAndTextTuples] = []
        for place, hit in enumerate(state.hits):
            where = names.get(hit.message.conversation, "")
            text = f"{hit.message.written.astimezone():%Y-%m-%d %H:%M} {where}: {hit.message.text}"
            style = "class:selected" if place == state.picked else ""
            lines.append([(style, rows.fit(printable(text).replace("\n", " "), width))])
        return lines[first : first + height]

    def _status(self, width: int, _height: int) -> Sequence[StyleAndTextTuples]:
        state = self._state()
        text = " " + " · ".join(filter(None, (self._connection(state), printable(state.told).replace("\n", " "))))
        if not state.told:
            text += f" · {_KEYS[state.mode]}"
        return [[("class:status", rows.fit(text, width).ljust(width))]]

    def _connection(self, state: State) -> str:
        link = state.link
        if link.up is None:
            return "○ connecting …"
        if link.up:
            return "● online"
        if link.retry_at is None:
            return f"○ offline: {link.why}"
        left = max(0, round(link.retry_at - self._clock()))
        return f"○ offline, next try in {left} s · Ctrl-R now" if left else "○ offline, trying …"


def _hint(state: State) -> tuple[str, ...]:
    if state.mode is not Mode.PICK:
        return ()
    if state.chats:
        return ("Choose a conversation, or type a part of its name.",)
    return (
        "No conversations yet.",
        "",
        "varde invite create    makes a link that leads to you",
        "varde join LINK        uses somebody else's",
        "varde chat self        writes notes to yourself",
    )
