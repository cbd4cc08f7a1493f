"""What refers to a message, by its name: replies, reactions, edits, deletions. The message itself may come later."""

from collections.abc import Sequence

from varde.events import Deleted, Edited, Message, Reaction
from varde.sayings import SaidEvent
from varde.store.table import Table
from varde_contract.bodies import MessageRef
from varde_contract.ids import ConversationId

THREAD = "thread"
EVERY = -1  # SQLite's word for no limit
REACTIONS_MOST = 32
"""Of one person to one message: what somebody says without end may not crowd out what others say."""
REFERENCES_MOST = 1_000
"""Of one kind to one message: what a member says without end would otherwise be read each time it is shown."""


class References(Table):
    """An index over the log: of each entry that names a message, its position."""

    def add(self, event: SaidEvent, position: int) -> None:
        """Note what an entry refers to."""
        for kind, target in _targets(event):
            self._database.run(
                "INSERT INTO reference VALUES (?, ?, ?, ?, ?)",
                event.conversation.bytes,
                target.device.bytes,
                target.client_id.bytes,
                position,
                kind,
            )

    def positions(
        self, conversation: ConversationId, target: MessageRef, kind: str, most: int = REFERENCES_MOST
    ) -> Sequence[int]:
        """Return the positions of the last entries of a kind that name a message, in the order of their coming in."""
        rows = self._database.rows(
            "SELECT position FROM reference WHERE conversation = ? AND device = ? AND client_id = ? AND kind = ?"
            " ORDER BY position DESC LIMIT ?",
            conversation.bytes,
            target.device.bytes,
            target.client_id.bytes,
            kind,
            most,
        )
        return [row[0] for row in reversed(rows)]

    def remove(self, position: int) -> None:
        """Let an entry refer to nothing."""
        self._database.run("DELETE FROM reference WHERE position = ?", position)


def _targets(event: SaidEvent) -> Sequence[tuple[str, MessageRef]]:
    match event:
        case Message():
            # Replies are found by what they name, and not the other way round.
            return [] if event.thread is None else [(THREAD, event.thread)]
        case Reaction() | Edited() | Deleted():
            return [(str(event.__struct_config__.tag), event.target)]
        case _:
            return []
