"""Which conversations are joined on this connection, and whether this store has caught up with them.

A store that is older than what its device sent (restored from a backup) would encrypt with keys that were used already.
So nothing is encrypted before the relay has said what this device sent last, and everything up to then is taken in.
"""

import trio

from varde.crypto.keychain import Keychain
from varde.events import Break, TranscriptBroken
from varde.store import Store
from varde_contract.frames import Joined
from varde_contract.ids import ConversationId, DeviceId


class Joins:
    """The joins of one connection after the other. Changes of the store run inside a transaction of the caller."""

    def __init__(self, store: Store, keychain: Keychain, own: DeviceId) -> None:
        self._store = store
        self._keychain = keychain
        self._own = own
        self._joined: dict[ConversationId, Joined] = {}
        self._changed = trio.Event()
        # Not persisted: what this process sends it knows, and the next process asks the relay again.
        self._restored = False

    def clear(self) -> None:
        """The connection is lost."""
        self._joined.clear()

    def joined(self, joined: Joined) -> None:
        """A conversation is joined, or joined again."""
        self._joined[joined.conversation] = joined
        upto = self._store.conversations.upto(joined.conversation)
        if upto is not None and upto < joined.from_seq - 1:
            self._start_anew(joined.conversation, joined.from_seq - 1)

    def notify(self) -> None:
        """Something was taken in: senders look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_changed(self) -> None:
        """Return when something was taken in."""
        await self._changed.wait()

    async def wait_caught_up(self, conversation: ConversationId) -> None:
        """Return when the backlog of this connection is taken in. The caller sets a deadline."""
        while not self.has_caught_up(conversation):
            await self.wait_changed()

    def has_caught_up(self, conversation: ConversationId) -> bool:
        """Whether the conversation is joined, and everything up to the head of then is taken in."""
        joined = self._joined.get(conversation)
        # The head of the join, not the newest one: in a busy group a sender would never come to its turn.
        return joined is not None and (self._store.conversations.upto(conversation) or 0) >= joined.head

    def may_encrypt(self, conversation: ConversationId) -> bool:
        """Ask this before something is encrypted, when no ack is due. False: look at the store again.

        What this device sent last must be known by then; if it is not, every session is set aside.
        """
        if not self.has_caught_up(conversation):
            return False
        # The number is asked for here and not at the join: what this device sent since was acked, and is no mishap.
        own_seq, restored = self._joined[conversation].own_seq, self._restored
        if own_seq and not self._store.own_numbers.has(conversation, own_seq):
            self._start_anew(conversation, own_seq)
        return self._restored is restored

    def _start_anew(self, conversation: ConversationId, seq: int) -> None:
        """Once for a process: what it sends from then on, it knows."""
        if not self._restored:
            self._restored = True
            self._keychain.start_anew()
            self._store.log.add(TranscriptBroken(conversation, seq, self._own, Break.RESTORED))
