"""Names that people give themselves and their groups: which ones there are, and when two are the same to a reader.

Whoever shows a name compares with these functions, so that all clients tell the same people apart.
"""
# ruff: noqa: RUF001 - letters that look like others are what this is about

import unicodedata

NAME_CHARACTERS = 64
"""Unicode code points, after normalization."""

# The zero-width joiners stand inside emoji and Indic words. All other format characters are of no use in a name: marks
# and overrides of direction, soft hyphens, tags.
_JOINERS = "\u200c\u200d"
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# What Unicode calls letters, marks or symbols and nobody sees: fillers, the grapheme joiner, an empty Braille cell.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_MARKS = frozenset({"Mn", "Me"})
# Letters of other scripts that pass for Latin ones, and digits that pass for letters. Capitals come first: some Greek
# ones have small letters of another shape. Only to tell people apart, so who is taken for another here loses nothing.
_CAPITALS = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX")
_SMALL = str.maketrans(
    "авекмнорстухѕіјԁԛԝһαβγεηικνορτυχωհլոս01ıłøđ",
    "abekmhopctyxsijdqwhabyenikvoptuxwhlnuolilod",
)


def clean_name(text: str) -> str:
    """Return a name as it is kept: NFC, without white space around it, each run of it inside one space.

    Raises ValueError, in words, for one that is empty or nothing to see, longer than 64 code points, or that holds
    controls, marks of direction or other format characters.
    """
    name = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(each) in _REFUSED and each not in _JOINERS for each in name):
        raise ValueError("a name has no line breaks, controls or marks of direction in it")
    name = " ".join(name.split())
    if not any(map(_is_seen, name)):
        raise ValueError("a name is something to see")
    if len(name) > NAME_CHARACTERS:
        raise ValueError(f"a name has at most {NAME_CHARACTERS} characters")
    return name


def compared(name: str) -> str:
    """Return what two names are compared by: NFKC and case folding, without joiners and variation selectors."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join("".join(each for each in folded if each not in _JOINERS and not _is_selector(each)).split())


def look_alike(one: str, other: str) -> bool:
    """Whether most readers would take one name for the other, the same name among them."""
    return compared(one) == compared(other) or lookalike(one) == lookalike(other)


def lookalike(name: str) -> str:
    """Return what two names have in common that look the same.

    It knows the usual letters of Cyrillic, Greek and Armenian, the digits 0 and 1, and accents that are left out. It
    does not know lookalikes within other scripts, or of several letters ("rn" for "m").
    """
    latin = unicodedata.normalize("NFKC", name).translate(_CAPITALS)
    letters = unicodedata.normalize("NFD", compared(latin).translate(_SMALL))
    return "".join(each for each in letters if unicodedata.category(each) not in _MARKS).replace("l", "i")


def _is_seen(character: str) -> bool:
    hidden = unicodedata.category(character) in {*_REFUSED, *_MARKS, "Zs"}
    return not (hidden or character in _UNSEEN or _is_selector(character))


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
