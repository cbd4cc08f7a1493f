"""This device's session with the API: the access token, refreshed in time and by one caller at a time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import trio

from varde.errors import SignedOut
from varde.http import Http
from varde.store import Store
from varde_contract.refusals import RefusalCode
from varde_contract.rest.auth import Refresh, SessionTokens

T = TypeVar("T")

SESSION = "session"
"""The setting the tokens lie in."""
EARLY = timedelta(minutes=2)
"""A token this close to its end is not used for a new call."""


class Access:
    """The tokens of the store's session."""

    def __init__(self, store: Store, http: Http) -> None:
        self._store = store
        self._http = http
        self._refreshing = trio.Lock()

    def tokens(self) -> SessionTokens:
        """Return the tokens as stored. Raises SignedOut when there are none."""
        tokens = self._store.settings.find(SESSION, SessionTokens)
        if tokens is None:
            advice = "enrol again as a new device, in a new folder"
            raise SignedOut(RefusalCode.UNAUTHENTICATED, "This device has logged out for ever.", advice=advice)
        return tokens

    async def use(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Run a call with an access token, and once more with a fresh one when it turns out to be too old."""
        token = await self._token()
        try:
            return await call(token)
        except SignedOut as refusal:
            if refusal.refusal is not RefusalCode.TOKEN_EXPIRED:
                raise
        return await call(await self._refreshed(token))

    async def _token(self) -> str:
        tokens = self.tokens()
        if datetime.now(UTC) < tokens.access_expires_at - EARLY:
            return tokens.access_token
        return await self._refreshed(tokens.access_token)

    async def _refreshed(self, old: str) -> str:
        async with self._refreshing:
            tokens = self.tokens()
            if tokens.access_token != old:
                return tokens.access_token  # somebody else was faster
            # Shielded: a refresh token whose answer was not waited for is spent without its successor.
            with trio.CancelScope(shield=True):
                fresh = await self._http.call(
                    "POST", "/v1/auth/session/refresh", SessionTokens, body=Refresh(tokens.refresh_token)
                )
                with self._store.transaction():
                    self._store.settings.put(SESSION, fresh)
            return fresh.access_token
