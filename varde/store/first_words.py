"""The first words of requests, as they were sent or read: each is encrypted, and decrypted, once."""

from varde.store.table import Cell, Table
from varde_contract.ids import ConversationId


class FirstWordsTable(Table):
    """One row for each conversation whose invitation said something."""

    def find(self, conversation: ConversationId) -> str | None:
        """Return what was said."""
        row = self._database.row("SELECT sealed FROM first_words WHERE conversation = ?", conversation.bytes)
        return None if row is None else self._decrypt(_cell(conversation), row[0], str)

    def put(self, conversation: ConversationId, text: str) -> None:
        """Keep what was said."""
        self._database.run(
            "INSERT OR REPLACE INTO first_words VALUES (?, ?)",
            conversation.bytes,
            self._encrypt(_cell(conversation), text),
        )


def _cell(conversation: ConversationId) -> Cell:
    return Cell("first_words", "sealed", conversation.bytes)
