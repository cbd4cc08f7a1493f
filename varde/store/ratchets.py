"""Ratchets: Olm sessions for each conversation and peer device, and Megolm sender keys, own and received."""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple
from uuid import UUID

from msgspec import Meta

from varde.store.table import Cell, Table
from varde_contract.ids import ClientId, ConversationId, DeviceId
from varde_contract.secret_struct import SecretStruct

SESSIONS_PER_PAIR = 5
"""Both sides may open a session at once, and an old one may still have messages on the way."""
RESET_EVERY_MS = 60 * 60 * 1_000


class Pair(NamedTuple):
    """One conversation with one peer device: the two ends of a ratchet are this device and that one."""

    # A ratchet for each conversation, not one for each peer: Olm keeps 40 skipped keys, and nothing orders the messages
    # of two conversations. A device that reads one to its end would lose more than 40 of the other.

    conversation: ConversationId
    device: DeviceId


class OuterState(SecretStruct, frozen=True):
    """The outer layer of one session. `keys` are newest first; `began` is whether this device began the session.

    `answer` is sent along until the peer is heard under the newest key, and `offered` is the private half of the offer
    that is sent along until it is answered. `answered` is the id of the last KEM key that an answer was made for.
    """

    keys: tuple[bytes, ...]
    began: bool
    since_ms: int
    messages: int = 0
    answer: bytes = b""
    offered: bytes = b""
    answered: bytes = b""


class StoredSession(SecretStruct, frozen=True):
    """A pickled Olm session, and the outer layer of its messages."""

    pickle: str
    outer: OuterState


class Ratchets(Table):
    """Pickled sessions, best first: the one that received last, or was made last."""

    def sessions(self, pair: Pair) -> Sequence[tuple[str, StoredSession]]:
        """Return session ids and sessions, the one to send on first."""
        rows = self._database.rows(
            "SELECT session, sealed FROM olm_session WHERE conversation = ? AND device = ? ORDER BY turn DESC",
            *_key(pair),
        )
        return [(row[0], self._decrypt(_session_cell(pair, row[0]), row[1], StoredSession)) for row in rows]

    def to_send_on(self, pair: Pair) -> tuple[str, StoredSession] | None:
        """Return the session to send on, and its id."""
        row = self._database.row(
            "SELECT session, sealed FROM olm_session WHERE conversation = ? AND device = ? AND turn > 0"
            " ORDER BY turn DESC LIMIT 1",
            *_key(pair),
        )
        return None if row is None else (row[0], self._decrypt(_session_cell(pair, row[0]), row[1], StoredSession))

    def has_session(self, pair: Pair) -> bool:
        """Whether there is anything to send on."""
        return self.to_send_on(pair) is not None

    def stop_sending(self) -> None:
        """Keep every session for reading only: its next key may have been used already."""
        self._database.run("UPDATE olm_session SET turn = -turn WHERE turn > 0")

    def put(self, pair: Pair, session: str, stored: StoredSession, *, best: bool) -> None:
        """Keep a session; with `best` it becomes the one to send on, and the worst above five are forgotten."""
        turn = self._turn(pair, session, best=best)
        self._database.run(
            "INSERT INTO olm_session VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversation, device, session)"
            " DO UPDATE SET turn = excluded.turn, sealed = excluded.sealed",
            *_key(pair),
            session,
            turn,
            self._encrypt(_session_cell(pair, session), stored),
        )
        self._database.run(
            "DELETE FROM olm_session WHERE conversation = ?1 AND device = ?2 AND session NOT IN"
            " (SELECT session FROM olm_session WHERE conversation = ?1 AND device = ?2 ORDER BY turn DESC LIMIT ?3)",
            *_key(pair),
            SESSIONS_PER_PAIR,
        )

    def request_reset(self, pair: Pair, now_ms: int) -> bool:
        """Ask for a fresh session of the pair; False when that is pending, or was done within `RESET_EVERY_MS`.

        Without the pause, two devices that cannot read each other would reset their session for ever.
        """
        noted = self._database.run(
            "INSERT INTO mending VALUES (?1, ?2, ?3, 1) ON CONFLICT (conversation, device)"
            " DO UPDATE SET at = excluded.at, pending = 1 WHERE pending = 0 AND at <= ?3 - ?4",
            *_key(pair),
            now_ms,
            RESET_EVERY_MS,
        )
        return noted > 0

    def pending_resets(self, conversation: ConversationId) -> frozenset[DeviceId]:
        """Return the devices to start a fresh ratchet with."""
        rows = self._database.rows(
            "SELECT device FROM mending WHERE conversation = ? AND pending = 1", conversation.bytes
        )
        return frozenset(DeviceId(UUID(bytes=row[0])) for row in rows)

    def clear_resets(self, conversation: ConversationId) -> None:
        """Every device of the conversation was sent an empty message on a fresh session, or is gone."""
        self._database.run("UPDATE mending SET pending = 0 WHERE conversation = ?", conversation.bytes)

    def reopen_resets(self, conversation: ConversationId, devices: Iterable[DeviceId]) -> None:
        """The empty message did not reach these devices."""
        for device in devices:
            self._database.run(
                "UPDATE mending SET pending = 1 WHERE conversation = ? AND device = ?",
                *_key(Pair(conversation, device)),
            )

    def _turn(self, pair: Pair, session: str, *, best: bool) -> int:
        highest, own = self._database.row(
            "SELECT ifnull(max(turn), 0), max(turn) FILTER (WHERE session = ?3) FROM olm_session"
            " WHERE conversation = ?1 AND device = ?2",
            *_key(pair),
            session,
        ) or (0, None)
        # A session that is for reading only stays so, also when something comes on it.
        if own is not None and own < 0:
            return int(own)
        return max(int(highest), 0) + 1 if best or own is None else int(own)


