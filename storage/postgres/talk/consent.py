"""Who may ask whom, and whom an account has blocked, in Postgres."""

from collections.abc import Mapping, Sequence
from typing import Final

from domain.talk.model import Block, Reach, Words
from storage.database import Connection
from storage.postgres.locks import lock_account
from storage.postgres.people.profiles import read_policies
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId


class PostgresConsent:
    """Keeps the promises of `domain.talk.ports.ConsentStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def reach(self, account: AccountId, profiles: Sequence[ProfileId], now_ms: int) -> Mapping[ProfileId, Reach]:
        """Return how the account stands to these profiles."""
        return await self._transactions.ask(_reach, account, profiles, now_ms)

    async def invited_devices(self, account: AccountId, conversation: ConversationId) -> Mapping[DeviceId, AccountId]:
        """Return the devices of whom the account invited."""
        return await self._transactions.ask(_invited_devices, account, conversation)

    async def put_words(
        self, account: AccountId, conversation: ConversationId, profile: ProfileId, words: Mapping[DeviceId, Words]
    ) -> Sequence[DeviceId] | None:
        """Keep what an invitation says."""
        return await self._transactions.run(_put_words, account, conversation, profile, words)

    async def block(self, account: AccountId, blocked: AccountId, now_ms: int, most: int) -> bool:
        """Block an account, unless enough are."""
        return await self._transactions.run(_block, account, blocked, now_ms, most)

    async def unblock(self, account: AccountId, blocked: AccountId) -> None:
        """Block it no longer."""
        await self._transactions.ask(_unblock, account, blocked)

    async def blocks(self, account: AccountId) -> Sequence[Block]:
        """Return whom the account has blocked."""
        return await self._transactions.ask(_blocks, account)


_REACH: Final = """
    SELECT profile_id, account_id, policies,
           EXISTS (
               SELECT FROM link_use JOIN link USING (account_id, link_id)
               WHERE link.account_id = owner.account_id AND link.profile_id = asked.profile_id
                 AND user_id = $1 AND expires_ms > $3
           ),
           EXISTS (
               SELECT FROM membership AS theirs JOIN membership AS mine USING (conversation_id)
               WHERE theirs.profile_id = asked.profile_id AND theirs.accepted
                 AND mine.account_id = $1 AND mine.accepted
           ),
           EXISTS (
               SELECT FROM membership JOIN membership_statement AS signed USING (conversation_id)
               WHERE signed.profile_id = asked.profile_id AND account_id = $1
           ),
           (
               SELECT count(*) FROM membership
               WHERE membership.profile_id = asked.profile_id AND inviter_id = $1 AND NOT accepted
           ),
           EXISTS (SELECT FROM block WHERE block.account_id = owner.account_id AND blocked_id = $1),
           EXISTS (
               SELECT FROM membership
               WHERE membership.account_id = $1 AND inviter_id = owner.account_id AND NOT accepted
           )
    FROM unnest($2::uuid[]) AS asked (profile_id)
    JOIN profile_account AS owner USING (profile_id)
    JOIN profile USING (account_id, profile_id)
"""


async def _reach(
    connection: Connection, account: AccountId, profiles: Sequence[ProfileId], now_ms: int
) -> dict[ProfileId, Reach]:
    return {
        profile: Reach(owner, read_policies(policies).found_by, *standing)
        for profile, owner, policies, *standing in await connection.fetch(_REACH, account, profiles, now_ms)
    }


_INVITED_DEVICES: Final = """
    SELECT device_id, account_id FROM membership JOIN device USING (account_id)
    WHERE conversation_id = $1 AND inviter_id = $2 AND NOT accepted AND profile_id = ANY (device.profiles)
"""


async def _invited_devices(
    connection: Connection, account: AccountId, conversation: ConversationId
) -> dict[DeviceId, AccountId]:
    rows = await connection.fetch(_INVITED_DEVICES, conversation, account)
    return {row["device_id"]: row["account_id"] for row in rows}


# The row is locked, so that an answer which comes meanwhile deletes these words with those of before.
_LOCK_INVITATION: Final = """
    SELECT true FROM membership
    WHERE conversation_id = $1 AND profile_id = $2 AND inviter_id = $3 AND NOT accepted
    FOR NO KEY UPDATE
"""
_PUT_WORDS: Final = """
    INSERT INTO first_words
           (conversation_id, profile_id, device_id, client_id, by_profile_id, by_device_id, ciphertext)
    SELECT $1, $2, device_id, client_id, by_profile_id, by_device_id, ciphertext
    FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bytea[])
         AS said (device_id, client_id, by_profile_id, by_device_id, ciphertext)
    JOIN device_account USING (device_id)
    JOIN device USING (account_id, device_id)
    WHERE $2 = ANY (device.profiles)
    ON CONFLICT (conversation_id, profile_id, device_id) DO UPDATE SET
        client_id = excluded.client_id,
        by_profile_id = excluded.by_profile_id,
        by_device_id = excluded.by_device_id,
        ciphertext = excluded.ciphertext
    RETURNING device_id
"""


async def _put_words(
    connection: Connection,
    account: AccountId,
    conversation: ConversationId,
    profile: ProfileId,
    words: Mapping[DeviceId, Words],
) -> list[DeviceId] | None:
    if not await connection.fetchval(_LOCK_INVITATION, conversation, profile, account):
        return None
    said = list(words.values())
    rows = await connection.fetch(
        _PUT_WORDS,
        conversation,
        profile,
        list(words),
        [each.client_id for each in said],
        [each.profile for each in said],
        [each.device for each in said],
        [each.ciphertext for each in said],
    )
    return [row["device_id"] for row in rows]


_COUNT: Final = "SELECT count(*) FROM block WHERE account_id = $1 AND blocked_id <> $2"
_BLOCK: Final = "INSERT INTO block (account_id, blocked_id, since_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


async def _block(connection: Connection, account: AccountId, blocked: AccountId, now_ms: int, most: int) -> bool:
    await lock_account(connection, account)  # two at once would each count without the other
    if await connection.fetchval(_COUNT, account, blocked) >= most:
        return False
    await connection.execute(_BLOCK, account, blocked, now_ms)
    return True


_UNBLOCK: Final = "DELETE FROM block WHERE account_id = $1 AND blocked_id = $2"


async def _unblock(connection: Connection, account: AccountId, blocked: AccountId) -> None:
    await connection.execute(_UNBLOCK, account, blocked)


_BLOCKS: Final = "SELECT blocked_id, since_ms FROM block WHERE account_id = $1 ORDER BY since_ms DESC, blocked_id"


async def _blocks(connection: Connection, account: AccountId) -> list[Block]:
    return [Block(*row) for row in await connection.fetch(_BLOCKS, account)]
