"""The Olm ratchets of this device, one bundle for each conversation and peer device."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.ids import ConversationId, DeviceId

SESSIONS_PER_PAIR = 5
MEND_EVERY_MS = 60 * 60 * 1_000


class Pair(NamedTuple):
    """One conversation with one peer device: the two ends of a ratchet are this device and that one."""

    conversation: ConversationId
    device: DeviceId


class Ratchets(Shelf):
    """Pickled sessions, best first: the one that received last, or was made last."""

    def sessions(self, pair: Pair) -> Sequence[tuple[str, str]]:
        """Return session ids and pickles, the one to send on first."""
        rows = self._database.rows(
            "SELECT session, sealed FROM olm_session WHERE conversation = ? AND device = ? ORDER BY turn DESC",
            *_key(pair),
        )
        return [(session, self._open(_place(pair, session), sealed, str)) for session, sealed in rows]

    def has_session(self, pair: Pair) -> bool:
        """Whether there is anything to send on."""
        return (
            self._database.row("SELECT 1 FROM olm_session WHERE conversation = ? AND device = ?", *_key(pair))
            is not None
        )

    def put(self, pair: Pair, session: str, pickle: str, *, best: bool) -> None:
        """Keep a session; with `best` it becomes the one to send on, and the worst above five are forgotten."""
        turn = self._turn(pair, session, best=best)
        self._database.run(
            "INSERT INTO olm_session VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversation, device, session)"
            " DO UPDATE SET turn = excluded.turn, sealed = excluded.sealed",
            *_key(pair),
            session,
            turn,
            self._close(_place(pair, session), pickle),
        )
        self._database.run(
            "DELETE FROM olm_session WHERE conversation = ?1 AND device = ?2 AND session NOT IN"
            " (SELECT session FROM olm_session WHERE conversation = ?1 AND device = ?2 ORDER BY turn DESC LIMIT ?3)",
            *_key(pair),
            SESSIONS_PER_PAIR,
        )

    def mend(self, pair: Pair, now_ms: int) -> bool:
        """Note that the pair lost something; False when it is noted or was mended within `MEND_EVERY_MS`.

        Without the pause, two devices that cannot read each other would mend for ever.
        """
        noted = self._database.run(
            "INSERT INTO mending VALUES (?1, ?2, ?3, 1) ON CONFLICT (conversation, device)"
            " DO UPDATE SET at = excluded.at, pending = 1 WHERE pending = 0 AND at <= ?3 - ?4",
            *_key(pair),
            now_ms,
            MEND_EVERY_MS,
        )
        return noted > 0

    def mending(self, conversation: ConversationId) -> frozenset[DeviceId]:
        """Return the devices to start a fresh ratchet with."""
        rows = self._database.rows(
            "SELECT device FROM mending WHERE conversation = ? AND pending = 1", conversation.bytes
        )
        return frozenset(DeviceId(UUID(bytes=row[0])) for row in rows)

    def mended(self, conversation: ConversationId) -> None:
        """Every pair of the conversation was told on a fresh ratchet, or nobody is left to be told."""
        self._database.run("UPDATE mending SET pending = 0 WHERE conversation = ?", conversation.bytes)

    def _turn(self, pair: Pair, session: str, *, best: bool) -> int:
        highest, own = self._database.row(
            "SELECT ifnull(max(turn), 0), max(turn) FILTER (WHERE session = ?3) FROM olm_session"
            " WHERE conversation = ?1 AND device = ?2",
            *_key(pair),
            session,
        ) or (0, None)
        return int(highest) + 1 if best or own is None else int(own)


def _key(pair: Pair) -> tuple[bytes, bytes]:
    return pair.conversation.bytes, pair.device.bytes


def _place(pair: Pair, session: str) -> Place:
    return Place("olm_session", "sealed", *_key(pair), session)
