"""Invite links to people: who may ask a profile because they were given a link, how often, and until when.

The server knows a digest of what a link's holder shows, and no secret: whether the one who asks really had the link is
proven to the inviter's client, inside the encryption. A link to a group needs nothing here: it is a statement of the
group's chain (`domain.talk.chains`).
"""

import hmac
from collections.abc import Sequence
from typing import Final

from domain.people.model import Actor
from domain.people.ports import ProfileStore
from domain.ports import Clock
from domain.talk.model import Link
from domain.talk.ports import LinkStore
from varde_contract.ids import AccountId, LinkId, ProfileId
from varde_contract.limits import LINK_DAYS, LINKS_PER_ACCOUNT
from varde_contract.links import token_digest
from varde_contract.refusals import RefusalCode, Refused

DAY: Final = 24 * 60 * 60 * 1_000
NO_LINK: Final = Refused(RefusalCode.NOT_FOUND, "This link is not good any more, or never was. Ask for a new one.")
_NO_PROFILE: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such profile.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, f"An account has at most {LINKS_PER_ACCOUNT} links. Revoke one.")
_NO_TIME: Final = Refused(RefusalCode.NOT_ALLOWED, f"A link ends in the future, within {LINK_DAYS} days.")


class Links:
    """The links of all accounts."""

    def __init__(self, store: LinkStore, profiles: ProfileStore, *, clock: Clock) -> None:
        self._store = store
        self._profiles = profiles
        self._clock = clock

    async def put(
        self, actor: Actor, link: LinkId, profile: ProfileId, *, digest: bytes, uses: int, expires_ms: int
    ) -> Link | Refused:
        """Make a link. The same id again is the link that is there. Refuses `not-found`, `not-allowed`, `too-many`."""
        now = self._clock()
        if not now < expires_ms <= now + LINK_DAYS * DAY:
            return _NO_TIME
        if await self._profiles.find(actor.account, profile) is None:
            return _NO_PROFILE
        made = Link(actor.account, link, profile, digest, uses, expires_ms, now)
        return await self._store.add(made, now, LINKS_PER_ACCOUNT) or _TOO_MANY

    async def list_all(self, actor: Actor) -> Sequence[Link]:
        """Return the account's links that somebody can still use, newest first."""
        return await self._store.list_live(actor.account, self._clock())

    async def revoke(self, actor: Actor, link: LinkId) -> None:
        """Let nobody ask by a link any more, those neither who have used it and not asked yet."""
        await self._store.remove(actor.account, link)

    async def use(self, actor: Actor, account: AccountId, profile: ProfileId, token: bytes) -> Refused | None:
        """Let the actor ask a profile, until the link ends. Refuses `not-found`, one word for every reason.

        An account uses a link up once, however often it asks.
        """
        shown, found = token_digest(token), None
        # Compared with each, to the end: how long it takes says neither which bytes fit nor whether there are links.
        for link in await self._store.list_of(account, profile):
            if hmac.compare_digest(link.digest, shown):
                found = link
        # Asked in vain as well, for the same reason.
        link_id = LinkId(profile) if found is None else found.id
        used = await self._store.use(account, link_id, actor.account, self._clock())
        return None if used else NO_LINK
