"""Sends the drafts of one conversation in order: encrypted for the current roster, repeated until acked."""

import trio

from varde.backoff import Backoff
from varde.clock import fresh_id, now_ms
from varde.errors import Busy, NotAccepted, Refusal, Unreachable, VardeError
from varde.identity import own_profile
from varde.services import Services
from varde.store.outbox import Draft, DraftKind, EncryptedDraft
from varde_contract import codec
from varde_contract.bodies import Empty
from varde_contract.frames import Ack, Join, RefusedFrame, Send
from varde_contract.ids import ClientId, ConversationId, DeviceId
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import ClaimedKeys, PrekeyClaim
from varde_contract.rest.talk import ConversationView, NewMessage
from varde_contract.talk import ConversationKind

FIRST_PAUSE_SECONDS = 0.1
# Less than for connecting: the connection is there, and a refusal costs the relay little. With thirty, people waited
# twice as long for a message as the database took to fail over.
MOST_PAUSE_SECONDS = 8.0
GRACE_SECONDS = 1.0
"""A device that was just registered uploads its prekeys a moment later: one more claim after this long."""
JOIN_SECONDS = 10.0
"""After this long the sender asks by itself to join the conversation, and whether it still is in it."""
NO_PREKEYS_SECONDS = 30.0
"""For how long a device without prekeys is not claimed from again."""

_TWO = 2

_NOTHING_CLAIMED = ClaimedKeys((), ())


