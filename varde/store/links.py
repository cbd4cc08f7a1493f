"""The invite links that this device made, with their secrets: what it shows again, and lets people in by."""

from msgspec import Struct, field

from varde.store.table import Cell, Table
from varde_contract.ids import AccountId, ConversationId


class OwnLink(Struct, frozen=True):
    """A link. `uses` and `expires_ms` are held here too, because the server may lie about both.

    `used` are the accounts that this device let in by it, and the conversation in which each asked.
    """

    url: str
    made_ms: int
    expires_ms: int
    uses: int
    used: dict[AccountId, ConversationId] = field(default_factory=dict)


class OwnLinks(Table):
    """One row for each: of a person's link under the id that the server knows it by, of a group's under its key."""

    def put(self, key: bytes, link: OwnLink) -> None:
        """Keep a link, new or as it is now."""
        sealed = self._encrypt(_cell(key), link)
        self._database.run("INSERT OR REPLACE INTO own_link VALUES (?, ?)", key, sealed)

    def find(self, key: bytes) -> OwnLink | None:
        """Return a link."""
        row = self._database.row("SELECT sealed FROM own_link WHERE link = ?", key)
        return None if row is None else self._decrypt(_cell(key), row[0], OwnLink)

    def all(self) -> dict[bytes, OwnLink]:
        """Return every link, also those that have ended."""
        rows = self._database.rows("SELECT link, sealed FROM own_link ORDER BY link")
        return {key: self._decrypt(_cell(key), sealed, OwnLink) for key, sealed in rows}

    def remove(self, key: bytes) -> None:
        """Forget a link: nobody is let in by it."""
        self._database.run("DELETE FROM own_link WHERE link = ?", key)


def _cell(key: bytes) -> Cell:
    return Cell("own_link", "sealed", key)
