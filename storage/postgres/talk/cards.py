"""Sealed cards in Postgres."""

from typing import Final

from domain.talk.model import SealedCard
from storage.database import Connection
from storage.postgres.transactions import Transactions
from varde_contract.card import CARD_STEP
from varde_contract.ids import AccountId, ConversationId, ProfileId


class PostgresCards:
    """Keeps the promises of `domain.talk.ports.CardStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def put_profile(self, account: AccountId, profile: ProfileId, card: SealedCard) -> SealedCard | None:
        """Store a card of a profile, unless a newer one is there."""
        return await self._transactions.run(_put_profile, account, profile, card)

    async def profile(self, account: AccountId, profile: ProfileId) -> SealedCard | None:
        """Return the newest card of a profile."""
        return await self._transactions.ask(_profile, account, profile)

    async def put_group(self, conversation: ConversationId, card: SealedCard) -> SealedCard | None:
        """Store a card of a conversation, unless a newer one is there."""
        return await self._transactions.run(_put_group, conversation, card)

    async def group(self, conversation: ConversationId) -> SealedCard | None:
        """Return the newest card of a conversation."""
        return await self._transactions.ask(_group, conversation)


# Two at once: the second waits for the row of the first, and looks at its number then.
_PUT_PROFILE: Final = """
    INSERT INTO profile_card AS present (account_id, profile_id, number, sealed)
    SELECT $1::uuid, $2::uuid, $3::bigint, $4::bytea
    WHERE $3 <= $5::bigint OR EXISTS (SELECT FROM profile_card WHERE account_id = $1 AND profile_id = $2)
    ON CONFLICT (account_id, profile_id) DO UPDATE SET number = excluded.number, sealed = excluded.sealed
    WHERE excluded.number > present.number AND excluded.number <= present.number + $5
    RETURNING true
"""
_PROFILE: Final = "SELECT number, sealed FROM profile_card WHERE account_id = $1 AND profile_id = $2"


async def _put_profile(
    connection: Connection, account: AccountId, profile: ProfileId, card: SealedCard
) -> SealedCard | None:
    if await connection.fetchval(_PUT_PROFILE, account, profile, card.number, card.sealed, CARD_STEP):
        return card
    return await _profile(connection, account, profile)


async def _profile(connection: Connection, account: AccountId, profile: ProfileId) -> SealedCard | None:
    row = await connection.fetchrow(_PROFILE, account, profile)
    return None if row is None else SealedCard(*row)


_PUT_GROUP: Final = """
    INSERT INTO conversation_card AS present (conversation_id, number, sealed)
    SELECT $1::uuid, $2::bigint, $3::bytea
    WHERE $2 <= $4::bigint OR EXISTS (SELECT FROM conversation_card WHERE conversation_id = $1)
    ON CONFLICT (conversation_id) DO UPDATE SET number = excluded.number, sealed = excluded.sealed
    WHERE excluded.number > present.number AND excluded.number <= present.number + $4
    RETURNING true
"""
_GROUP: Final = "SELECT number, sealed FROM conversation_card WHERE conversation_id = $1"


async def _put_group(connection: Connection, conversation: ConversationId, card: SealedCard) -> SealedCard | None:
    if await connection.fetchval(_PUT_GROUP, conversation, card.number, card.sealed, CARD_STEP):
        return card
    return await _group(connection, conversation)


async def _group(connection: Connection, conversation: ConversationId) -> SealedCard | None:
    row = await connection.fetchrow(_GROUP, conversation)
    return None if row is None else SealedCard(*row)
