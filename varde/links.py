"""Invite links: made, listed, revoked and used; and letting in who asks by one of this device's.

A person's link is proven end to end: who asks shows, inside the encryption, that they have its secret, and the client
that made it accepts by itself. A group's link is a statement of the group's chain, and needs nobody.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import trio
from msgspec import Struct

from varde.clock import fresh_id, now_ms
from varde.errors import Busy, NotFound, Refusal, UntrustedDevice, VardeError
from varde.events import LinkUsed, Request, at
from varde.first_words import FirstContact, link_proof
from varde.identity import Identity
from varde.joins import Joins
from varde.memberships import Memberships
from varde.rest import Rest
from varde.rosters import Rosters
from varde.store import Store
from varde.store.links import OwnLink
from varde.store.people import NamedAccount
from varde.typed import read_link
from varde_contract.ids import ID_BYTES, ConversationId, LinkId, ProfileId
from varde_contract.limits import LINK_DAYS, LINK_USES
from varde_contract.links import (
    SECRET_BYTES,
    GroupLink,
    Link,
    LinkFault,
    PersonLink,
    parse_link,
    root_key_hash,
    token_digest,
)
from varde_contract.membership_statements import InviteLink
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import LinkUse, NewLink
from varde_contract.talk import ConversationKind, Role

INTRODUCTION_SECONDS = 20.0
"""For the first words, which carry the proof. Later they go with the first text that is written."""
INTRODUCTION_PAUSES = (0.0, 1.0, 5.0)
"""After each try: a connection was lost meanwhile, or a device has no prekey yet. Each try claims one."""
CODE_LETTERS = 8


class LinkInfo(Struct, frozen=True):
    """A link of this account or of a group, as it stands. `code` is short, and names it to who revokes it.

    `url` is there on the device that made the link. Of a group's link `conversation` is set, of a person's `profile`.
    """

    code: str
    uses: int
    expires: datetime
    profile: ProfileId | None = None
    conversation: ConversationId | None = None
    url: str | None = None


class Links:
    """The links of one client."""

    def __init__(
        self,
        store: Store,
        rest: Rest,
        rosters: Rosters,
        memberships: Memberships,
        first_contact: FirstContact,
        joins: Joins,
        identity: Identity,
        origin: str,
    ) -> None:
        """`origin` is the API's, which links are addressed to."""
        self.origin = origin
        self._store = store
        self._rest = rest
        self._rosters = rosters
        self._memberships = memberships
        self._first_contact = first_contact
        self._joins = joins
        self._identity = identity
        self._accepting = trio.Lock()

    async def make_person(self, profile: ProfileId, expires_ms: int, uses: int) -> PersonLink:
        """Make a link to a profile of this account. Raises Refusal, Unreachable."""
        _check(expires_ms, uses)
        root = self._rosters.lists.known_root_key(self._identity.account)
        link = PersonLink(self.origin, profile, self._identity.account, root_key_hash(root), os.urandom(SECRET_BYTES))
        key = LinkId(fresh_id())
        # First here: a link that the server knows and this device does not would let people ask and nobody in.
        with self._store.transaction():
            self._forget_ended()
            self._store.own_links.put(key.bytes, OwnLink(link.url, now_ms(), expires_ms, uses))
        try:
            await self._rest.put_link(key, NewLink(profile, token_digest(link.token), uses, at(expires_ms)))
        except Refusal:
            with self._store.transaction():
                self._store.own_links.remove(key.bytes)
            raise
        return link

    async def make_group(self, conversation: ConversationId, expires_ms: int, uses: int, role: Role) -> GroupLink:
        """Make a link into a group. Raises Refusal, Unreachable."""
        _check(expires_ms, uses)
        made = await self._memberships.make_link(self.origin, conversation, expires_ms, uses, role)
        with self._store.transaction():
            self._forget_ended()
            self._store.own_links.put(made.key, OwnLink(made.url, now_ms(), expires_ms, uses))
        return made

    async def all(self) -> Sequence[LinkInfo]:
        """Return the links that somebody can still use: to this account's profiles, and into its groups."""
        return [info for _, info in await self._all()]

    async def _all(self) -> list[tuple[bytes, LinkInfo]]:
        own = self._store.own_links.all()
        urls = {key: link.url for key, link in own.items()}
        found = []
        for view in (await self._rest.links()).links:
            key = view.link.bytes
            # The end of an id: it begins with the time, which links that were made together have in common.
            info = LinkInfo(key.hex()[-CODE_LETTERS:], view.uses, view.expires_at, view.profile, None, urls.get(key))
            found.append((key, info))
        for conversation in self._store.chains.all_ids():
            chain, now = self._store.chains.find(conversation), now_ms()
            accounts = set() if chain is None else {each.account for each in chain.state.accepted.values()}
            if chain is None or self._identity.account not in accounts:
                continue
            for key, link in chain.state.links.items():
                if link.expires_ms > now:
                    place = None, conversation, urls.get(key)
                    found.append((key, LinkInfo(key.hex()[:CODE_LETTERS], link.uses, at(link.expires_ms), *place)))
        return found

    async def revoke(self, code: str) -> LinkInfo:
        """Let nobody come by a link any more, and return which it was. Raises NotFound, Refusal, Unreachable."""
        wanted = code.strip().lower()
        matching = [(key, info) for key, info in await self._all() if wanted and info.code.startswith(wanted)]
        if len(matching) != 1:
            what = "No link has this code." if not matching else "Several links begin with this: give the whole code."
            raise NotFound(RefusalCode.NOT_FOUND, what)
        ((key, info),) = matching
        # First here: whatever the server does, this device lets nobody in by it.
        with self._store.transaction():
            self._store.own_links.remove(key)
        if info.conversation is None:
            await self._rest.revoke_link(LinkId(UUID(bytes=key)))
        else:
            # The same key again, with no time and no uses left: that replaces the link.
            await self._memberships.say(info.conversation, lambda head: InviteLink(*head, key, 0, 0, Role.MEMBER))
        return info

    def parse(self, text: str, *, same_server: bool = False) -> Link:
        """Read a link that is to be used here. Raises VardeError for what is none, or leads to another server."""
        try:
            link = parse_link(read_link(text))
        except LinkFault as fault:
            raise VardeError(str(fault), code="bad-link", advice="copy the whole link once more") from None
        if link.origin != self.origin and not same_server:
            what = f"this link leads to {link.origin}, and this device belongs to {self.origin}"
            raise VardeError(what, code="other-server", advice="use a device that is signed up there")
        return link

    async def use(self, link: Link, profile: ProfileId) -> ConversationId:
        """Come into a group, or ask a person, whose client accepts by itself once it runs.

        Raises NotFound where the link is used up, expired, revoked or unknown, UntrustedDevice where the server shows
        another group, account or root key than the link names, Refusal, Unreachable.
        """
        if isinstance(link, GroupLink):
            await self._memberships.join(link, profile)
            return link.conversation
        if link.account == self._identity.account:
            raise VardeError("this link leads to yourself", code="own-link", advice="give it to somebody else")
        await self._rest.use_link(LinkUse(link.account, link.profile, link.token))
        await self._rosters.learn_profile(link.profile, NamedAccount(link.account, link.root_hash))
        conversation = await self._memberships.open(ConversationKind.DM, profile, [link.profile])
        if not self._memberships.state(conversation).members[link.profile].accepted:
            await self._introduce(conversation, profile, link)
        return conversation

    async def _introduce(self, conversation: ConversationId, profile: ProfileId, link: PersonLink) -> None:
        root = root_key_hash(self._rosters.lists.known_root_key(self._identity.account))
        with self._store.transaction():
            self._store.settings.put(link_proof(conversation), link.proof(self._identity.account, profile, root))
        with trio.move_on_after(INTRODUCTION_SECONDS):
            for pause in INTRODUCTION_PAUSES:
                await self._joins.wait_caught_up(conversation)
                if await self._first_contact.introduce(
                    conversation, profile, lambda: self._joins.may_encrypt(conversation)
                ):
                    return
                await trio.sleep(pause)

    @property
    def expects_somebody(self) -> bool:
        """Whether anybody may come by a link of this device: otherwise no request is looked at because of links."""
        own, now = self._store.own_links.all(), now_ms()
        return any(link.expires_ms > now for key, link in own.items() if len(key) == ID_BYTES)

    async def accept_waiting(self, publish: Callable[[LinkUsed], None]) -> None:
        """Accept who asks by a link of this device, each account once. Raises Refusal, Unreachable.

        By this device's own count and clock: a server that lets more people ask than it may lets nobody in.
        """
        async with self._accepting:
            if not self.expects_somebody:
                return
            for request in await self._memberships.requests():
                if not self._may_come(request):
                    continue
                try:
                    await self._memberships.accept(request.conversation)
                    await self._rosters.refresh(request.conversation)
                except Busy:
                    raise
                except (Refusal, UntrustedDevice):
                    continue  # one that was withdrawn meanwhile, say, must not keep the others out
                publish(LinkUsed(request.conversation, request.invited_by, request.account))

    def _may_come(self, request: Request) -> bool:
        """Whether a request came by a link of this device that is good, which is noted as used then."""
        key = self._first_contact.link_of(request.conversation)
        link = None if key is None else self._store.own_links.find(key)
        if key is None or link is None or link.expires_ms <= now_ms():
            return False
        # To be written to is what the link is for, and not to be taken into a group of whomever.
        if request.kind is not ConversationKind.DM:
            return False
        if request.account not in link.used and len(link.used) >= link.uses:
            return False
        # The same request again: it was noted, and then the answer of the server was lost. Another one is of somebody
        # who came, and was left or declined since: that is for a person to answer.
        if link.used.setdefault(request.account, request.conversation) != request.conversation:
            return False
        with self._store.transaction():
            self._store.own_links.put(key, link)
        return True

    def _forget_ended(self) -> None:
        now = now_ms()
        for key, link in self._store.own_links.all().items():
            if link.expires_ms <= now:
                self._store.own_links.remove(key)


def _check(expires_ms: int, uses: int) -> None:
    if not 1 <= uses <= LINK_USES:
        raise VardeError(f"a link is for 1 to {LINK_USES} people", code="out-of-range")
    if not now_ms() < expires_ms <= now_ms() + LINK_DAYS * 24 * 60 * 60 * 1_000:
        raise VardeError(f"a link ends in the future, within {LINK_DAYS} days", code="out-of-range")
