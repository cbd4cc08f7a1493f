"""Positions of devices in conversations, and the ciphertext that is deleted when no device waits for it any more.

Everything here runs within the caller's transaction.
"""

from collections.abc import Sequence
from typing import Any, Final

from domain.people import model as people
from storage.database import Connection
from storage.postgres.locks import take_turn_to_forget
from varde_contract.ids import AccountId, ConversationId, DeviceId
from varde_contract.limits import ROSTER_GRACE_MS

# Joined to the list, not compared with it: with tens of thousands of conversations, each row would be held against all.
_BEGIN: Final = """
    INSERT INTO delivery (conversation_id, device_id, start_seq, upto)
    SELECT DISTINCT conversation_id, device_id, head + 1, head
    FROM unnest($1::uuid[]) AS asked (conversation_id)
    JOIN conversation USING (conversation_id)
    JOIN membership USING (conversation_id)
    JOIN device USING (account_id)
    WHERE account_id = ANY ($2) AND profile_id = ANY (device.profiles) AND accepted
    ON CONFLICT (conversation_id, device_id) DO NOTHING
"""


async def begin_positions(
    connection: Connection, conversations: Sequence[ConversationId], accounts: Sequence[AccountId]
) -> None:
    """Let the devices of these accounts that belong now, and did not, stand at the head: they have what comes after."""
    await connection.execute(_BEGIN, conversations, accounts)


_END: Final = """
    WITH ended AS (
        DELETE FROM delivery
        WHERE conversation_id = ANY ($1) AND device_id = ANY ($2) AND NOT EXISTS (
            SELECT FROM membership JOIN device USING (account_id)
            WHERE membership.conversation_id = delivery.conversation_id AND accepted
              AND device.device_id = delivery.device_id AND membership.profile_id = ANY (device.profiles)
        )
        RETURNING conversation_id, device_id, upto
    )
    SELECT conversation_id, device_id, upto, head FROM ended JOIN conversation USING (conversation_id)
"""


async def end_positions(
    connection: Connection, conversations: Sequence[ConversationId], devices: Sequence[DeviceId]
) -> None:
    """Delete the positions of those devices that belong no more, and what only they were waited for."""
    await take_turn_to_forget(connection, conversations)
    await forget(connection, await connection.fetch(_END, conversations, devices))


# Its steps, and why it is a function, are said where it is made: migrations/0005_confirm.sql.
_FORGET: Final = "SELECT positions_forget($1, $2, $3, $4)"


async def forget(connection: Connection, passed: Sequence[Any]) -> None:
    """Delete the ciphertext that nobody waits for now that devices passed it.

    `passed` has rows of (conversation, device, after, upto): the device held numbers up to `after`, and does not wait
    for those up to `upto` any more. Its turn must have been taken.
    """
    if passed:
        await connection.execute(_FORGET, *(list(column) for column in zip(*passed, strict=True)))


# What is encrypted for a version that was just superseded is taken for a moment: the times say which versions those
# are. A removal clears them, since nothing may reach who is gone. 64 bound the row while a roster changes without end.
_MOVE_ROSTERS: Final = """
    UPDATE conversation SET
        roster_version = roster_version + 1,
        superseded_ms = CASE WHEN $2 THEN '{}' ELSE ARRAY(
            SELECT at_ms FROM (
                SELECT at_ms FROM unnest(superseded_ms || now.ms) AS earlier (at_ms)
                WHERE at_ms > now.ms - $3 ORDER BY at_ms DESC LIMIT 64
            ) AS recent
            ORDER BY at_ms
        ) END
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) AS now
    WHERE conversation_id = ANY ($1)
    RETURNING conversation_id, roster_version
"""


async def move_rosters(
    connection: Connection, conversations: Sequence[ConversationId], *, removal: bool
) -> list[people.RosterChange]:
    """Move the roster versions, each once; return them in the order of ids.

    With `removal` somebody was removed or revoked, and no version before this one is good for anything any more.
    """
    rows = await connection.fetch(_MOVE_ROSTERS, conversations, removal, ROSTER_GRACE_MS)
    return sorted((people.RosterChange(*row) for row in rows), key=lambda move: move.conversation)
