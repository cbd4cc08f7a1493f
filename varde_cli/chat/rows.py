"""Messages as rows of a terminal: wrapped to its width, styled, and which of them are seen."""

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from prompt_toolkit.utils import get_cwidth
from wcwidth import iter_graphemes, wcswidth

from varde_cli.chat.model import Entry, Mode, State, Talk, key_of, leave
from varde_cli.chat.notices import notice
from varde_cli.chat.remote import Message
from varde_cli.output import printable

Fragments: TypeAlias = tuple[tuple[str, str], ...]
"""Styled pieces of a row, as prompt_toolkit takes them."""

NARROW: Final = 40
"""Below so many columns a name stands above its message instead of beside it."""
_NAME: Final = 10
_TIME: Final = 6
_COLOURS: Final = 6


class Mark(enum.IntEnum):
    """How far an own message has come."""

    WAITING = 0
    STORED = 1
    DELIVERED = 2
    READ = 3


MARKS: Final = {Mark.WAITING: "…", Mark.STORED: "✓", Mark.DELIVERED: "✓✓", Mark.READ: "✓✓"}


class Row(NamedTuple):
    """One row, and the entry that it is part of."""

    key: str
    number: int
    fragments: Fragments


@dataclass(frozen=True, slots=True)
class _Look:
    """All that an entry's rows are made of, so that they are made once."""

    entry: Entry
    width: int
    name: str
    colour: str
    mine: bool
    mark: Mark
    quoted: str
    reactions: tuple[str, ...]


def rows(state: State, width: int) -> list[Row]:
    """Return every row of what is shown, oldest first."""
    found: list[Row] = []
    day: date | None = None
    entries = state.shown
    known = {each.key: each.message for each in state.talk.entries if each.message is not None}
    for entry in entries:
        message = entry.message
        if message is not None:
            written = message.written.astimezone()
            if written.date() != day:
                day = written.date()
                found.append(_line(f"day {day}", f"{written:%A} {written.day} {written:%B %Y}", width))
            if message.seq == state.talk.unread_from:
                found.append(_line("unread", "unread", width, "class:unread"))
        found += _entry_rows(_look(state, entry, known, width))
    return found


def mark(talk: Talk, message: Message) -> Mark:
    """Return how far an own message has come: delivered, and read, is what everybody has."""
    positions = [talk.positions.get(each, (0, 0)) for each in talk.others or talk.positions]
    if not positions or any(max(each) < message.seq for each in positions):
        return Mark.STORED
    return Mark.READ if all(read >= message.seq for _, read in positions) else Mark.DELIVERED


def _line(key: str, text: str, width: int, style: str = "class:dim") -> Row:
    return Row(key, 0, ((style, f"── {text} "[:width].ljust(width, "─")),))


def _look(state: State, entry: Entry, known: dict[str, Message], width: int) -> _Look:
    message = entry.message
    if message is None and not entry.waiting:
        told = notice(entry.event, state.name) if entry.event is not None else (entry.text, False)
        text, alarm = told or ("", False)
        return _Look(entry, width, "", "class:alarm" if alarm else "class:dim", False, Mark.STORED, text, ())
    reply_to = entry.reply_to if message is None else message.reply_to
    quoted = ""
    if reply_to is not None:
        target = known.get(key_of(reply_to))
        quoted = "a message that is not here" if target is None else f"{state.name(target.profile)}: {target.text}"
    if message is None:
        return _Look(entry, width, "you", "", True, Mark.WAITING, quoted, ())
    return _Look(
        entry,
        width,
        state.name(message.profile),
        f"class:name{message.profile.int % _COLOURS}",
        message.mine,
        mark(state.talk, message),
        quoted,
        tuple(f"{each.emoji} {', '.join(state.name(who) for who in each.profiles)}" for each in message.reactions),
    )


@lru_cache(maxsize=8_192)
def _entry_rows(look: _Look) -> tuple[Row, ...]:
    entry, width = look.entry, look.width
    if entry.message is None and not entry.waiting:
        told = enumerate(wrap(printable(look.quoted), width - 3))
        return tuple(Row(entry.key, number, (("", "   "), (look.colour, line))) for number, line in told)
    head = _head(look)
    indent = 2 if width < NARROW else _TIME + _NAME + 1
    body = list(_body(look, max(1, width - indent)))
    lines: list[Fragments]
    if width < NARROW:
        lines = [head, *((("", " " * indent), *line) for line in body)]
    else:
        lines = [(*head, *body[0]), *((("", " " * indent), *line) for line in body[1:])]
    return tuple(Row(entry.key, number, line) for number, line in enumerate(lines))


def _head(look: _Look) -> Fragments:
    message = look.entry.message
    time = "" if message is None else f"{message.written.astimezone():%H:%M}"
    name = fit(printable(look.name).replace("\n", " "), _NAME)
    style = "class:mine" if look.mine else look.colour
    return (("class:dim", time.ljust(_TIME)), (style, name.ljust(_NAME + len(name) - width_of(name))), ("", " "))


