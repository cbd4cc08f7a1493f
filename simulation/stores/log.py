"""The log of conversations in memory: the journal that writes it and the mailbox that reads it."""

from collections.abc import Iterable, Sequence
from itertools import islice

from msgspec.structs import astuple, replace

from domain.talk import model as talk_model
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory, StoredConversation
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId


class MemoryJournal:
    """A `domain.talk.ports.JournalStore`. `batches` are the drafts of every commit that was stored."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self.batches: list[tuple[talk_model.Draft, ...]] = []
        self._memory = memory
        self._interference = interference

    async def commit(
        self, drafts: Sequence[talk_model.Draft]
    ) -> Sequence[talk_model.Committed | talk_model.RosterOutdated]:
        """As promised."""
        await self._interference.let_commit_through()
        self.batches.append(tuple(drafts))
        fresh = {place for place, draft in enumerate(drafts) if self._store(draft)}
        answers = [self._answer(draft, duplicate=place not in fresh) for place, draft in enumerate(drafts)]
        self._interference.let_commit_answer()
        return answers

    async def find_committed(self, keys: Sequence[talk_model.SendKey]) -> Sequence[talk_model.Committed | None]:
        """As promised."""
        await self._interference.let_through()
        return [self._find(*astuple(key)) for key in keys]

    def _store(self, draft: talk_model.Draft) -> bool:
        talk = self._memory.talks.get(draft.conversation)
        key = draft.device, draft.client_id
        if talk is None or key in talk.known or talk.version != draft.roster_version:
            return False
        talk.head += 1
        talk.known[key] = talk.head
        talk.log[talk.head] = draft
        if draft.group is not None:
            talk.ciphers[talk.head, None] = draft.group
        if draft.part:
            talk.ciphers[talk.head, None] = b""  # for all others: it is not for them
        for device, sealed in (draft.devices or {}).items():
            talk.ciphers[talk.head, device] = sealed
        return True

    def _answer(self, draft: talk_model.Draft, *, duplicate: bool) -> talk_model.Committed | talk_model.RosterOutdated:
        found = self._find(draft.conversation, draft.device, draft.client_id)
        return talk_model.RosterOutdated() if found is None else replace(found, duplicate=duplicate)

    def _find(self, conversation: ConversationId, device: DeviceId, client_id: ClientId) -> talk_model.Committed | None:
        talk = self._memory.talks.get(conversation)
        seq = None if talk is None else talk.known.get((device, client_id))
        if talk is None or seq is None:
            return None
        return talk_model.Committed(talk.log[seq].message, seq, talk.log[seq].sent_ms, duplicate=True)


class MemoryMailbox:
    """A `domain.talk.ports.MailboxStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def read(self, requests: Sequence[talk_model.LogRequest]) -> Sequence[talk_model.LogPage | None]:
        """As promised."""
        await self._interference.let_through()
        return [self._page(request) for request in requests]

    def _page(self, request: talk_model.LogRequest) -> talk_model.LogPage | None:
        talk = self._memory.talks.get(request.conversation)
        position = None if talk is None else talk.positions.get(request.device)
        if talk is None or position is None:
            return None
        # Lazily: a page costs as much as it holds, so that a test may write thousands of messages.
        seqs = (seq for seq in range(max(request.from_seq, 1), talk.head + 1) if seq in talk.log)
        entries = _cut((_entry(talk, seq, request) for seq in islice(seqs, request.limit)), request.max_bytes)
        return talk_model.LogPage(
            conversation=talk.id,
            from_seq=request.from_seq,
            next_seq=entries[-1].seq + 1 if entries else talk.head + 1,
            head=talk.head,
            start=position.start,
            upto=position.upto,
            entries=entries,
        )

    async def confirm(self, confirmations: Sequence[talk_model.Confirmation]) -> Sequence[talk_model.Confirmation]:
        """As promised."""
        await self._interference.let_through()
        highest: dict[tuple[ConversationId, DeviceId], int] = {}
        for each in confirmations:
            key = each.conversation, each.device
            highest[key] = max(each.upto, highest.get(key, 0))
        moved = ((key, self._confirm(*key, upto)) for key, upto in highest.items())
        return [talk_model.Confirmation(*key, upto) for key, upto in moved if upto is not None]

    def _confirm(self, conversation: ConversationId, device: DeviceId, upto: int) -> int | None:
        talk = self._memory.talks.get(conversation)
        return None if talk is None else talk.confirm(device, upto)

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """As promised."""
        await self._interference.let_through()
        return [index for index, mark in enumerate(marks) if self._mark(*mark)]

    def _mark(self, conversation: ConversationId, profile: ProfileId, upto: int) -> bool:
        talk = self._memory.talks.get(conversation)
        member = None if talk is None else talk.members.get(profile)
        if talk is None or member is None or not member.accepted or not member.read_upto < upto <= talk.head:
            return False
        member.read_upto = upto
        return True


def _entry(talk: StoredConversation, seq: int, request: talk_model.LogRequest) -> talk_model.LogEntry:
    draft = talk.log[seq]
    sealed = talk.ciphers.get((seq, request.device), talk.ciphers.get((seq, None)))
    may = seq >= talk.positions[request.device].start and draft.device != request.device
    return talk_model.LogEntry(
        seq=seq,
        message=draft.message,
        client_id=draft.client_id,
        profile=draft.profile,
        device=draft.device,
        sent_ms=draft.sent_ms,
        ciphertext=sealed if may else None,
    )


def _cut(entries: Iterable[talk_model.LogEntry], max_bytes: int) -> tuple[talk_model.LogEntry, ...]:
    size = 0
    kept: list[talk_model.LogEntry] = []
    for entry in entries:
        size += len(entry.ciphertext or b"")
        if kept and size > max_bytes:
            break
        kept.append(entry)
    return tuple(kept)
