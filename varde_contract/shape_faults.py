"""What msgspec says of a value with the wrong shape, without the peer's bytes: where it is, and what was expected.

Its texts may repeat what was sent: a word that is none of an enumeration, the name of a field that nobody knows, a key
of a map. So only phrases and names that are ours are passed on.
"""

import re
from typing import Final

_WHERE: Final = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`\Z")
_OURS: Final = re.compile(r"Expected `.*|Invalid (?:RFC3339 encoded datetime|base64 encoded string)|an id .*")
_MISSING: Final = re.compile(r"Object missing required field `([a-z0-9_]+)`")


def path_of(text: str) -> str:
    """Return the path that ends an error's text, such as `.keys[2].key`; a map's key or value is `[...]`."""
    found = _WHERE.search(text)
    if found is None:
        return ""
    return found["path"] + ("[...]" if found["key"] else "")


def missing_field(text: str) -> str | None:
    """Return the name of the field that is not there."""
    found = _MISSING.match(text)
    return found and found[1]


def expectation_of(text: str) -> str:
    """Return what was expected as a sentence with a space before it, or nothing where the text may hold their bytes."""
    said = _WHERE.sub("", text)
    if _OURS.fullmatch(said) is None:
        return ""
    return f" {said[0].upper()}{said[1:]}."
