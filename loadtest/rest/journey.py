"""Ways through several requests: signing in, and signing up. Each is a generator of requests that is sent the replies.

Needs a folder of letters, because a code comes by mail.
"""

import os
import secrets
import time
from collections.abc import Generator
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from loadtest.crowd.belongings import HOST
from loadtest.rest.keys import draw_exchange_key, signed_fallback_key, signed_one_time_key
from loadtest.rest.outbox import LetterBox
from loadtest.rest.request import Request
from varde_contract.ids import ENTROPY_BYTES, DeviceId, uuid7
from varde_contract.people import ProfileType
from varde_contract.rest.people import (
    AccountView,
    CodeRequest,
    CodeSent,
    DeviceView,
    NewDevice,
    NewProfile,
    PrekeyCount,
    PrekeyUpload,
    ProfileView,
    Refresh,
    RelayTicket,
    RootKey,
    SessionTokens,
    SignIn,
)
from varde_contract.signed_statements import device_statement

Journey: TypeAlias = Generator[Request, Any, None]
"""Yields requests and is sent what `read` makes of each reply; it is closed at the first that fails."""

SIGN_INS: Final = 2
"""Requests of a journey that count against the allowance of a network address."""
_MS_NS: Final = 1_000_000
_PREKEYS: Final = 10


def sign_in(address: str, letters: LetterBox) -> Journey:
    """Somebody who has an account signs in somewhere else, comes back after an hour, and signs out."""
    tokens = yield from _enter(address, letters)
    tokens = yield _refresh(tokens)
    yield _sign_out(tokens)


def sign_up(letters: LetterBox) -> Journey:
    """Somebody new makes an account, a profile and a device with keys, and fetches a ticket."""
    tokens = yield from _enter(f"{secrets.token_hex(16)}@{HOST}", letters)
    ask = _Asking(tokens)
    root, device = Ed25519PrivateKey.generate(), _NewDevice(tokens)
    yield ask("PUT /v1/account/root-key", AccountView, RootKey(root.public_key().public_bytes_raw()))
    profile = yield ask("POST /v1/profiles", ProfileView, NewProfile(ProfileType.PRIVAT))
    yield ask("POST /v1/devices", DeviceView, device.certified(root, profile))
    yield ask("POST /v1/prekeys", PrekeyCount, device.draw_prekeys())
    yield ask("POST /v1/relay/tickets", RelayTicket)
    yield _sign_out(tokens)


def _enter(address: str, letters: LetterBox) -> Generator[Request, Any, SessionTokens]:
    asked = CodeRequest(address)
    yield Request(name="POST /v1/auth/codes", path="/v1/auth/codes", body=asked, answer=CodeSent)
    code = letters.take(address)
    # Without a letter there is still a request to be made, and a failure to be seen.
    shown = SignIn(address, code or "00000000")
    tokens = yield Request(name="POST /v1/auth/session", path="/v1/auth/session", body=shown, answer=SessionTokens)
    assert isinstance(tokens, SessionTokens)
    return tokens


def _refresh(tokens: SessionTokens) -> Request:
    shown = Refresh(tokens.refresh_token)
    path = "/v1/auth/session/refresh"
    return Request(name=f"POST {path}", path=path, body=shown, answer=SessionTokens)


def _sign_out(tokens: SessionTokens) -> Request:
    return Request(name="DELETE /v1/auth/session", path="/v1/auth/session", token=tokens.access_token)


class _Asking:
    def __init__(self, tokens: SessionTokens) -> None:
        self._token = tokens.access_token

    def __call__(self, name: str, answer: type, body: object = None) -> Request:
        return Request(name=name, path=name.partition(" ")[2], token=self._token, body=body, answer=answer)


class _NewDevice:
    def __init__(self, tokens: SessionTokens) -> None:
        self._account = tokens.account
        self._id = DeviceId(uuid7(time.time_ns() // _MS_NS, os.urandom(ENTROPY_BYTES)))
        self._signing = Ed25519PrivateKey.generate()

    def certified(self, root: Ed25519PrivateKey, profile: ProfileView) -> NewDevice:
        noise, identity = draw_exchange_key(), draw_exchange_key()
        signing = self._signing.public_key().public_bytes_raw()
        statement = device_statement(
            self._account, self._id, noise_key=noise, signing_key=signing, identity_key=identity
        )
        return NewDevice(self._id, noise, signing, identity, root.sign(statement), (profile.profile,))

    def draw_prekeys(self) -> PrekeyUpload:
        keys = tuple(signed_one_time_key(self._id, self._signing) for _ in range(_PREKEYS))
        return PrekeyUpload(keys, signed_fallback_key(self._id, self._signing))