class ConversationSender:
    """The task of one conversation. One send is in flight, so messages get their numbers in the order of writing."""

    # With several in flight the relay could refuse one (`stale-devices`) and store the next. Two fsyncs a message
    # leave some hundred messages a second: more than people type.

    def __init__(self, conversation: ConversationId, services: Services) -> None:
        self._conversation = conversation
        self._identity = services.identity
        self._store = services.store
        self._keychain = services.keychain
        self._rest = services.rest
        self._rosters = services.rosters
        self._outbox = services.outbox
        self._joins = services.joins
        self._first_contact = services.first_contact
        self._backoff = Backoff(first=FIRST_PAUSE_SECONDS, most=MOST_PAUSE_SECONDS)
        self._without_prekeys: dict[DeviceId, float] = {}

    async def run(self) -> None:
        """Send what there is, and wait for more, until the client ends."""
        while not self._outbox.ended:
            self._outbox.clear_work(self._conversation)
            while await self._step():
                pass
            await self._outbox.wait_work(self._conversation)

    async def _step(self) -> bool:
        """Encrypt or send the first draft; False when there is nothing to do."""
        draft = self._store.outbox.first(self._conversation)
        if draft is None and not self._store.ratchets.pending_resets(self._conversation):
            return False
        try:
            if draft is not None and self._must_wait():
                await self._wait_caught_up()
                # Their acceptance is a statement in the log, and taking it in wakes this sender.
                await self._first_contact.send(draft, lambda: self._joins.may_encrypt(self._conversation))
                return False
            draft, ready = await self._prepare(draft)
            if draft is not None and ready is not None and await self._deliver(draft, ready):
                self._backoff.reset()
        except (Unreachable, Busy) as fault:
            wait_ms = fault.retry_after_ms if isinstance(fault, Busy) else None
            await trio.sleep((wait_ms or 0) / 1_000 + self._backoff.next())
        except VardeError as fault:
            if self._outbox.ended:
                return False  # the client ended; the draft is fine, and stays in the store
            self._give_up(draft, fault)
        return True

    def _must_wait(self) -> bool:
        """Whether the other one of a dm has not accepted yet. Raises NotAccepted where nobody is there any more."""
        chain = self._store.chains.find(self._conversation)
        if chain is None or chain.state.kind is not ConversationKind.DM:
            return False
        if len(chain.state.members) < _TWO:
            raise NotAccepted("the other one has declined or left")
        return len(chain.state.accepted) < _TWO

    async def _prepare(self, draft: Draft | None) -> tuple[Draft | None, EncryptedDraft | None]:
        """Return what goes next with its ciphertext: the draft, or the keys that must go before it.

        Ratchets advance in the transaction that stores the ciphertext. A crash then repeats the same bytes; sealing
        twice would make the peer skip a message key.
        """
        if draft is not None and (ready := self._store.outbox.encrypted(draft.client_id)) is not None:
            return draft, ready
        await self._wait_caught_up()
        # Before each encryption, not once for each draft: by now a proof may be old, or the log be forked.
        view = await self._rosters.prove(await self._rosters.current(self._conversation))
        now = now_ms()
        due = self._due(view, draft, now)
        if due is None:
            self._clear_resets()
            return None, None
        for_each = due is not DraftKind.TEXT or view.kind is not ConversationKind.GROUP
        reset = due is DraftKind.SESSION_RESET
        part = self._keychain.part(view, now, reset=reset) if for_each else None
        claimed = await self._claim(view, part) if for_each else _NOTHING_CLAIMED
        if claimed is None:
            return draft, None
        if not self._rosters.is_current(view):
            return draft, None  # a statement came in while keys were claimed: somebody may be gone
        with self._store.transaction():
            # After the last await before a ratchet turns: a connection that came meanwhile may have shown that this
            # store is old.
            if not self._joins.may_encrypt(self._conversation):
                return draft, None
            if for_each and self._keychain.part(view, now, reset=reset) != part:
                return draft, None  # somebody asked for the key anew while prekeys were claimed
            self._keychain.start_sessions(view, claimed)
            if draft is None or draft.kind is not due:
                draft = self._draft(view, due)
                self._store.outbox.add(draft)
            ready = self._encrypt_draft(view, draft, now, part)
            self._store.outbox.put_encrypted(draft.client_id, ready)
        return draft, ready

    async def _wait_caught_up(self) -> None:
        """Return when nothing that this device sent can be unknown to its store. Raises Refusal and Unreachable."""
        while not self._joins.has_caught_up(self._conversation):
            with trio.move_on_after(JOIN_SECONDS):
                await self._joins.wait_caught_up(self._conversation)
                return
            if self._outbox.connected:
                # Who is no member any more is told so here: nobody joins them.
                await self._rosters.refresh(self._conversation)
                self._outbox.send_nowait(Join(self._conversation))

    def _due(self, view: ConversationView, draft: Draft | None, now: int) -> DraftKind | None:
        """Return what must go next: an empty message on a fresh ratchet, then a sender key, then the text."""
        peers = self._keychain.peers(view)
        if self._store.ratchets.pending_resets(self._conversation) & peers.keys():
            return DraftKind.SESSION_RESET
        if draft is None or draft.kind is not DraftKind.TEXT:
            return None if draft is None else draft.kind
        group = view.kind is ConversationKind.GROUP
        return DraftKind.SHARE if group and peers and self._keychain.must_share(view, now) else DraftKind.TEXT

    def _encrypt_draft(
        self, view: ConversationView, draft: Draft, now: int, part: frozenset[DeviceId] | None
    ) -> EncryptedDraft:
        if draft.kind is DraftKind.SESSION_RESET:
            self._clear_resets()
            return self._keychain.encrypt_for_each(view, draft, Empty(), part)
        if draft.kind is DraftKind.SHARE:
            return self._keychain.encrypt_for_each(view, draft, self._keychain.share(view, now, part), part)
        if view.kind is not ConversationKind.GROUP:
            return self._keychain.encrypt_for_each(view, draft, draft.said)
        if not self._keychain.peers(view) and self._keychain.must_share(view, now):
            self._keychain.share(view, now)  # alone in the group: a key that nobody has to be given
        return self._keychain.encrypt_for_group(view, draft, draft.said)

    async def _claim(self, view: ConversationView, part: frozenset[DeviceId] | None) -> ClaimedKeys | None:
        """Claim prekeys where a session is missing; None when the roster turned out to be stale."""
        missing = self._keychain.without_session(view)
        try:
            first = await self._claim_once(tuple(each for each in missing if part is None or each in part))
            again = ClaimedKeys((), first.without)
            if any(device not in self._without_prekeys for device in first.without):
                await trio.sleep(GRACE_SECONDS)
                again = await self._claim_once(first.without)
        except Refusal as refusal:
            if refusal.refusal is not RefusalCode.STALE_DEVICES:
                raise
            await self._rosters.refresh(self._conversation)
            await trio.sleep(self._backoff.next())
            return None
        # Nobody waits for them: they get what cannot be opened, and so learn that they missed something.
        self._without_prekeys.update(dict.fromkeys(again.without, trio.current_time() + NO_PREKEYS_SECONDS))
        return ClaimedKeys(first.keys + again.keys, again.without)

    async def _claim_once(self, missing: tuple[DeviceId, ...]) -> ClaimedKeys:
        now = trio.current_time()
        wanted = tuple(device for device in missing if self._without_prekeys.get(device, now) <= now)
        if not wanted:
            return _NOTHING_CLAIMED
        return await self._rest.claim_prekeys(PrekeyClaim(self._conversation, wanted))

    async def _deliver(self, draft: Draft, ready: EncryptedDraft) -> bool:
        """Send it; True when it is acked. Raises Refusal and Unreachable."""
        frame = Send(
            draft.client_id, draft.conversation, draft.profile, ready.roster_version, ready.group, ready.devices
        )
        try:
            if not ready.part and codec.fits(len(codec.encode_frame(frame)), 1):
                return await self._deliver_by_relay(frame)
            return await self._deliver_by_rest(frame, part=ready.part)
        except Refusal as refusal:
            if refusal.stale is None:
                raise
            await self._refresh_roster(draft, ready, refusal.stale)
            return False

    async def _deliver_by_relay(self, frame: Send) -> bool:
        outcome = await self._outbox.request(frame)
        if isinstance(outcome, RefusedFrame):
            raise Refusal.of(outcome.code, outcome.detail, retry_after_ms=outcome.retry_after_ms, stale=outcome.stale)
        return outcome is not None

    async def _deliver_by_rest(self, frame: Send, *, part: bool) -> bool:
        """Send by the API what does not fit one Noise message."""
        place = frame.client_id, frame.conversation, frame.profile, frame.roster_version
        stored = await self._rest.send(NewMessage(*place, frame.group, frame.devices, part=part))
        epoch = self._store.conversations.epoch(self._conversation)
        if epoch is not None and epoch[0] != stored.epoch:
            # A number of another history than this device has. The relay is about to say so; sent again then, the same
            # bytes are acked with the number they have in that one.
            raise Unreachable("the server has begun a new epoch")
        sent_ms = round(stored.sent_at.timestamp() * 1_000)
        with self._store.transaction():
            report = self._outbox.acked(Ack(frame.client_id, frame.conversation, stored.message, stored.seq, sent_ms))
        report()
        return True

    async def _refresh_roster(self, draft: Draft, ready: EncryptedDraft, stale: StaleDevices) -> None:
        """The relay stored nothing: encrypt again for the current roster, under the same client id."""
        if stale.roster_version >= ready.roster_version:
            await self._rosters.refresh(self._conversation, newer_than=stale.roster_version - 1)
            with self._store.transaction():
                if draft.kind is DraftKind.SHARE:
                    self._drop_share(draft)
                elif ready.part:  # a session reset: whom it is for, only its ciphertexts knew
                    self._store.ratchets.reopen_resets(self._conversation, ready.devices or ())
                    self._store.outbox.remove(draft.client_id)
                else:
                    self._store.outbox.drop_encrypted(draft.client_id)
        # Otherwise the relay has not yet heard of the roster that the API gave: send the same bytes a little later.
        await trio.sleep(self._backoff.next())

    def _give_up(self, draft: Draft | None, fault: VardeError) -> None:
        """Drop what is refused for good; with a sender key the text that needed it, or it would ask for another."""
        with self._store.transaction():
            self._clear_resets()
            # A reset that stayed pending would be refused again at once, in a loop without a pause.
            if draft is not None and draft.kind is not DraftKind.TEXT:
                self._drop_share(draft)
                draft = self._store.outbox.first(self._conversation) if draft.kind is DraftKind.SHARE else None
        if draft is not None:
            self._outbox.give_up(draft, fault)

    def _drop_share(self, draft: Draft) -> None:
        self._keychain.withdraw_share(self._conversation)
        self._store.outbox.remove(draft.client_id)
        self._outbox.settle_own_numbers(self._conversation)

    def _clear_resets(self) -> None:
        with self._store.transaction():
            self._store.ratchets.clear_resets(self._conversation)

    def _draft(self, view: ConversationView, kind: DraftKind) -> Draft:
        return Draft(self._conversation, ClientId(fresh_id()), kind, own_profile(view, self._identity), now_ms())
