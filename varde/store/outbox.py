"""Drafts: what was written and is not acked yet, in order."""

import enum
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from varde.store.table import Cell, Table
from varde_contract.bodies import Saying, Text
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId
from varde_contract.secret_struct import SecretStruct


class DraftKind(enum.StrEnum):
    """What a draft is for."""

    TEXT = "text"  # what a person says or does
    SHARE = "share"  # a sender key for a group: goes before the texts, and is no message to show
    SESSION_RESET = "mend"  # an empty message on a fresh session, because a ratchet was lost: the same


class Draft(SecretStruct, frozen=True):
    """Something to send. Its client id stays the same however often it is encrypted or sent again."""

    conversation: ConversationId
    client_id: ClientId
    kind: DraftKind
    profile: ProfileId
    written_ms: int
    body: Saying | None = None
    text: str = ""
    """Of drafts that were stored before there was more to say than text."""

    @property
    def said(self) -> Saying:
        """What is to be said."""
        return Text(self.text) if self.body is None else self.body


class EncryptedDraft(Struct, frozen=True):
    """The very bytes to send, at first and at every retry. One of `group` and `devices` is set.

    With `part`, `devices` are some of the roster. Incarnation, counter and digest are its place in the transcript,
    taken by the ack.
    """

    roster_version: int
    incarnation: bytes
    counter: int
    digest: bytes
    group: bytes | None = None
    devices: dict[DeviceId, bytes] | None = None
    part: bool = False


class OutboxTable(Table):
    """Drafts, with their ciphertext once a ratchet was advanced for them."""

    def add(self, draft: Draft) -> None:
        """Put a draft behind the others of its rank."""
        self._database.run(
            "INSERT INTO outbox (conversation, client_id, rank, draft) VALUES (?, ?, ?, ?)",
            draft.conversation.bytes,
            draft.client_id.bytes,
            # A key that is made later must still go first: it opens the text that waits.
            int(draft.kind is DraftKind.TEXT),
            self._encrypt(_draft_cell(draft.client_id), draft),
        )

    def find(self, client_id: ClientId) -> Draft | None:
        """Return a draft."""
        row = self._database.row("SELECT draft FROM outbox WHERE client_id = ?", client_id.bytes)
        return None if row is None else self._decrypt(_draft_cell(client_id), row[0], Draft)

    def texts(self, conversation: ConversationId) -> Sequence[Draft]:
        """Return what a person said that waits in a conversation, oldest first."""
        rows = self._database.rows(
            "SELECT client_id, draft FROM outbox WHERE conversation = ? AND rank = 1 ORDER BY position",
            conversation.bytes,
        )
        return [self._decrypt(_draft_cell(ClientId(UUID(bytes=client_id))), draft, Draft) for client_id, draft in rows]

    def first(self, conversation: ConversationId) -> Draft | None:
        """Return what goes next in a conversation."""
        row = self._database.row(
            "SELECT client_id, draft FROM outbox WHERE conversation = ? ORDER BY rank, position LIMIT 1",
            conversation.bytes,
        )
        return None if row is None else self._decrypt(_draft_cell(ClientId(UUID(bytes=row[0]))), row[1], Draft)

    def conversations(self) -> Sequence[ConversationId]:
        """Return the conversations in which something waits."""
        return [
            ConversationId(UUID(bytes=row[0]))
            for row in self._database.rows(
                "SELECT conversation FROM outbox GROUP BY conversation ORDER BY min(position)"
            )
        ]

    def encrypted(self, client_id: ClientId) -> EncryptedDraft | None:
        """Return the ciphertext of a draft, None while there is none."""
        row = self._database.row("SELECT ciphertext FROM outbox WHERE client_id = ?", client_id.bytes)
        if row is None or row[0] is None:
            return None
        return self._decrypt(_ciphertext_cell(client_id), row[0], EncryptedDraft)

    def has_drafts(self, conversation: ConversationId) -> bool:
        """Whether an ack may be due. Drafts without ciphertext count.

        When the ack of a stored message is lost, its retry may be refused as `stale-devices`, and
        the ciphertext is dropped.
        """
        return self._database.row("SELECT 1 FROM outbox WHERE conversation = ?", conversation.bytes) is not None

    def put_encrypted(self, client_id: ClientId, encrypted: EncryptedDraft) -> None:
        """Keep the ciphertext, in the transaction that advanced the ratchets for it."""
        self._database.run(
            "UPDATE outbox SET ciphertext = ? WHERE client_id = ?",
            self._encrypt(_ciphertext_cell(client_id), encrypted),
            client_id.bytes,
        )

    def drop_encrypted(self, client_id: ClientId) -> None:
        """Drop the ciphertext of a draft that was refused: it must be encrypted for another roster."""
        self._database.run("UPDATE outbox SET ciphertext = NULL WHERE client_id = ?", client_id.bytes)

    def remove(self, client_id: ClientId) -> None:
        """The draft is acked, or refused for good."""
        self._database.run("DELETE FROM outbox WHERE client_id = ?", client_id.bytes)


def _draft_cell(client_id: ClientId) -> Cell:
    return Cell("outbox", "draft", client_id.bytes)


def _ciphertext_cell(client_id: ClientId) -> Cell:
    return Cell("outbox", "ciphertext", client_id.bytes)
