"""Sessions: opened by signing in, proven by tokens, carried on by refreshing, ended by their owner or by a theft seen.

A session's end withdraws its tokens and the relay tickets of its device. A device that is lost is revoked
(`domain.people.devices`), which ends its sessions too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.people.events import TicketsRevoked
from domain.people.model import Actor, Session
from domain.people.ports import DeviceStore, SessionStore
from domain.people.tokens import SECRET_BYTES, Token
from domain.ports import Bus, Clock, Entropy
from varde_contract.ids import ENTROPY_BYTES, AccountId, SessionId, uuid7
from varde_contract.refusals import RefusalCode, Refused

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
ACCESS_TIME: Final = 1 * HOUR
REFRESH_TIME: Final = 90 * DAY
RETRY_TIME: Final = 60_000
"""How long a refresh may be asked for again with the same token, though its answer has arrived."""
SPENT_KEPT: Final = 4
"""Digests of used refresh tokens by which a theft is seen: only what was a token of the session says anything."""

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

    def __init__(self, store: SessionStore, devices: DeviceStore, bus: Bus, *, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._devices = devices
        self._bus = bus
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
        # After the match: whoever makes a token up out of ids learns nothing of the session's time.
        if session.access_expires_ms <= self._clock():
            return _ACCESS_EXPIRED
        if not session.used:
            await self._store.mark_used(session.account, session.id, session.access_digest)
        return Actor(session.account, session.id, session.device)

    async def refresh(self, spelled: str) -> Granted | Refused:
        """Trade a refresh token for new tokens, once; shown again, the session ends.

        The token that made the present ones may be shown again for as long as nobody has used those: its answer may
        have been lost, and a client asks again only when it needs to. The tokens of that answer are then spent: whoever
        has them ends the session with their next refresh, so a thief who was as quick is still seen.
        Refuses `unauthenticated` and `token-expired`.
        """
        token = Token.parse(spelled)
        session = await self._session_of(token)
        if token is None or session is None:
            return _UNKNOWN
        if token.matches(session.refresh_digest):
            if session.refresh_expires_ms <= self._clock():
                return _REFRESH_EXPIRED
            return await self._rotate(session, parent=session.refresh_digest)
        if session.parent_digest is not None and token.matches(session.parent_digest):
            if not session.used or self._clock() < session.refreshed_ms + RETRY_TIME:
                return await self._rotate(session, parent=session.parent_digest)
            return await self._end_stolen(session)
        if any(token.matches(spent) for spent in session.spent_digests):
            return await self._end_stolen(session)
        return _UNKNOWN  # never a token of this session: anybody can make one up from ids that are no secrets

    async def list_live(self, actor: Actor) -> Sequence[Session]:
        """Return the sessions of the account that can still be carried on, oldest first."""
        return await self._store.list_live(actor.account, self._clock())

    async def end(self, actor: Actor, session: SessionId) -> Refused | None:
        """End a session of the account, be it one's own, and void the tickets of its device. Refuses `not-found`."""
        found = await self._store.find(actor.account, session)
        if found is None or not await self._store.end(actor.account, session):
            return _NO_SESSION
        await self._void_tickets(found)
        return None

    async def _session_of(self, token: Token | None) -> Session | None:
        return None if token is None else await self._store.find(token.account, token.session)

    async def _rotate(self, old: Session, *, parent: bytes) -> Granted | Refused:
        now = self._clock()
        # A retry spends the tokens of the answer that was lost; otherwise the parent before is spent.
        spent = old.refresh_digest if parent == old.parent_digest else old.parent_digest
        granted = self._grant(old.account, old.id, now, carried_on=old, parent=parent, spent=spent)
        if await self._store.rotate(granted.session, old_refresh_digest=old.refresh_digest):
            return granted
        # Two at once showed the same token, and the other one was faster. A client asks one at a time (`varde.rest`),
        # so one of the two has a copy.
        return await self._end_stolen(old)

    async def _end_stolen(self, session: Session) -> Refused:
        await self._store.end(session.account, session.id)
        await self._void_tickets(session)
        return _REUSED

    async def _void_tickets(self, session: Session) -> None:
        if session.device is not None:
            now = self._clock()
            # Stored before it is told: a node that starts in between reads it with its snapshot.
            await self._devices.void_tickets(session.account, session.device, now)
            await self._bus.publish([TicketsRevoked(session.device, now, final=False)])

    def _grant(
        self,
        account: AccountId,
        session: SessionId,
        now: int,
        *,
        carried_on: Session | None = None,
        parent: bytes | None = None,
        spent: bytes | None = None,
    ) -> Granted:
        access = Token(account, session, self._entropy(SECRET_BYTES))
        refresh = Token(account, session, self._entropy(SECRET_BYTES))
        before = carried_on.spent_digests if carried_on else ()
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
            parent_digest=parent,
            spent_digests=((spent,) if spent else ()) + before[: SPENT_KEPT - 1],
            used=carried_on is None,  # whoever signed in and lost the answer signs in again
        )
        return Granted(stored, access, refresh)
