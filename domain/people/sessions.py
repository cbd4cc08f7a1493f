"""Sessions: opened by signing in, proven by tokens, carried on by refreshing, ended by their owner or by a theft seen.

A session's end withdraws its tokens and nothing else: a device that is lost is revoked (`domain.people.devices`), which
ends its sessions too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.people.model import Actor, Session
from domain.people.ports import SessionStore
from domain.people.tokens import SECRET_BYTES, Token
from domain.ports import Clock, Entropy
from varde_contract.ids import ENTROPY_BYTES, AccountId, SessionId, uuid7
from varde_contract.refusals import RefusalCode, Refused

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
ACCESS_TIME: Final = 1 * HOUR
REFRESH_TIME: Final = 90 * DAY

_UNKNOWN: Final = Refused(RefusalCode.UNAUTHENTICATED, "The token is not that of a session. Sign in again.")
_ACCESS_EXPIRED: Final = Refused(RefusalCode.TOKEN_EXPIRED, "The access token has expired. Use the refresh token.")
_REFRESH_EXPIRED: Final = Refused(RefusalCode.TOKEN_EXPIRED, "The refresh token has expired. Sign in again.")
_REUSED: Final = Refused(
    RefusalCode.UNAUTHENTICATED,
    "This refresh token is not the newest one, so somebody has a copy: the session has been ended. Sign in again.",
)
_NO_SESSION: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such session.")


@dataclass(frozen=True, slots=True)
class Granted:
    """A session with the tokens that were just made for it: the only time they are here."""

    session: Session
    access: Token = field(repr=False)
    refresh: Token = field(repr=False)


class Sessions:
    """The sessions of all accounts."""

    def __init__(self, store: SessionStore, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    async def open(self, account: AccountId) -> Granted:
        """Open a session for somebody who has just proven to own the account."""
        now = self._clock()
        granted = self._grant(account, SessionId(uuid7(now, self._entropy(ENTROPY_BYTES))), now)
        await self._store.add(granted.session)
        return granted

    async def authenticate(self, spelled: str) -> Actor | Refused:
        """Say who shows this access token. Refuses `unauthenticated` and `token-expired`."""
        token = Token.parse(spelled)
        session = await self._session_of(token)
        if token is None or session is None or not token.matches(session.access_digest):
            return _UNKNOWN
        if session.access_expires_ms <= self._clock():
            return _ACCESS_EXPIRED
        return Actor(session.account, session.id, session.device)

    async def refresh(self, spelled: str) -> Granted | Refused:
        """Trade a refresh token for new tokens, once; shown again, the session ends.

        Refuses `unauthenticated` and `token-expired`.
        """
        token = Token.parse(spelled)
        session = await self._session_of(token)
        if token is None or session is None or token.matches(session.access_digest):
            return _UNKNOWN  # an access token here is a slip of the client, not a theft
        if not token.matches(session.refresh_digest):
            return await self._end_stolen(session)
        if session.refresh_expires_ms <= self._clock():
            return _REFRESH_EXPIRED
        return await self._rotate(session)

    async def list_live(self, actor: Actor) -> Sequence[Session]:
        """Return the sessions of the account that can still be carried on, oldest first."""
        return await self._store.list_live(actor.account, self._clock())

    async def end(self, actor: Actor, session: SessionId) -> Refused | None:
        """End a session of the account, be it one's own. Refuses `not-found`."""
        return None if await self._store.end(actor.account, session) else _NO_SESSION

    async def _session_of(self, token: Token | None) -> Session | None:
        return None if token is None else await self._store.find(token.account, token.session)

    async def _rotate(self, old: Session) -> Granted | Refused:
        now = self._clock()
        granted = self._grant(old.account, old.id, now, carried_on=old)
        if await self._store.rotate(granted.session, old_refresh_digest=old.refresh_digest):
            return granted
        # Two at once showed the same token, and the other one was faster.
        return await self._end_stolen(old)

    async def _end_stolen(self, session: Session) -> Refused:
        await self._store.end(session.account, session.id)
        return _REUSED

    def _grant(self, account: AccountId, session: SessionId, now: int, carried_on: Session | None = None) -> Granted:
        access = Token(account, session, self._entropy(SECRET_BYTES))
        refresh = Token(account, session, self._entropy(SECRET_BYTES))
        stored = Session(
            account=account,
            id=session,
            device=carried_on.device if carried_on else None,
            access_digest=access.digest(),
            access_expires_ms=now + ACCESS_TIME,
            refresh_digest=refresh.digest(),
            refresh_expires_ms=now + REFRESH_TIME,
            created_ms=carried_on.created_ms if carried_on else now,
            refreshed_ms=now,
        )
        return Granted(stored, access, refresh)
