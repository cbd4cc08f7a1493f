"""Pictures of the real screens for the user guide: `make pictures` writes them into docs/pictures/.

Each is what the program drew on a terminal that pyte keeps, as SVG: no browser and no font is needed to make one.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyte
from msgspec.structs import replace
from pyte.screens import Char

from tests.cli.chat.memory_rpc import BOB, CAROL, GROUP, ME, MemoryRpc
from tests.cli.chat.person import Person, open_chat
from tests.cli.pseudo_terminal import open_terminal
from tests.supervisor.real_system import open_real_system
from varde.events import Receipt
from varde_cli.chat.remote import Reactions

FOLDER: Final = Path(__file__).parents[3] / "docs/pictures"
_WIDTH, _HEIGHT, _MARGIN = 9, 19, 12
_PAPER, _INK = "#1e1e2e", "#d9dce8"
_COLOURS: Final = {
    "black": "#000000",
    "red": "#f38ba8",
    "green": "#a6e3a1",
    "brown": "#f9e2af",
    "blue": "#89b4fa",
    "magenta": "#f5c2e7",
    "cyan": "#94e2d5",
    "white": "#bac2de",
    "brightred": "#f38ba8",
    "brightwhite": "#ffffff",
}
# Drawn as areas, because fonts leave gaps between them: upper half, lower half, whole.
_BLOCKS: Final = {"▀": (0.0, 0.5), "▄": (0.5, 0.5), "█": (0.0, 1.0), "▌": (0.0, 1.0)}


def svg(screen: pyte.Screen, title: str) -> str:
    """Return the picture of a terminal."""
    width, height = screen.columns * _WIDTH + 2 * _MARGIN, screen.lines * _HEIGHT + 2 * _MARGIN
    body = "\n".join(part for row in range(screen.lines) for part in _row(screen, row))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="15">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{_PAPER}"/>\n{body}\n</svg>\n'
    )


def _row(screen: pyte.Screen, row: int) -> Iterator[str]:
    cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
    top = _MARGIN + row * _HEIGHT
    for (ink, paper, bold, italic), run in groupby(cells, lambda cell: _look(cell[1])):
        part = list(run)
        left, width = _MARGIN + part[0][0] * _WIDTH, len(part) * _WIDTH
        if paper != _PAPER:
            yield f'<rect x="{left}" y="{top}" width="{width}" height="{_HEIGHT}" fill="{paper}"/>'
        style = (' font-weight="bold"' if bold else "") + (' font-style="italic"' if italic else "")
        for column, cell in part:
            x = _MARGIN + column * _WIDTH
            if cell.data in _BLOCKS:
                offset, share = _BLOCKS[cell.data]
                size = f'width="{_WIDTH / (2 if cell.data == "▌" else 1)}" height="{_HEIGHT * share}"'
                yield f'<rect x="{x}" y="{top + _HEIGHT * offset}" {size} fill="{ink}" shape-rendering="crispEdges"/>'
            elif cell.data.strip():
                # One by one, so that columns stay columns whatever font there is.
                yield f'<text x="{x}" y="{top + 14}" fill="{ink}"{style}>{escape(cell.data)}</text>'


def _look(cell: Char) -> tuple[str, str, bool, bool]:
    ink, paper = _colour(cell.fg, _INK), _colour(cell.bg, _PAPER)
    return (paper, ink, cell.bold, cell.italics) if cell.reverse else (ink, paper, cell.bold, cell.italics)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _COLOURS.get(name, f"#{name}")


def _home() -> MemoryRpc:
    now = datetime.now(UTC).replace(hour=17, minute=40, second=0, microsecond=0)
    rpc = MemoryRpc(began=now)
    rpc.written("The hut at Gjendesheim has room for four on Saturday", where=GROUP)
    rpc.written("I can drive, there are two seats left", by=CAROL, where=GROUP)
    rpc.written("Then I am in!", by=ME, where=GROUP)
    root = rpc.written("Who brings the stove? 🔥", where=GROUP)
    rpc.written("I do", by=CAROL, where=GROUP, thread=root.ref)
    rpc.written(
        "Leaving at eight from the station.\nBring warm clothes: it is minus 5 °C up there.", by=CAROL, where=GROUP
    )
    answer = rpc.written("Eight it is", by=ME, where=GROUP, reply_to=rpc.messages[GROUP][-1].ref)
    rpc.messages[GROUP][1] = replace(rpc.messages[GROUP][1], reactions=(Reactions("👍", (BOB, ME)),))
    rpc.push(Receipt(GROUP, BOB, answer.seq, read=True))
    rpc.push(Receipt(GROUP, CAROL, answer.seq, read=True))
    rpc.written("See you at eight", by=ME)
    rpc.written("Did you get the tickets?")
    return rpc


async def _picker(person: Person) -> None:
    await person.see("hiking", "Did you get the")


async def _group(person: Person) -> None:
    await person.see("Eight it is ✓✓", "👍 bob, you")
    person.type("Shall I bring the map")
    await person.see("the map")


async def _selection(person: Person) -> None:
    await person.see("Eight it is ✓✓")
    person.type("\x1b[A\x1b[A+")
    await person.see("1 👍")


_SCREENS: Final[dict[str, tuple[str, str | None, Callable[[Person], Awaitable[None]]]]] = {
    "picker": ("The list of conversations: names, the last message, how many are unread", None, _picker),
    "chat": ("A group: who said what, a reply, a thread, a reaction, and that all have read", "hiking", _group),
    "reaction": ("A message is selected, and a number or an emoji reacts to it", "hiking", _selection),
}


_COMMANDS: Final = (
    ("invite", "An invite link as text and QR code", ("invite", "create"), "Whoever has it", 36),
    ("verify", "The safety number of two people", ("verify", "bob"), "safety number", 6),
)


async def _draw(title: str, who: str | None, story: Callable[[Person], Awaitable[None]]) -> str:
    async with open_chat(_home(), who, columns=92, lines=22) as person:
        await story(person)
        # Before it ends: a screen that is left is empty.
        return svg(person.terminal.screen, title)


def _commands(folder: Path) -> Iterator[tuple[str, str, pyte.Screen]]:
    """Run commands that need a server, on one."""
    with open_real_system(folder / "data") as system:
        homes = [folder / name for name in ("alice", "bob")]
        bob = [system.sign_up(home, f"{home.name}@example.org").profiles[0].id for home in homes][-1]
        system.befriend(homes[0], homes[1], bob)
        system.run("contacts", "add", "bob", str(bob), "--home", str(homes[0]))
        for name, title, words, last, lines in _COMMANDS:
            with open_terminal(system.environ(), *words, "--home", str(homes[0]), lines=lines) as terminal:
                terminal.see(last)
                terminal.wait_end()
                yield name, title, terminal.display


def main() -> int:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, (title, who, story) in _SCREENS.items():
        (FOLDER / f"{name}.svg").write_text(asyncio.run(_draw(title, who, story)))
    with TemporaryDirectory() as folder:
        for name, title, screen in _commands(Path(folder)):
            (FOLDER / f"{name}.svg").write_text(svg(screen, title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
