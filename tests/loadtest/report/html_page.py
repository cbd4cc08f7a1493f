"""A page as a program can read it: its tags, its text, and whatever it would fetch."""

from html.parser import HTMLParser
from typing import Final

VOID: Final = {"meta", "link"}
FETCHING: Final = {"src", "srcset", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """Everything in a page. `unclosed` is empty when every element was ended, in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.unclosed: list[str] = []
        self.scripts: list[str] = []
        self.source = text
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that ends at once."""
        known = {name: value or "" for name, value in attrs}
        self.elements.append((tag, known))
        self.fetched += [known[name] for name in FETCHING & known.keys()]
        if tag == "a":
            self.links.append(known["href"])
        if tag == "link":
            self.fetched.append(known["href"])

    def handle_endtag(self, tag: str) -> None:
        """End the element that was begun last, and no other."""
        assert self.unclosed, tag
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text, and scripts apart from it."""
        inside = self.unclosed[-1] if self.unclosed else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words of the page."""
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> list[str]:
        """The names of its parts, in their order."""
        return [known["id"] for tag, known in self.elements if tag == "section"]

    def of_class(self, name: str) -> list[dict[str, str]]:
        """The attributes of every element of a class."""
        return [known for _, known in self.elements if name in known.get("class", "").split()]
