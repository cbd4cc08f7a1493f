"""How far others hold and have read a conversation."""

from uuid import UUID

from varde.store.shelf import Shelf
from varde_contract.ids import ConversationId, ProfileId


class Receipts(Shelf):
    """How far others hold and have read a conversation. Numbers and ids only, in the clear."""

    def move(self, conversation: ConversationId, profile: ProfileId, *, delivered: int = 0, read: int = 0) -> bool:
        """Move a profile's positions forward; False when neither moved. Who has read also holds."""
        moved = self._database.run(
            "INSERT INTO receipt VALUES (?, ?, ?, ?) ON CONFLICT (conversation, profile) DO UPDATE"
            " SET delivered = max(delivered, excluded.delivered), read = max(read, excluded.read)"
            " WHERE delivered < excluded.delivered OR read < excluded.read",
            conversation.bytes,
            profile.bytes,
            max(delivered, read),
            read,
        )
        return moved > 0

    def positions(self, conversation: ConversationId) -> dict[ProfileId, tuple[int, int]]:
        """Return how far each profile holds and has read the conversation."""
        rows = self._database.rows(
            "SELECT profile, delivered, read FROM receipt WHERE conversation = ?", conversation.bytes
        )
        return {ProfileId(UUID(bytes=profile)): (delivered, read) for profile, delivered, read in rows}
