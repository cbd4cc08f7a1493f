"""The Megolm sender keys: this device's own for each group, and those that others shared."""

from typing import Annotated

from msgspec import Meta

from varde.store.ratchets import Pair
from varde.store.sealing import Place
from varde.store.shelf import Shelf
from varde_contract.hidden import Hidden
from varde_contract.ids import ClientId, ConversationId, DeviceId


class OwnSenderKey(Hidden, frozen=True):
    """This device's sender key of a group: when it was made, how many it sealed, and which devices were given it."""

    pickle: str
    made_ms: int
    sealed: Annotated[int, Meta(ge=0)]
    shared: frozenset[DeviceId]


class SenderKeyShelf(Shelf):
    """Sender keys, own and received."""

    def own(self, conversation: ConversationId) -> OwnSenderKey | None:
        """Return this device's key of the group."""
        row = self._database.row("SELECT sealed FROM own_sender_key WHERE conversation = ?", conversation.bytes)
        return None if row is None else self._open(_own(conversation), row[0], OwnSenderKey)

    def put_own(self, conversation: ConversationId, key: OwnSenderKey) -> None:
        """Keep this device's key of the group, new or advanced."""
        self._database.run(
            "INSERT INTO own_sender_key VALUES (?, ?)"
            " ON CONFLICT (conversation) DO UPDATE SET sealed = excluded.sealed",
            conversation.bytes,
            self._close(_own(conversation), key),
        )

    def drop_own(self, conversation: ConversationId) -> None:
        """Forget it: the next message makes a new one."""
        self._database.run("DELETE FROM own_sender_key WHERE conversation = ?", conversation.bytes)

    def find(self, pair: Pair, session: bytes) -> str | None:
        """Return the pickle of the key that the pair's device shared under this session id."""
        row = self._database.row(
            "SELECT sealed FROM sender_key WHERE conversation = ? AND device = ? AND session = ?", *_key(pair), session
        )
        return None if row is None else self._open(_received(pair, session), row[0], str)

    def put(self, pair: Pair, session: bytes, pickle: str) -> None:
        """Keep a key that was shared, or replace it by one that opens more."""
        self._database.run(
            "INSERT INTO sender_key VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation, device, session) DO UPDATE SET sealed = excluded.sealed",
            *_key(pair),
            session,
            self._close(_received(pair, session), pickle),
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
        if found is not None:
            return found == (seq, client_id.bytes)
        self._database.run(
            "INSERT INTO sender_key_use VALUES (?, ?, ?, ?, ?, ?)", *_key(pair), session, step, seq, client_id.bytes
        )
        return True


def _key(pair: Pair) -> tuple[bytes, bytes]:
    return pair.conversation.bytes, pair.device.bytes


def _own(conversation: ConversationId) -> Place:
    return Place("own_sender_key", "sealed", conversation.bytes)


def _received(pair: Pair, session: bytes) -> Place:
    return Place("sender_key", "sealed", *_key(pair), session)