def _key(pair: Pair) -> tuple[bytes, bytes]:
    return pair.conversation.bytes, pair.device.bytes


def _session_cell(pair: Pair, session: str) -> Cell:
    return Cell("olm_session", "sealed", *_key(pair), session)


class KemPrekeys(Table):
    """The private halves of this device's KEM prekeys."""

    def add(self, kem_id: bytes, private: bytes, *, fallback: bool) -> None:
        """Keep one. Of fallback keys the last two are kept, as Olm does: one that was just claimed is still used."""
        self._database.run(
            "INSERT INTO kem_prekey (kem_id, fallback, sealed) VALUES (?, ?, ?)",
            kem_id,
            int(fallback),
            self._encrypt(_kem_cell(kem_id), private),
        )
        self._database.run(
            "DELETE FROM kem_prekey WHERE fallback = 1 AND place NOT IN"
            " (SELECT place FROM kem_prekey WHERE fallback = 1 ORDER BY place DESC LIMIT 2)"
        )

    def find(self, kem_id: bytes) -> bytes | None:
        """Return the private half."""
        row = self._database.row("SELECT sealed FROM kem_prekey WHERE kem_id = ?", kem_id)
        return None if row is None else self._decrypt(_kem_cell(kem_id), row[0], bytes)

    def use_up(self, kem_id: bytes) -> None:
        """Forget a one-time key that opened a session; a fallback key stays."""
        self._database.run("DELETE FROM kem_prekey WHERE kem_id = ? AND fallback = 0", kem_id)


def _kem_cell(kem_id: bytes) -> Cell:
    return Cell("kem_prekey", "sealed", kem_id)


class OwnSenderKey(SecretStruct, frozen=True):
    """This device's sender key of a group: when it was made, how many it sealed, and which devices were given it."""

    pickle: str
    made_ms: int
    sealed: Annotated[int, Meta(ge=0)]
    shared: frozenset[DeviceId]


class SenderKeyTable(Table):
    """Sender keys, own and received."""

    def own(self, conversation: ConversationId) -> OwnSenderKey | None:
        """Return this device's key of the group."""
        row = self._database.row("SELECT sealed FROM own_sender_key WHERE conversation = ?", conversation.bytes)
        return None if row is None else self._decrypt(_own_key_cell(conversation), row[0], OwnSenderKey)

    def put_own(self, conversation: ConversationId, key: OwnSenderKey) -> None:
        """Keep this device's key of the group, new or advanced."""
        self._database.run(
            "INSERT INTO own_sender_key VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET sealed = excluded.sealed",
            conversation.bytes,
            self._encrypt(_own_key_cell(conversation), key),
        )

    def drop_own(self, conversation: ConversationId) -> None:
        """Forget it: the next message makes a new one."""
        self._database.run("DELETE FROM own_sender_key WHERE conversation = ?", conversation.bytes)

    def drop_all_own(self) -> None:
        """Forget all of this device's keys."""
        self._database.run("DELETE FROM own_sender_key")

    def find(self, pair: Pair, session: bytes) -> str | None:
        """Return the pickle of the key that the pair's device shared under this session id."""
        row = self._database.row(
            "SELECT sealed FROM sender_key WHERE conversation = ? AND device = ? AND session = ?", *_key(pair), session
        )
        return None if row is None else self._decrypt(_received_key_cell(pair, session), row[0], str)

    def put(self, pair: Pair, session: bytes, pickle: str) -> None:
        """Keep a key that was shared, or replace it by one that opens more."""
        self._database.run(
            "INSERT INTO sender_key VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation, device, session) DO UPDATE SET sealed = excluded.sealed",
            *_key(pair),
            session,
            self._encrypt(_received_key_cell(pair, session), pickle),
        )

    def use(self, pair: Pair, session: bytes, step: int, message: tuple[int, ClientId]) -> bool:
        """Use up one step of a key for one message (seq, client id); False when another message used it before."""
        seq, client_id = message
        found = self._database.row(
            "SELECT seq, client_id FROM sender_key_use"
            " WHERE conversation = ? AND device = ? AND session = ? AND step = ?",
            *_key(pair),
            session,
            step,
        )
        # The same message again is no replay: it comes twice when its confirmation was lost.
        if found is not None:
            return found == (seq, client_id.bytes)
        self._database.run(
            "INSERT INTO sender_key_use VALUES (?, ?, ?, ?, ?, ?)", *_key(pair), session, step, seq, client_id.bytes
        )
        return True


def _own_key_cell(conversation: ConversationId) -> Cell:
    return Cell("own_sender_key", "sealed", conversation.bytes)


def _received_key_cell(pair: Pair, session: bytes) -> Cell:
    return Cell("sender_key", "sealed", *_key(pair), session)
