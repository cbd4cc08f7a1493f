"""Sealed cards in Postgres."""

from typing import Final

from domain.talk.model import SealedCard
from storage.database import Connection
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, ConversationId, ProfileId


class PostgresCards:
    """Keeps the promises of `domain.talk.ports.CardStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def put_profile(self, account: AccountId, profile: ProfileId, card: SealedCard) -> SealedCard:
        """Store a card of a profile, unless a newer one is there."""
        return await self._transactions.run(_put_profile, account, profile, card)

    async def profile(self, account: AccountId, profile: ProfileId) -> SealedCard | None:
        """Return the newest card of a profile."""
        return await self._transactions.ask(_profile, account, profile)

    async def put_group(self, conversation: ConversationId, card: SealedCard) -> SealedCard:
        """Store a card of a conversation, unless a newer one is there."""
        return await self._transactions.run(_put_group, conversation, card)

    async def group(self, conversation: ConversationId) -> SealedCard | None:
        """Return the newest card of a conversation."""
        return await self._transactions.ask(_group, conversation)


# Two at once: the second waits for the row of the first, and looks at its number then.
_PUT_PROFILE: Final = """
    INSERT INTO profile_card AS present (account_id, profile_id, number, sealed) VALUES ($1, $2, $3, $4)
    ON CONFLICT (account_id, profile_id) DO UPDATE SET number = excluded.number, sealed = excluded.sealed
    WHERE present.number < excluded.number
    RETURNING true
"""
_PROFILE: Final = "SELECT number, sealed FROM profile_card WHERE account_id = $1 AND profile_id = $2"


async def _put_profile(connection: Connection, account: AccountId, profile: ProfileId, card: SealedCard) -> SealedCard:
    if await connection.fetchval(_PUT_PROFILE, account, profile, card.number, card.sealed):
        return card
    newest = await _profile(connection, account, profile)
    assert newest is not None
    return newest


async def _profile(connection: Connection, account: AccountId, profile: ProfileId) -> SealedCard | None:
    row = await connection.fetchrow(_PROFILE, account, profile)
    return None if row is None else SealedCard(*row)


_PUT_GROUP: Final = """
    INSERT INTO conversation_card AS present (conversation_id, number, sealed) VALUES ($1, $2, $3)
    ON CONFLICT (conversation_id) DO UPDATE SET number = excluded.number, sealed = excluded.sealed
    WHERE present.number < excluded.number
    RETURNING true
"""
_GROUP: Final = "SELECT number, sealed FROM conversation_card WHERE conversation_id = $1"


async def _put_group(connection: Connection, conversation: ConversationId, card: SealedCard) -> SealedCard:
    if await connection.fetchval(_PUT_GROUP, conversation, card.number, card.sealed):
        return card
    newest = await _group(connection, conversation)
    assert newest is not None
    return newest


async def _group(connection: Connection, conversation: ConversationId) -> SealedCard | None:
    row = await connection.fetchrow(_GROUP, conversation)
    return None if row is None else SealedCard(*row)
