"""A conversation as an application uses it: send, iterate, read the history, change the members."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from varde.clock import fresh_id, now_ms
from varde.errors import NotAllowed, NotEnrolled, NotFound, TooLarge
from varde.event_stream import EventIterator
from varde.events import Gap, Message, Outgoing, Sent, Undecryptable, at
from varde.identity import own_profile
from varde.sayings import text_of
from varde.services import Services
from varde.store.outbox import Draft, DraftKind
from varde_contract.bodies import (
    TEXT_CHARACTERS,
    Contact,
    Delete,
    Edit,
    Mention,
    MessageRef,
    React,
    Saying,
    SetTimer,
    Text,
    check_saying,
)
from varde_contract.frames import Read, Typing
from varde_contract.ids import ClientId, ConversationId, ProfileId
from varde_contract.links import GroupLink, root_key_hash
from varde_contract.membership_statements import ChangeRole, Decline, InviteLink, Leave, Remove
from varde_contract.names import clean_name
from varde_contract.padding import CONTENT_BYTES
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ConversationView, MemberView
from varde_contract.talk import ConversationKind, Role

ENVELOPE_OVERHEAD = 1_024
"""More than an envelope adds to its text: ids, times, lengths and eight messages seen."""


class Conversation:
    """One conversation of a connected client. Cheap: ask `Client.conversation` for it as often as you like."""

    def __init__(self, conversation: ConversationId, services: Services) -> None:
        self.id = conversation
        self._services = services

    def __repr__(self) -> str:
        return f"<Conversation {self.id}>"

    def __aiter__(self) -> EventIterator[Message]:
        """Iterate over messages of others and of own other devices, each exactly once, stored ones first."""
        return self._services.events.messages(self.id, self._in)

    def _in(self, conversation: ConversationId) -> "Conversation":
        return Conversation(conversation, self._services)

    async def send(
        self,
        text: str,
        *,
        mentions: Sequence[Mention] = (),
        reply_to: MessageRef | None = None,
        thread: MessageRef | None = None,
        as_profile: ProfileId | None = None,
    ) -> Sent:
        """Send `text` and return once it is committed: whatever dies after that, it arrives.

        Waits through lost connections for as long as the client lives. Cancelled, it stops waiting; the message is
        still sent, by this process or the next. Raises TooLarge, RootKeyChanged, UntrustedDevice, Refusal, Ended, and
        Unreachable where this device has never seen who is in the conversation. ValueError for mentions that are not
        inside the text.
        """
        timer = self._services.store.log.timer(self.id)
        return await self._say(Text(text, tuple(mentions), reply_to, thread, timer), as_profile)

    async def reply(self, message: Message, text: str) -> Sent:
        """Answer a message, in its thread if it is in one. Raises what `send` raises."""
        return await self.send(text, reply_to=message.ref, thread=message.thread)

    async def react(self, message: MessageRef, emoji: str, *, on: bool = True) -> Sent:
        """Put an emoji on a message, or take one's own away. Raises what `send` raises, ValueError for no emoji."""
        return await self._say(React(message, emoji, on))

    async def edit(self, message: MessageRef, text: str, *, mentions: Sequence[Mention] = ()) -> Sent:
        """Change the text of a message of one's own. Raises what `send` raises, NotFound, NotAllowed."""
        self._check_own(message)
        return await self._say(Edit(message, text, tuple(mentions)))

    async def delete(self, message: MessageRef) -> Sent:
        """Take a message of one's own back: it is deleted on every device that gets this. Raises as `edit`.

        Who has read it has read it, and a client that is not ours may keep it.
        """
        self._check_own(message)
        return await self._say(Delete(message))

    async def share_contact(self, profile: ProfileId, name: str | None = None) -> Sent:
        """Pass somebody on, and vouch for them: whoever gets the card believes this account who they are.

        They are called by this account's name for them, if no other is given. Raises what `send` raises, NotFound for
        somebody whose device list this device does not have, ValueError for what is no name.
        """
        services = self._services
        pinned = services.store.pins.profile(profile)
        called = name or services.store.contacts.name_of(profile)
        if pinned is None or called is None:
            raise NotFound(RefusalCode.NOT_FOUND, "This device does not know that person, or no name for them.")
        root_hash = root_key_hash(services.rosters.lists.known_root_key(pinned.account))
        return await self._say(Contact(profile, clean_name(called), pinned.account, root_hash))

    async def set_timer(self, seconds: int) -> Sent:
        """Have messages from now on deleted so long after they were read, on all devices; 0: never.

        Raises what `send` raises, ValueError for more than a year.
        """
        return await self._say(SetTimer(seconds))

    @property
    def timer(self) -> int:
        """How many seconds a message stays after it was read; 0: for ever."""
        return self._services.store.log.timer(self.id)

    def _check_own(self, message: MessageRef) -> None:
        found = self._services.store.log.message(self.id, message)
        if found is None:
            raise NotFound(RefusalCode.NOT_FOUND, "This device does not have that message.")
        if not found.mine:
            raise NotAllowed(RefusalCode.NOT_ALLOWED, "Only who wrote a message may change it.")

    async def _say(self, saying: Saying, as_profile: ProfileId | None = None) -> Sent:
        text = text_of(saying)
        if len(text) > TEXT_CHARACTERS or len(text.encode()) > CONTENT_BYTES - ENVELOPE_OVERHEAD:
            raise TooLarge("the text is too long for one message")
        check_saying(saying)
        # Only for the profile to write as. What it is encrypted for is asked again when it goes, perhaps much later.
        rosters = self._services.rosters
        # Only the own profile is taken from it. The sender asks again, for as long as it takes, before it encrypts; a
        # text that waited here for the server would be lost to whoever cancels this and believes the promise of `send`.
        view = rosters.known(self.id) or await rosters.current(self.id)
        draft = Draft(
            conversation=self.id,
            client_id=ClientId(fresh_id()),
            kind=DraftKind.TEXT,
            profile=own_profile(view, self._services.identity, as_profile),
            written_ms=now_ms(),
            body=saying,
        )
        return await self._services.outbox.send(draft)

    def history(self, limit: int = 50, *, before: int | None = None) -> Sequence[Message]:
        """Return the last messages in the local store, own ones included, in the order of their numbers.

        Each as it stands now: edited, with its reactions, or deleted.
        """
        return self._services.store.log.history(self.id, limit, before)

    def message(self, message: MessageRef) -> Message | None:
        """Return a message by its name, as it stands now; None where this device does not have it."""
        return self._services.store.log.message(self.id, message)

    def thread(self, root: MessageRef) -> Sequence[Message]:
        """Return the messages in the thread of one, as this device has them."""
        return self._services.store.log.thread(self.id, root)

    def outgoing(self) -> Sequence[Outgoing]:
        """Return the texts that are not acked yet, oldest first. They are sent without further calls."""
        drafts = self._services.store.outbox.texts(self.id)
        texts = [draft for draft in drafts if isinstance(draft.said, Text)]
        return [Outgoing(draft.client_id, text_of(draft.said), at(draft.written_ms)) for draft in texts]

    def losses(self) -> Sequence[Gap | Undecryptable]:
        """Return every number that is known to be missing or could not be opened, in order."""
        return self._services.store.log.losses(self.id)

    async def read(self, upto: int) -> None:
        """Mark messages as read up to and with number `upto`. Stored, and sent when there is a connection."""
        view = await self._services.rosters.current(self.id)
        with self._services.store.transaction():
            moved = self._services.store.conversations.mark_read(self.id, upto)
            self._services.store.log.start_timers(self.id, upto, now_ms())
        # Without a connection it is sent after the next join.
        if moved:
            self._services.outbox.send_nowait(Read(self.id, own_profile(view, self._services.identity), upto))

    @property
    def read_upto(self) -> int:
        """How far the person has read, on this device or another."""
        return self._services.store.conversations.read_upto(self.id)

    @property
    def upto(self) -> int:
        """The last number this device has received."""
        return self._services.store.conversations.upto(self.id) or 0

    @property
    def receipts(self) -> Mapping[ProfileId, tuple[int, int]]:
        """How far each profile has received and read the conversation, as far as its policies disclose."""
        return self._services.store.receipts.positions(self.id)

    def typing(self, active: bool) -> None:  # noqa: FBT001 - typing(True) reads as what it says
        """Show that the person is typing, or stopped. Sent once, to who is connected now; not stored."""
        self._services.outbox.send_nowait(Typing(self.id, own_profile(self._roster(), self._services.identity), active))

    @property
    def kind(self) -> ConversationKind:
        """What kind of conversation it is."""
        return self._roster().kind

    @property
    def members(self) -> tuple[MemberView, ...]:
        """Who is in it, as of the roster this device verified last."""
        return self._roster().members

    @property
    def roster(self) -> ConversationView:
        """The roster this device verified last."""
        return self._roster()

    @property
    def invited(self) -> tuple[ProfileId, ...]:
        """Who is invited and has not accepted: nothing is encrypted for them."""
        state = self._services.memberships.state(self.id)
        return tuple(profile for profile, member in state.members.items() if not member.accepted)

    @property
    def waiting(self) -> bool:
        """Whether what is sent here waits because the other one of a dm has not accepted yet."""
        state = self._services.memberships.state(self.id)
        return state.kind is ConversationKind.DM and len(state.members) > len(state.accepted)

    async def wait_accepted(self) -> None:
        """Return when the other one of a dm has accepted. The caller sets a deadline."""
        while self.waiting:
            await self._services.joins.wait_changed()

    async def accept(self) -> None:
        """Accept the invitation: what is sent from now on is for this account too. Raises Refusal."""
        await self._services.memberships.accept(self.id)
        await self._services.rosters.refresh(self.id)

    async def decline(self) -> None:
        """Decline the invitation. Raises Refusal."""
        await self._services.memberships.say(self.id, lambda head: Decline(*head), accepted=False)

    async def invite(self, profile: ProfileId, role: Role | str = Role.MEMBER) -> None:
        """Invite somebody into a group, who cannot read earlier messages. Raises Refusal."""
        await self._services.memberships.invite(self.id, profile, Role(role))

    async def make_link(self, expires: datetime, *, uses: int = 1, role: Role | str = Role.MEMBER) -> GroupLink:
        """Invite whoever is given the link, so many times and until then. Give it over a way you trust.

        Raises Refusal.
        """
        expires_ms = round(expires.timestamp() * 1_000)
        return await self._services.links.make_group(self.id, expires_ms, uses, Role(role))

    async def revoke_link(self, key: bytes) -> None:
        """Let nobody in any more by the link of this public key (`GroupLink.key`). Raises Refusal."""
        # The same key again, with no time and no uses left: that replaces the link.
        await self._services.memberships.say(self.id, lambda head: InviteLink(*head, key, 0, 0, Role.MEMBER))

    async def set_role(self, profile: ProfileId, role: Role | str) -> None:
        """Give a member another role. Raises Refusal."""
        await self._services.memberships.say(self.id, lambda head: ChangeRole(*head, profile, Role(role)))
        await self._services.rosters.refresh(self.id)

    async def remove(self, profile: ProfileId) -> None:
        """Remove a member. The next message is encrypted with keys they do not have. Raises Refusal."""
        await self._services.memberships.say(self.id, lambda head: Remove(*head, profile))
        await self._services.rosters.refresh(self.id)

    async def leave(self) -> None:
        """Leave a group or a dm. Its messages stay in the local store. Raises Refusal."""
        await self._services.memberships.say(self.id, lambda head: Leave(*head))

    async def refresh(self) -> None:
        """Fetch and verify the roster now. Raises RootKeyChanged, UntrustedDevice, Refusal, Unreachable."""
        await self._services.rosters.refresh(self.id)

    def _roster(self) -> ConversationView:
        view = self._services.rosters.known(self.id)
        if view is None:
            raise NotEnrolled(
                "this conversation's roster is not known yet", code="unknown-roster", advice="await refresh() first"
            )
        return view