def _body(look: _Look, width: int) -> Iterator[Fragments]:
    entry, message = look.entry, look.entry.message
    if look.quoted:
        yield (("class:quote", fit(f"│ {printable(look.quoted)}".replace("\n", " "), width)),)
    if entry.root is not None:
        yield (("class:quote", fit("↳ in a thread", width)),)
    tail = _tail(look)
    if message is not None and message.deleted:
        yield (("class:dim", "deleted"),)
    else:
        *most, last = wrap(printable(entry.text if message is None else message.text), width)
        for line in most:
            yield (("", line),)
        if width_of(last) + sum(width_of(text) for _, text in tail) <= width:
            yield (("", last), *tail)
        else:
            yield (("", last),)
            yield tail
    for line in wrap("  ".join(look.reactions), width) if look.reactions else ():
        yield (("class:reaction", line),)
    if message is not None and message.replies:
        yield (("class:quote", f"▸ {message.replies} {'reply' if message.replies == 1 else 'replies'}"),)


def _tail(look: _Look) -> Fragments:
    message = look.entry.message
    parts: list[tuple[str, str]] = []
    if message is not None and message.edited is not None:
        parts.append(("class:dim", " (edited)"))
    if message is not None and message.timer:
        parts.append(("class:dim", " ⏱"))
    if look.mine:
        style = "class:read" if look.mark is Mark.READ else "class:dim"
        parts.append((style, f" {MARKS[look.mark]}"))
    return tuple(parts)


def width_of(text: str) -> int:
    """Return how many columns a text takes at most: terminals differ in emoji of several characters."""
    return max(get_cwidth(text), wcswidth(text))


def one_line(text: str, width: int) -> str:
    """Return a text for a row that has something to its right: of a known width, whatever the terminal.

    Of an emoji that terminals draw in different widths, the first character stands.
    """
    clusters = iter_graphemes(printable(text).replace("\n", " "))
    return fit("".join(each if get_cwidth(each) == wcswidth(each) else each[0] for each in clusters), width)


def fit(text: str, width: int) -> str:
    """Cut a text to a width, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    kept, taken = "", 0
    for cluster in iter_graphemes(text):
        taken += width_of(cluster)
        if taken > width - 1:
            break
        kept += cluster
    return f"{kept}…" if width > 0 else ""


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of a width: between words where it can be, never inside what is shown as one character.

    Every character is in one of the lines, but for the blanks at which they break.
    """
    lines = []
    for paragraph in text.expandtabs(4).split("\n"):
        line, taken = "", 0
        for piece in _pieces(paragraph, width):
            size = width_of(piece)
            if taken + size > width and line:
                lines.append(line.rstrip(" "))
                line, taken = "", 0
                if not piece.strip(" "):
                    continue
            line, taken = line + piece, taken + size
        lines.append(line)
    return lines


def _pieces(paragraph: str, width: int) -> Iterator[str]:
    """Words and blanks between them; words that are wider than a line in parts."""
    for piece in re.findall(r" +|[^ ]+", paragraph):
        if width_of(piece) <= width:
            yield piece
        else:
            yield from iter_graphemes(piece)


def visible(state: State, found: Sequence[Row], height: int) -> tuple[int, int]:
    """Return which rows are seen, as the first and the one after the last: the anchor's is the last."""
    end = len(found)
    if state.anchor is not None:
        key, number = state.anchor
        # Not equal: in a wider window its message has fewer rows.
        places = [place for place, row in enumerate(found) if row.key == key and row.number <= number]
        end = places[-1] + 1 if places else end
    end = max(end, min(height, len(found)))
    return max(0, end - height), end


def page(state: State, found: Sequence[Row], height: int, by: int) -> State:
    """Move the messages by pages, up with a negative number. At the end of them the input has the keys again."""
    _, end = visible(state, found, height)
    end += by * max(1, height - 1)
    if end >= len(found) and by > 0 and not state.talk.detached:
        return leave(state) if state.mode is Mode.SELECT else state
    end = max(min(height, len(found)), min(end, len(found)))
    seen = [row.key for row in found[max(0, end - height) : end]]
    messages = [key for key in seen if (entry := state.talk.find(key)) is not None and entry.message is not None]
    if not messages:
        return state
    selected = state.selected if state.selected in messages else messages[0 if by < 0 else -1]
    return replace(state, mode=Mode.SELECT, selected=selected, anchor=found[end - 1][:2])


def reveal(state: State, found: Sequence[Row], height: int, *, middle: bool = False) -> State:
    """Move as little as shows the selected message, its first rows above all; or bring it into the middle."""
    places = [place for place, row in enumerate(found) if row.key == state.selected]
    if not places:
        return state
    start, end = visible(state, found, height)
    if middle:
        end = min(len(found), max(places[0] + height // 2, min(height, len(found))))
    elif places[0] < start:
        end = places[0] + height
    else:
        end = max(end, min(places[-1] + 1, places[0] + height))
    return replace(state, anchor=found[end - 1][:2])
