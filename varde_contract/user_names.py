"""User names: how they are spelled, which ones are reserved, and which look alike. Clients and server judge the same.

A name is optional, one for a profile, and asked for whole. It is no display name: that one is end-to-end encrypted.
"""

import re
import unicodedata
from typing import Final

from varde_contract.errors import PeerFault

SHORTEST: Final = 3
LONGEST: Final = 32
TYPED_CHARACTERS: Final = 4 * LONGEST
"""A longer text is not looked at."""

_FORM: Final = re.compile(r"[a-z0-9]+(?:[._][a-z0-9]+)*")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "2": "z", "5": "s", "8": "b", ".": None, "_": None})
_PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
RESERVED: Final = (
    *("abuse", "admin", "administrator", "all", "anonymous", "channel", "deleted", "everybody", "everyone", "help"),
    *("here", "hostmaster", "info", "mail", "moderator", "nobody", "noreply", "notes", "official", "operator"),
    *("postmaster", "root", "security", "self", "server", "staff", "support", "system", "team", "unknown", "webmaster"),
    "you",
)


class UserNameFault(PeerFault):
    """A text that is no user name, in words for whoever typed it."""


def normal_user_name(typed: str) -> str:
    """Return the one spelling of a name: NFKC, case folded. Raises UserNameFault. Applied twice, it changes nothing."""
    if len(typed) > TYPED_CHARACTERS:
        raise UserNameFault(f"a user name has {SHORTEST} to {LONGEST} characters")
    folded = unicodedata.normalize("NFKC", typed.strip().removeprefix("@")).casefold()
    name = unicodedata.normalize("NFKC", folded)
    if not SHORTEST <= len(name) <= LONGEST:
        raise UserNameFault(f"a user name has {SHORTEST} to {LONGEST} characters")
    if _FORM.fullmatch(name) is None:
        raise UserNameFault("a user name is made of a to z, 0 to 9, and single '.' and '_' between them")
    if _ID.fullmatch(name) is not None:
        raise UserNameFault("this reads as an id")
    return name


def skeleton(name: str) -> str:
    """Return what all names that look like this one have in common. Of those only one is given away."""
    alike = name.translate(_ALIKE)
    for pair, letter in _PAIRS:
        alike = alike.replace(pair, letter)
    return alike


_RESERVED: Final = frozenset(map(skeleton, RESERVED))
_OURS: Final = skeleton("varde")


def is_reserved(name: str) -> bool:
    """Whether nobody gets the name, because people would take its owner for somebody in charge."""
    alike = skeleton(name)
    return alike in _RESERVED or alike.startswith(_OURS)
