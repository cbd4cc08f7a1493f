"""A connected client: who it is, its conversations, its account."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec.structs import replace

from varde.conversation import Conversation
from varde.crypto.root_key import safety_number
from varde.device import PHRASE_KEPT
from varde.errors import Busy, ListRollback, NotFound, RootKeyChanged, Unreachable, UntrustedDevice, VardeError
from varde.event_stream import EventIterator
from varde.events import ContactShared, Event, Request
from varde.identity import Identity, default_profile
from varde.links import LinkInfo
from varde.own_list import OwnList
from varde.reconnector import TICKET
from varde.rest import SESSION
from varde.search import Found
from varde.services import Services
from varde.store.people import Contacts, NamedAccount
from varde.transparency import LoggedDeviceList
from varde_contract.frames import Presence
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId
from varde_contract.links import Link, PersonLink
from varde_contract.names import clean_name
from varde_contract.people import FoundBy
from varde_contract.rest.people import DeviceView, ProfileUpdate, SessionView
from varde_contract.talk import ConversationKind, PresenceState
from varde_contract.user_names import UserNameFault, normal_user_name


class Client:
    """One enrolled device, connected. Made by `connect`."""

    def __init__(self, services: Services) -> None:
        self.identity: Identity = services.identity
        self.contacts: Contacts = services.store.contacts
        self._services = services

    def __repr__(self) -> str:
        return "<Client>"

    def events(self) -> EventIterator[Event]:
        """Iterate over stored events that no iterator was handed yet, then over everything that happens from now on.

        Raises, at the end, why the client ended: DeviceRevoked, Replaced, SignedOut, ConnectionRefused.
        """
        return self._services.events.everything(self.conversation)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a relay now."""
        return self._services.outbox.connected

    @property
    def keeps_phrase(self) -> bool:
        """Whether the recovery phrase is kept here still, because nobody has said that it is on paper."""
        return bool(self._services.store.settings.find(PHRASE_KEPT, bool))

    async def wait_connected(self) -> None:
        """Return when there is a connection. Raises why there will be none. The caller sets a deadline."""
        await self._services.outbox.wait_connected()

    def reconnect(self) -> None:
        """Try to connect now, instead of after the time that `Disconnected` named. Connected, it does nothing."""
        self._services.outbox.reconnect()

    async def wait_ended(self) -> VardeError:
        """Return why the client has ended: what `events` raises at its end. No deadline."""
        return await self._services.events.wait_end()

    def conversation(self, conversation: ConversationId) -> Conversation:
        """Return a conversation by its id, known or not yet."""
        return Conversation(conversation, self._services)

    async def conversations(self) -> tuple[Conversation, ...]:
        """Return this device's conversations, with their rosters; when the API is unreachable, those in the store."""
        with suppress(Unreachable, Busy):
            await self._fetch_conversations()
        return tuple(self.conversation(each) for each in self._services.store.conversations.all_ids())

    async def requests(self) -> tuple[Request, ...]:
        """Return who wants to write to this account and waits for an answer. Raises Refusal, Unreachable.

        Who asks by a link of this device is accepted first, and is not among them.
        """
        await self._services.links.accept_waiting(self._services.events.publish)
        return await self._services.memberships.requests()

    async def account_of(self, profile: ProfileId) -> AccountId:
        """Return whose profile it is. Raises NotFound where there is none that this account may find."""
        return await self._services.memberships.account_of(profile)

    async def block(self, account: AccountId) -> None:
        """Show nothing any more of what an account asks, and leave the dms with it. Raises Refusal, Unreachable.

        It is not told of the block, but sees that the dms were left. Groups that both are in stay as they are.
        """
        # First the block: who is blocked could otherwise ask again between the two.
        await self._services.rest.block(account)
        await self._services.memberships.leave_dms(account)

    async def unblock(self, account: AccountId) -> None:
        """Block an account no longer: what it asked meanwhile is among the requests. Raises Refusal, Unreachable."""
        await self._services.rest.unblock(account)

    async def blocked(self) -> tuple[AccountId, ...]:
        """Return whom this account has blocked, the newest first. Raises Refusal, Unreachable."""
        return tuple(each.account for each in (await self._services.rest.blocks()).blocks)

    async def found_by(self, *, as_profile: ProfileId | None = None) -> FoundBy:
        """Return who may ask a profile into a conversation. Raises Refusal, Unreachable."""
        profile = default_profile(self.identity, as_profile)
        return (await self._services.rest.profile(profile)).policies.found_by

    async def set_found_by(self, found_by: FoundBy | str, *, as_profile: ProfileId | None = None) -> None:
        """Let everyone, those who share a conversation with it, or nobody ask a profile. Raises Refusal, Unreachable.

        Requests that wait stay as they are.
        """
        rest, profile = self._services.rest, default_profile(self.identity, as_profile)
        known = await rest.profile(profile)
        policies = replace(known.policies, found_by=FoundBy(found_by))
        await rest.replace_profile(profile, ProfileUpdate(known.theme, policies))

    async def open_dm(self, profile: ProfileId, *, as_profile: ProfileId | None = None) -> Conversation:
        """Open the conversation with one other profile, or return the one that is there.

        The other is asked, and what is sent waits until they accept. Where they asked before, this accepts. Raises
        NotFound, RootKeyChanged, UntrustedDevice, Refusal, Unreachable.
        """
        return await self._open(ConversationKind.DM, as_profile, (profile,))

    async def open_group(self, profiles: Sequence[ProfileId], *, as_profile: ProfileId | None = None) -> Conversation:
        """Open a new group and invite these profiles; this account's is its owner. Raises what `open_dm` raises."""
        return await self._open(ConversationKind.GROUP, as_profile, profiles)

    async def make_link(self, expires: datetime, *, uses: int = 1, as_profile: ProfileId | None = None) -> PersonLink:
        """Make a link to a profile of this account: who has it may ask so many times and until then, whoever it may be
        found by, and is accepted by this client while it runs. `link.url` is to be handed on, over a way you trust.

        Nobody has to believe the server who the other is: the link pins both sides. Raises VardeError, Refusal,
        Unreachable.
        """
        profile, expires_ms = default_profile(self.identity, as_profile), round(expires.timestamp() * 1_000)
        return await self._services.links.make_person(profile, expires_ms, uses)

    async def links(self) -> Sequence[LinkInfo]:
        """Return the links that somebody can still use, to this account and into its groups. Raises as `requests`.

        Who asks by one of them is accepted first: the program that asks here may be one that soon ends.
        """
        await self._services.links.accept_waiting(self._services.events.publish)
        return await self._services.links.all()

    async def revoke_link(self, code: str) -> LinkInfo:
        """Let nobody come by a link any more: by its `LinkInfo.code`. Raises NotFound, Refusal, Unreachable."""
        return await self._services.links.revoke(code)

    def parse_link(self, text: str, *, same_server: bool = False) -> Link:
        """Read a link, to show what it leads to before it is used.

        Raises VardeError for what is none. With `same_server` also one with another address is taken: of the same
        server, by the caller's word.
        """
        return self._services.links.parse(text, same_server=same_server)

    async def use_link(self, link: Link | str, *, as_profile: ProfileId | None = None) -> Conversation:
        """Come into a group, or ask the person that a link leads to. What was said in a group before cannot be read.

        Raises VardeError for what is no link of this server, NotFound where it is used up, expired or revoked,
        UntrustedDevice where the server shows another group, account or root key than the link names, Refusal,
        Unreachable.
        """
        parsed = self.parse_link(link) if isinstance(link, str) else link
        profile = default_profile(self.identity, as_profile)
        return self.conversation(await self._services.links.use(parsed, profile))

    def shared_contacts(self) -> Sequence[ContactShared]:
        """Return the contact cards that others passed on, in the order of their coming."""
        return self._services.store.log.shared_contacts()

    async def add_shared_contact(self, card: ContactShared, name: str | None = None) -> None:
        """Keep somebody who was passed on as a contact, pinned to the root key that the card names.

        Raises ValueError where the name stands for somebody else, NotFound where they do not let this account find
        them, UntrustedDevice where the server shows another account or root key, Refusal, Unreachable.
        """
        called, contacts = clean_name(name or card.name), self.contacts
        # Whoever sends a card chooses a name for it: it must not take the place of somebody who is known by that.
        if contacts.profile_of(called) not in {None, card.contact}:
            raise ValueError("this name stands for somebody else")
        await self._services.rosters.learn_profile(card.contact, NamedAccount(card.contact_account, card.root_hash))
        contacts.add(called, card.contact, card.profile)

    def user_name(self, *, as_profile: ProfileId | None = None) -> str | None:
        """Return the user name of a profile as this device set it last: the server keeps only a hash of it."""
        profile = default_profile(self.identity, as_profile)
        return self._services.store.settings.find(_user_name_of(profile), str)

    async def set_user_name(self, name: str, *, as_profile: ProfileId | None = None) -> None:
        """Let a profile be found by this name, as its `found_by` allows. Raises VardeError, Refusal, Unreachable."""
        profile, normal = default_profile(self.identity, as_profile), _user_name(name)
        await self._services.rest.set_user_name(profile, normal)
        with self._services.store.transaction():
            self._services.store.settings.put(_user_name_of(profile), normal)

    async def remove_user_name(self, *, as_profile: ProfileId | None = None) -> None:
        """Let a profile be found by no user name. Raises Refusal, Unreachable."""
        profile = default_profile(self.identity, as_profile)
        await self._services.rest.remove_user_name(profile)
        with self._services.store.transaction():
            self._services.store.settings.remove(_user_name_of(profile))

    async def find_user_name(self, name: str) -> ProfileId:
        """Return whose user name it is, by the server's word: compare safety numbers. Raises VardeError, NotFound."""
        return (await self._services.rest.find_user_name(_user_name(name))).profile

    async def open_self(self, *, as_profile: ProfileId | None = None) -> Conversation:
        """Open the conversation with oneself: notes, on all own devices. Raises what `open_dm` raises."""
        return await self._open(ConversationKind.SELF, as_profile, ())

    async def search(
        self,
        words: str,
        *,
        conversation: ConversationId | None = None,
        limit: int = 20,
        before: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Found, ...]:
        """Return the newest messages on this device in which all the words are, the newest first; at most 500.

        Of a word the beginning is enough, a "phrase" is in quotation marks, and case does not matter. Edited messages
        are found by their new text. To go on, give the `position` of the last one as `before`. The first search opens
        the index, or makes it: `progress` is then told how many entries of how many are done. Raises VardeError for
        more than 1,000 characters or 32 words.
        """
        return await self._services.search.find(
            words, conversation=conversation, limit=limit, before=before, progress=progress
        )

    def presence(self, state: PresenceState | str, *, as_profile: ProfileId | None = None) -> None:
        """Set a profile's presence. Sent once, to who is connected now; not stored."""
        self._services.outbox.send_nowait(Presence(default_profile(self.identity, as_profile), PresenceState(state)))

    async def devices(self) -> tuple[DeviceView, ...]:
        """Return this account's devices. Raises Refusal, Unreachable."""
        return (await self._services.rest.devices()).devices

    @property
    def own_list(self) -> OwnList:
        """This account's device list, and what can be changed of it."""
        return self._services.own_list

    async def revoke_device(self, device: DeviceId, *, recovery_phrase: str | None = None) -> None:
        """Revoke a device for ever: it is disconnected at once, and nothing is encrypted for it any more.

        This device signs that, which must be a manager, or the root key of the recovery phrase. Raises NotFound,
        NotAllowed, WrongPhrase, Refusal, Unreachable.
        """
        await self._services.own_list.revoke(device, recovery_phrase)

    async def sessions(self) -> tuple[SessionView, ...]:
        """Return this account's live sessions."""
        return (await self._services.rest.sessions()).sessions

    async def end_session(self, session: SessionId) -> None:
        """End a session. Its device stays and may come back with `sign_in_again`: revoke it instead when it is lost."""
        await self._services.rest.end_session(session)

    async def log_out(self, *, recovery_phrase: str | None = None) -> None:
        """Revoke this very device and forget its session. Messages stay in the store, readable with its key.

        Raises what `revoke_device` raises: a device that is no manager leaves the list with the phrase only.
        """
        await self.revoke_device(self.identity.device, recovery_phrase=recovery_phrase)
        with self._services.store.transaction():
            self._services.store.settings.remove(SESSION)
            self._services.store.settings.remove(TICKET)

    def safety_number(self, account: AccountId) -> str:
        """Return 60 digits for two people to compare over another way. Raises NotFound for an account never met."""
        lists = self._services.keychain.trust.lists
        mine, theirs = lists.known_root_key(self.identity.account), lists.known_root_key(account)
        return safety_number((self.identity.account, mine), (account, theirs))

    async def logged_lists(self, number: int = 1) -> tuple[LoggedDeviceList, ...]:
        """Return this account's device lists in the transparency log from a number on, each proven.

        One that is not `known` was never shown to this device. Raises UnprovenList, LogForked, Refusal, Unreachable.
        """
        log, account = self._services.transparency, self.identity.account
        return tuple(log.describe(entry, index) for entry, index in await log.history(account, number))

    async def prove_list(self, number: int) -> bytes:
        """Return the proof that this account's list is in the log: a `.tlog-proof` file. Raises as `logged_lists`."""
        return await self._services.transparency.prove(self.identity.account, number)

    @property
    def log_policy(self) -> str | None:
        """What is demanded of the log, a C2SP tlog-policy file; None: nothing but what every client demands."""
        return self._services.transparency.policy()

    def set_log_policy(self, text: str | None) -> None:
        """Demand these keys of the log, and that so many of these witnesses have cosigned it within an hour.

        Otherwise nothing is sent: UnprovenList. Raises VardeError for a policy that is not for this log.
        """
        self._services.transparency.set_policy(text)

    def past_logs(self) -> tuple[bytes, ...]:
        """Return the last checkpoints of the logs that were let go, as signed notes: two of one that was forked."""
        states = self._services.store.transparency.past()
        return tuple(note for each in states for note in (each.forked or (None, each.note))[1:])

    def forget_log(self) -> None:
        """Let the log go: the next one that is shown is believed. Only a person may ask for it.

        Its last checkpoint is kept, and both where it was forked: `past_logs`.
        """
        self._services.transparency.forget()

    async def _open(
        self, kind: ConversationKind, as_profile: ProfileId | None, invited: Sequence[ProfileId]
    ) -> Conversation:
        mine = default_profile(self.identity, as_profile)
        others = [each for each in invited if each != mine]
        return self.conversation(await self._services.memberships.open(kind, mine, others))

    async def _fetch_conversations(self) -> None:
        after: ConversationId | None = None
        while True:
            page = await self._services.rest.conversations(after)
            for summary in page.conversations:
                self._services.rosters.note_version(summary.conversation, summary.roster_version)
                try:
                    await self._services.rosters.current(summary.conversation)
                except (NotFound, RootKeyChanged, ListRollback, UntrustedDevice):
                    continue  # left meanwhile, or not verified: a send says which
            if page.next is None:
                return
            after = page.next


def _user_name_of(profile: ProfileId) -> str:
    return f"user-name-{profile}"


def _user_name(typed: str) -> str:
    try:
        return normal_user_name(typed)
    except UserNameFault as fault:
        raise VardeError(str(fault), code="bad-user-name") from None
