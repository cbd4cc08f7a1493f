"""Conversations and memberships in Postgres."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from domain.talk import model as talk
from domain.talk.ports import ChainChange, NewRoster
from storage.database import Connection
from storage.postgres.locks import hold_accounts
from storage.postgres.talk.chains import begin, extend, has_gone_on, read_invitations, read_membership, read_statements
from storage.postgres.talk.rosters import read_rosters, read_view
from storage.postgres.transactions import Transactions
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import ConversationKind

# Before and behind every id, so that one statement, with one plan, serves the first page as well.
_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)


class PostgresConversations:
    """Keeps the promises of `domain.talk.ports.ConversationStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def open(self, new: NewRoster) -> tuple[ConversationId, bool]:
        """Store the conversation, or return the one its pair already has."""
        return await self._transactions.run(_open, new)

    async def pair(self, pair: tuple[ProfileId, ProfileId]) -> ConversationId | None:
        """Return the dm or self of a pair."""
        return await self._transactions.ask(_find_pair, pair)

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk.Roster]:
        """Return the rosters."""
        return await self._transactions.ask(read_rosters, conversations)

    async def view(self, conversation: ConversationId) -> talk.RosterView | None:
        """Return the roster with what it is checked by."""
        return await self._transactions.ask(read_view, conversation)

    async def list_for(self, device: DeviceId, after: ConversationId | None, limit: int) -> Sequence[talk.Summary]:
        """Return a page of the conversations the device receives for."""
        return await self._transactions.ask(_list_for, device, after or _FIRST, limit)

    async def list_many(self, requests: Sequence[talk.ListRequest]) -> Sequence[Sequence[talk.ConversationHead]]:
        """Return a page of standings for each request."""
        return await self._transactions.ask(_list_many, requests) if requests else []

    async def log_heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk.LogHead]:
        """Return heads and roster versions."""
        return await self._transactions.ask(_log_heads, conversations) if conversations else {}

    async def recent_heads(self, after_ms: int, upto_ms: int) -> Mapping[ConversationId, int]:
        """Return the last number of each among the messages of that time."""
        return await self._transactions.ask(_recent_heads, after_ms, upto_ms)

    async def extend(self, change: ChainChange) -> talk.Extended | None:
        """Store statements, and the members after them."""
        return await self._transactions.run(extend, change)

    async def membership(self, conversation: ConversationId) -> bytes | None:
        """Return the encoded membership."""
        return await self._transactions.ask(read_membership, conversation)

    async def statements(self, conversation: ConversationId, first: int, limit: int) -> Sequence[talk.StoredStatement]:
        """Return statements."""
        return await self._transactions.ask(read_statements, conversation, first, limit)

    async def has_gone_on(self, conversation: ConversationId) -> bool:
        """Whether something new was stated in the present epoch."""
        return await self._transactions.ask(has_gone_on, conversation)

    async def invitations(self, device: DeviceId, most: int) -> Sequence[talk.Invitation]:
        """Return what is waited for."""
        return await self._transactions.ask(read_invitations, device, most)


_CLAIM_PAIR: Final = """
    INSERT INTO pair_conversation (low_profile_id, high_profile_id, conversation_id) VALUES ($1, $2, $3)
    ON CONFLICT (low_profile_id, high_profile_id) DO NOTHING
    RETURNING true
"""
_FIND_PAIR: Final = "SELECT conversation_id FROM pair_conversation WHERE low_profile_id = $1 AND high_profile_id = $2"
_OPEN: Final = """
    INSERT INTO conversation (conversation_id, kind, created_ms, roster_version) VALUES ($1, $2, $3, $4)
    ON CONFLICT (conversation_id) DO NOTHING
    RETURNING true
"""


async def _open(connection: Connection, new: NewRoster) -> tuple[ConversationId, bool]:
    accounts = [member.account for member in new.members.values()]
    await hold_accounts(connection, accounts)
    if new.pair is not None and not await connection.fetchval(_CLAIM_PAIR, *new.pair, new.conversation):
        # Whoever was first has committed, or the claim would still wait: this statement sees it.
        known = await _find_pair(connection, new.pair)
        assert known is not None
        return known, False
    if not await connection.fetchval(_OPEN, new.conversation, new.kind, new.created_ms, new.version):
        return new.conversation, False  # several put back the same one at once
    await begin(connection, new)
    return new.conversation, True


async def _find_pair(connection: Connection, pair: tuple[ProfileId, ProfileId]) -> ConversationId | None:
    found: ConversationId | None = await connection.fetchval(_FIND_PAIR, *pair)
    return found


_LIST_FOR: Final = """
    SELECT conversation_id, kind,
           ARRAY(
               SELECT profile_id FROM membership
               WHERE membership.conversation_id = delivery.conversation_id AND accepted
                 AND membership.account_id = device.account_id AND profile_id = ANY (device.profiles)
               ORDER BY profile_id
           ),
           head, upto, roster_version
    FROM device_account
    JOIN device USING (account_id, device_id)
    JOIN delivery USING (device_id)
    JOIN conversation USING (conversation_id)
    WHERE device_id = $1 AND conversation_id > $2
    ORDER BY conversation_id
    LIMIT $3
"""


async def _list_for(connection: Connection, device: DeviceId, after: UUID, limit: int) -> list[talk.Summary]:
    rows = await connection.fetch(_LIST_FOR, device, after, limit)
    return [
        talk.Summary(conversation, ConversationKind(kind), tuple(profiles), head, upto, version)
        for conversation, kind, profiles, head, upto, version in rows
    ]


# A walk along the index of the device's positions for each request, which ends with the page. Exactly the devices that
# receive for a member have a position, so neither the device nor its memberships are looked at. The device's own last
# message is looked for behind its position only: there is mostly nothing, and otherwise it is read as backlog anyway.
_LIST_MANY: Final = """
    SELECT place, conversation_id, head, upto, roster_version,
           CASE WHEN head > upto THEN coalesce((
               SELECT seq FROM message
               WHERE message.conversation_id = position.conversation_id AND seq > upto
                 AND message.device_id = position.device_id
               ORDER BY seq DESC
               LIMIT 1
           ), 0) ELSE 0 END
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS request (device_id, before, most, place)
    CROSS JOIN LATERAL (
        SELECT conversation_id, device_id, upto FROM delivery
        WHERE delivery.device_id = request.device_id AND conversation_id < before
        ORDER BY conversation_id DESC
        LIMIT most
    ) AS position
    JOIN conversation USING (conversation_id)
    ORDER BY place, conversation_id DESC
"""


async def _list_many(connection: Connection, requests: Sequence[talk.ListRequest]) -> list[list[talk.ConversationHead]]:
    rows = await connection.fetch(
        _LIST_MANY,
        [request.device for request in requests],
        [request.before or _LAST for request in requests],
        [request.limit for request in requests],
    )
    pages: list[list[talk.ConversationHead]] = [[] for _ in requests]
    for place, *standing in rows:
        pages[place - 1].append(talk.ConversationHead(*standing))
    return pages


_LOG_HEADS: Final = "SELECT conversation_id, head, roster_version FROM conversation WHERE conversation_id = ANY ($1)"


async def _log_heads(
    connection: Connection, conversations: Sequence[ConversationId]
) -> dict[ConversationId, talk.LogHead]:
    return {
        conversation: talk.LogHead(*tip) for conversation, *tip in await connection.fetch(_LOG_HEADS, conversations)
    }


# Along message_by_time, which the retention needs anyway: a commit pays nothing for it.
_RECENT_HEADS: Final = """
    SELECT conversation_id, max(seq) AS head FROM message WHERE sent_ms > $1 AND sent_ms <= $2 GROUP BY conversation_id
"""


async def _recent_heads(connection: Connection, after_ms: int, upto_ms: int) -> dict[ConversationId, int]:
    rows = await connection.fetch(_RECENT_HEADS, after_ms, upto_ms)
    return {row["conversation_id"]: row["head"] for row in rows}
