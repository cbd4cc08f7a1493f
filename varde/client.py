"""The face of a connected client: who it is, its conversations, its account. Made by `varde.connect`."""

from collections.abc import Sequence
from contextlib import suppress

from varde.access import SESSION
from varde.conversation import Conversation
from varde.crypto.safety import safety_number
from varde.errors import Busy, NotFound, RootKeyChanged, Unreachable, UntrustedDevice
from varde.happenings import Happening
from varde.link import TICKET
from varde.me import Me
from varde.services import Services
from varde.speaking import default_profile
from varde.store.contacts import Contacts
from varde.stream import Happenings
from varde_contract.frames import Presence, PresenceState
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.auth import SessionView
from varde_contract.rest.conversations import ConversationKind, ConversationView, NewConversation
from varde_contract.rest.devices import DeviceView


class Client:
    """One enrolled device, connected. Made by `connect`."""

    def __init__(self, services: Services) -> None:
        self.me: Me = services.me
        self.contacts: Contacts = services.store.contacts
        self._services = services

    def __repr__(self) -> str:
        return "<Client>"

    def happenings(self) -> Happenings[Happening]:
        """Iterate over everything that happens from now on, and over kept things that nobody was handed yet.

        Raises, at the end, why this client came to it: DeviceRevoked, Replaced, SignedOut, LinkRefused.
        """
        return self._services.stream.everything()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a relay now."""
        return self._services.post.connected

    async def wait_connected(self) -> None:
        """Return when there is a connection. Raises why there will be none. The caller sets a deadline."""
        await self._services.post.wait_connected()

    def conversation(self, conversation: ConversationId) -> Conversation:
        """Return a conversation by its id, known or not yet."""
        return Conversation(conversation, self._services)

    async def conversations(self) -> tuple[Conversation, ...]:
        """Return this device's conversations, with their rosters; only those in the store when the API is away."""
        with suppress(Unreachable, Busy):
            await self._fetch_conversations()
        return tuple(self.conversation(each) for each in self._services.store.conversations.all_ids())

    async def open_dm(self, profile: ProfileId, *, as_profile: ProfileId | None = None) -> Conversation:
        """Open the conversation with one other profile, or return the one that is there.

        Raises NotFound, RootKeyChanged, UntrustedDevice, Refusal, Unreachable.
        """
        mine = default_profile(self.me, as_profile)
        view = await self._open(ConversationKind.DM, mine, (profile,))
        return self._taken(view, ConversationKind.DM, {mine, profile})

    async def open_group(self, profiles: Sequence[ProfileId], *, as_profile: ProfileId | None = None) -> Conversation:
        """Open a new group with these profiles; this account's is its owner. Raises what `open_dm` raises."""
        mine = default_profile(self.me, as_profile)
        view = await self._open(ConversationKind.GROUP, mine, tuple(profiles))
        return self._taken(view, ConversationKind.GROUP, {mine, *profiles})

    async def open_self(self, *, as_profile: ProfileId | None = None) -> Conversation:
        """Open the conversation with oneself: notes, on all own devices. Raises what `open_dm` raises."""
        mine = default_profile(self.me, as_profile)
        view = await self._open(ConversationKind.SELF, mine, ())
        return self._taken(view, ConversationKind.SELF, {mine})

    def presence(self, state: PresenceState | str, *, as_profile: ProfileId | None = None) -> None:
        """Show a state of one's own. Said once, to who is there now."""
        self._services.post.tell(Presence(default_profile(self.me, as_profile), PresenceState(state)))

    async def devices(self) -> tuple[DeviceView, ...]:
        """Return this account's devices. Raises Refusal, Unreachable."""
        return (await self._services.rest.devices()).devices

    async def revoke_device(self, device: DeviceId) -> None:
        """Revoke a device for ever: it is cut at once, and nothing is sealed for it any more."""
        await self._services.rest.revoke_device(device)

    async def sessions(self) -> tuple[SessionView, ...]:
        """Return this account's live sessions."""
        return (await self._services.rest.sessions()).sessions

    async def end_session(self, session: SessionId) -> None:
        """End a session. Its device stays and may come back with `sign_in_again`: revoke it instead when it is lost."""
        await self._services.rest.end_session(session)

    async def log_out(self) -> None:
        """Revoke this very device and forget its session. What was said stays in the store, for its key alone."""
        await self._services.rest.revoke_device(self.me.device)
        with self._services.store.transaction():
            self._services.store.settings.remove(SESSION)
            self._services.store.settings.remove(TICKET)

    def safety_number(self, account: AccountId) -> str:
        """Return 60 digits for two people to compare over another way. Raises NotFound for an account never met."""
        pins = self._services.store.pins
        mine, theirs = pins.root_key(self.me.account), pins.root_key(account)
        if mine is None or theirs is None:
            raise NotFound(RefusalCode.NOT_FOUND, "This device has not met that account yet.")
        return safety_number((self.me.account, mine), (account, theirs))

    async def _open(self, kind: ConversationKind, mine: ProfileId, members: tuple[ProfileId, ...]) -> ConversationView:
        return await self._services.rest.open_conversation(NewConversation(kind, mine, members))

    def _taken(self, view: ConversationView, kind: ConversationKind, members: set[ProfileId]) -> Conversation:
        if view.kind is not kind:
            # A dm that is called a group could be given further members later.
            raise UntrustedDevice("the server opened a conversation of another kind than asked for")
        if {member.profile for member in view.members} != members:
            raise UntrustedDevice("the server opened a conversation with other members than those asked for")
        self._services.rosters.take(view)
        return self.conversation(view.conversation)

    async def _fetch_conversations(self) -> None:
        after: ConversationId | None = None
        while True:
            page = await self._services.rest.conversations(after)
            for summary in page.conversations:
                self._services.rosters.note(summary.conversation, summary.roster_version)
                try:
                    await self._services.rosters.current(summary.conversation)
                except (NotFound, RootKeyChanged, UntrustedDevice):
                    continue  # left meanwhile, or not to be believed: a send will say which
            if page.next is None:
                return
            after = page.next
