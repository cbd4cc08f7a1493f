"""HTML, put together so that no text of a run can become markup."""

from html import escape

from msgspec import Struct


class Markup(Struct, frozen=True):
    """Text that is HTML already."""

    html: str


Content = Markup | str | float | None
Attribute = str | float | bool | None

VOID = frozenset({"meta", "path", "line", "rect"})
"""Elements that are written without an end, of those we use."""


def tag(name: str, /, *content: Content, **attributes: Attribute) -> Markup:
    """Return an element. `class_` is `class`, `data_x` is `data-x`; attributes that are None or False are left out."""
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*content).html}</{name}>")


def join(*content: Content) -> Markup:
    """Return pieces one after the other; None is nothing."""
    return Markup("".join(_html(piece) for piece in content))


def _html(piece: Content) -> str:
    if isinstance(piece, Markup):
        return piece.html
    return "" if piece is None else escape(str(piece))


def _attribute(key: str, value: Attribute) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def table(headings: tuple[str, ...], rows: list[tuple[Content, ...]], *, words: int = 1) -> Markup:
    """Return a table whose first `words` columns are words and all others figures. It scrolls when it is too wide."""
    head = tag("tr", *(tag("th", text, scope="col", class_=_kind(i, words)) for i, text in enumerate(headings)))
    body = [tag("tr", *(tag("td", cell, class_=_kind(i, words)) for i, cell in enumerate(row))) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex=0)


def _kind(place: int, words: int) -> str | None:
    return None if place < words else "figure"


def section(name: str, title: str, *content: Content) -> Markup:
    """Return a part of the page with its heading, which can be linked to by its name."""
    return tag("section", tag("h2", title), *content, id=name)


def note(*content: Content) -> Markup:
    """Return a sentence beside what is shown."""
    return tag("p", *content, class_="note")
