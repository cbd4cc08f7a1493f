"""What a person typed or pasted, read as they meant it: addresses, codes, URLs. What nobody means is told in words."""

import re
import unicodedata
from typing import Final

import httpx
import msgspec

from varde.errors import VardeError
from varde_contract.rest.fields import Email, OneTimeCode

PORT_MOST: Final = 65_535

# What has no width comes along when one copies from a page or a letter, and nobody sees it.
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_BETWEEN: Final = re.compile(r"[\s\-‐‑‒–—.]")  # noqa: RUF001 - as a letter's typography has them
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST: Final = re.compile(r"[^\s/?#@%\\\x00-\x20\x7f]+")


def visible(text: str) -> str:
    """Return a text without what nobody sees, and without white space around it."""
    return _INVISIBLE.sub("", text).strip()


def read_email(typed: str) -> str:
    """Return an e-mail address. Raises VardeError (`bad-email`)."""
    address = visible(typed).removeprefix("mailto:")
    try:
        return msgspec.convert(address, Email)
    except msgspec.ValidationError:
        advice = "it looks like you@example.org, with nothing around it"
        raise VardeError("this is no e-mail address", code="bad-email", advice=advice) from None


def read_code(typed: str) -> str:
    """Return the digits of a one-time code, however they are grouped. Raises VardeError (`bad-code`)."""
    digits = (str(unicodedata.decimal(each, each)) for each in _BETWEEN.sub("", visible(typed)))
    try:
        return msgspec.convert("".join(digits), OneTimeCode)
    except msgspec.ValidationError:
        advice = "it has eight digits; look at the newest e-mail"
        raise VardeError("this is no one-time code", code="bad-code", advice=advice) from None


def read_link(typed: str) -> str:
    """Return an invite link without what a letter puts around it, and the line breaks that it puts into it."""
    return "".join(visible(typed).split()).rstrip(".,;:!?)]»”'\"")


def read_url(typed: str) -> httpx.URL:
    """Return the URL of a server. Raises VardeError (`bad-url`), whose text never shows what may be a password."""
    text = visible(typed)
    if not _SCHEME.match(text):
        raise _no_url("this URL does not say how to get there", "write https:// in front, or http:// for this machine")
    try:
        url = httpx.URL(text)
        # idna judges a name when it is connected to, and not before.
        usable = bool(_HOST.fullmatch(url.host)) and bool(url.raw_host) and all(url.host.rstrip(".").split("."))
    except (httpx.InvalidURL, ValueError):
        usable = False
    else:
        usable = usable and (url.port is None or 0 < url.port <= PORT_MOST)
    if not usable:
        raise _no_url("this is not a URL", "it looks like https://api.example.org")
    return url


def _no_url(what: str, advice: str) -> VardeError:
    return VardeError(what, code="bad-url", advice=advice)
