"""The row locks that several stores take, and the one order in which everybody takes them.

1. rows of `account`, in the order of their ids, then what belongs to accounts;  2. rows of `conversation`, in the order
of their ids;  3. the turn to forget in conversations;  4. what belongs to conversations. Nobody waits for a lock that
comes before one it holds.
"""

from collections.abc import Iterable
from typing import Final

from storage.database import Connection
from varde_contract.ids import AccountId, ConversationId

# NO KEY UPDATE, everywhere: the check of a foreign key locks the row it points to FOR KEY SHARE, which waits for UPDATE
# and not for this. Who only adds something below an account or a conversation is not held up.
_LOCK_ACCOUNT: Final = "SELECT FROM account WHERE account_id = $1 FOR NO KEY UPDATE"


async def lock_account(connection: Connection, account: AccountId) -> None:
    """Let nobody else change the account's devices and profiles, or its profiles' memberships."""
    await connection.execute(_LOCK_ACCOUNT, account)


# SHARE: many conversations may take in the same account at once; only whoever changes its devices waits for them.
_HOLD_ACCOUNTS: Final = "SELECT FROM account WHERE account_id = ANY ($1) ORDER BY account_id FOR SHARE"


async def hold_accounts(connection: Connection, accounts: Iterable[AccountId]) -> None:
    """Let nobody change these accounts' devices while their profiles become members of something.

    Otherwise a device added in the same moment could miss the conversation, and the conversation the device.
    """
    await connection.execute(_HOLD_ACCOUNTS, list(set(accounts)))


_LOCK_CONVERSATIONS: Final = """
    SELECT FROM conversation WHERE conversation_id = ANY ($1) ORDER BY conversation_id FOR NO KEY UPDATE
"""


async def lock_conversations(connection: Connection, conversations: Iterable[ConversationId]) -> None:
    """Let nobody else move the heads or the rosters: the journal waits as well."""
    await connection.execute(_LOCK_CONVERSATIONS, list(conversations))


# Advisory locks have no table, so a conversation is a number here. Two that hash to the same one wait for each other
# without need, which does no harm. The order is that of the numbers: with that of the ids, such a pair could make two
# callers wait for each other.
_TAKE_TURN: Final = """
    SELECT pg_advisory_xact_lock(turn)
    FROM (SELECT DISTINCT hashtextextended(id::text, 0) AS turn FROM unnest($1::uuid[]) AS id ORDER BY turn) AS turns
"""


MOST_TURNS: Final = 500
"""Each takes a place in the server's one table of locks, which has room for about 13,000 of everybody's."""


async def take_turn_to_forget(connection: Connection, conversations: Iterable[ConversationId]) -> None:
    """Let nobody else move or end positions in these conversations.

    A group's ciphertext goes when the last device has confirmed it. Were the last two to confirm at the same time, each
    would see the other's old position, and nobody would delete it. It is not the conversation's row that is locked,
    because the journal must not wait for those who read.

    Beyond `MOST_TURNS` nobody waits: a device that strangers have put into conversations without end must still be
    revoked. What two who meet there leave behind goes when its time has passed.
    """
    wanted = list(set(conversations))
    if len(wanted) <= MOST_TURNS:
        await connection.execute(_TAKE_TURN, wanted)
