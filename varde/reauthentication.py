"""A device whose session ended signs in again, and stays the same device with the same ratchets."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from varde import rest as calls
from varde.crypto.pairwise import load_account
from varde.device import IDENTITY, DeviceKeys, load_api_url, load_device
from varde.errors import Busy, DeviceRevoked, NotEnrolled, NotFound, Refusal, Unreachable, WrongAccount
from varde.http import Http
from varde.identity import Identity
from varde.rest import SESSION
from varde.store import Store, Unlock, open_store
from varde_contract.ids import AccountId
from varde_contract.rest.people import SessionTokens
from varde_contract.signed_statements import session_statement

NEW_SESSION = "returning"
"""The setting that holds a new session until the server has bound it to this device."""


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """The device that a home folder holds, and the API it belongs to: `request_code` is for there."""

    identity: Identity
    api_url: str


async def find_device(home: Path | str, unlock: Unlock) -> StoredDevice | None:
    """Return the device of a home folder, without connecting; None where there is none, or it was not finished.

    Raises DeviceRevoked after a log-out, StoreInUse, WrongKey, StoreDamaged.
    """
    try:
        async with open_store(Path(home), unlock) as store:
            return None if store.settings.find(IDENTITY, Identity) is None else _load_device(store)[1]
    except NotEnrolled:
        return None


async def sign_in_again(
    home: Path | str, unlock: Unlock, *, email: str, code: str, transport: httpx.AsyncBaseTransport | None = None
) -> Identity:
    """Give the device of a home folder a new session; the code is one of `request_code`. Its other sessions end.

    Called again after a crash it goes on with the session it had got, and then needs no other code. Raises CodeRefused,
    WrongAccount, DeviceRevoked, Refusal, Unreachable, and what `connect` raises.
    """
    async with open_store(Path(home), unlock) as store:
        keys, stored = _load_device(store)
        async with Http(stored.api_url, transport=transport) as http:
            if not await _resume(store, http, keys):
                await _adopt(store, http, keys, await _sign_in(store, http, keys.own.account, email, code))
        return stored.identity


def _load_device(store: Store) -> tuple[DeviceKeys, StoredDevice]:
    keys, identity = load_device(store)
    if store.settings.find(SESSION, SessionTokens) is None:
        # A log-out forgets the session after it has revoked the device, and nothing else does.
        raise DeviceRevoked("this device was taken out of its account")
    return keys, StoredDevice(identity, load_api_url(store))


async def _resume(store: Store, http: Http, keys: DeviceKeys) -> bool:
    """Finish with the session of an interrupted run. False: there is none, or it has expired."""
    left = store.settings.find(NEW_SESSION, SessionTokens)
    if left is None:
        return False
    try:
        await _adopt(store, http, keys, left)
    except Busy:
        raise
    except Refusal:
        return False  # an access token lives for an hour; the code opens another session
    return True


async def _sign_in(store: Store, http: Http, account: AccountId, email: str, code: str) -> SessionTokens:
    """Trade the code for a session of this device's account, and keep it before anything is done with it."""
    tokens = await calls.sign_in(http, email, code)
    if tokens.account != account:
        await _end_session(http, tokens)
        raise WrongAccount("this e-mail address belongs to another account than this device")
    with store.transaction():
        store.settings.put(NEW_SESSION, tokens)
    return tokens


async def _adopt(store: Store, http: Http, keys: DeviceKeys, tokens: SessionTokens) -> None:
    """Bind a session to this device and use it from now on. The same again changes nothing, so it may be repeated."""
    device = keys.own.device
    signature = load_account(store).sign(session_statement(tokens.session, device))
    try:
        await calls.adopt_device(http, tokens.access_token, device, signature)
    except NotFound:
        await _end_session(http, tokens)
        with store.transaction():
            store.settings.remove(NEW_SESSION)
        raise DeviceRevoked("this device was revoked") from None
    with store.transaction():
        store.settings.put(SESSION, tokens)
        store.settings.remove(NEW_SESSION)


async def _end_session(http: Http, tokens: SessionTokens) -> None:
    """End a session that nobody will use. Its tokens are forgotten in any case, so no reply is insisted on."""
    with suppress(Refusal, Unreachable):
        await calls.end_session(http, tokens.access_token)
