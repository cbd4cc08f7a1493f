"""Ways through several requests: signing in, and signing up. Each is a generator of requests that is sent the replies.

They need a folder of letters, because a code comes by mail.
"""

import os
import re
import secrets
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from loadtest.crowd.crowd import HOST
from loadtest.rest.client import Request
from loadtest.rest.operations import draw_exchange_key, signed_fallback_key, signed_one_time_key
from varde_contract.ids import ENTROPY_BYTES, DeviceId, uuid7
from varde_contract.people import ProfileType
from varde_contract.rest import people
from varde_contract.signed_statements import device_statement

Journey: TypeAlias = Generator[Request, Any, None]
"""Yields requests and is sent what each reply says; it is closed at the first that fails."""
SIGN_INS: Final = 2  # requests of a journey that count against the allowance of a network address
_MS_NS: Final = 1_000_000
_PREKEYS: Final = 10
_LETTER_BYTES: Final = 64 * 1024
_MOST_KEPT: Final = 10_000  # codes read and not asked for: those of other workers' users. The oldest go first
_TO: Final = re.compile(rb"^To: (\S+)\s*$", re.MULTILINE)
_CODE: Final = re.compile(rb"^ +(\d{6,10})\s*$", re.MULTILINE)


class LetterBox:
    """The letters that a fresh stack writes to a folder instead of mailing them: codes, each to be taken once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._codes: dict[str, str] = {}

    def take(self, address: str) -> str | None:
        """Return the newest code for an address; None without a letter. The API writes it before it answers."""
        names = {path.name for path in self._folder.glob("*.eml")}
        for name in sorted(names - self._seen):  # names begin with the time, the newest last
            self._keep(name)
        self._seen = names
        return self._codes.pop(address, None)

    def _keep(self, name: str) -> None:
        try:
            with (self._folder / name).open("rb") as letter:
                text = letter.read(_LETTER_BYTES)
        except FileNotFoundError:
            return
        address, code = _TO.search(text), _CODE.search(text)
        if address is not None and code is not None:
            self._codes[address[1].decode("ascii", "replace")] = code[1].decode()
            if len(self._codes) > _MOST_KEPT:
                del self._codes[next(iter(self._codes))]


def sign_in(address: str, letters: LetterBox) -> Journey:
    """Somebody who has an account signs in somewhere else, comes back after an hour, and signs out."""
    tokens = yield from _enter(address, letters)
    shown = people.Refresh(tokens.refresh_token)
    tokens = yield Request(name="POST /v1/auth/session/refresh", body=shown, answer=people.SessionTokens)
    yield Request(name="DELETE /v1/auth/session", token=tokens.access_token)


def sign_up(letters: LetterBox) -> Journey:
    """Somebody new makes an account, a profile and a device with keys, and fetches a ticket."""
    tokens = yield from _enter(f"{secrets.token_hex(16)}@{HOST}", letters)
    root, signing = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    device = DeviceId(uuid7(time.time_ns() // _MS_NS, os.urandom(ENTROPY_BYTES)))

    def ask(name: str, answer: type, body: object = None) -> Request:
        return Request(name=name, token=tokens.access_token, body=body, answer=answer)

    yield ask("PUT /v1/account/root-key", people.AccountView, people.RootKey(root.public_key().public_bytes_raw()))
    profile = yield ask("POST /v1/profiles", people.ProfileView, people.NewProfile(ProfileType.PRIVAT))
    noise, signing_public, identity = draw_exchange_key(), signing.public_key().public_bytes_raw(), draw_exchange_key()
    statement = device_statement(
        tokens.account, device, noise_key=noise, signing_key=signing_public, identity_key=identity
    )
    keys = (noise, signing_public, identity)
    yield ask(
        "POST /v1/devices", people.DeviceView, people.NewDevice(device, *keys, root.sign(statement), (profile.profile,))
    )
    prekeys = tuple(signed_one_time_key(device, signing) for _ in range(_PREKEYS))
    yield ask(
        "POST /v1/prekeys", people.PrekeyCount, people.PrekeyUpload(prekeys, signed_fallback_key(device, signing))
    )
    yield ask("POST /v1/relay/tickets", people.RelayTicket)
    yield Request(name="DELETE /v1/auth/session", token=tokens.access_token)


def _enter(address: str, letters: LetterBox) -> Generator[Request, Any, people.SessionTokens]:
    yield Request(name="POST /v1/auth/codes", body=people.CodeRequest(address), answer=people.CodeSent)
    # Without a letter there is still a request to be made, and a failure to be seen.
    shown = people.SignIn(address, letters.take(address) or "00000000")
    tokens = yield Request(name="POST /v1/auth/session", body=shown, answer=people.SessionTokens)
    assert isinstance(tokens, people.SessionTokens)
    return tokens
