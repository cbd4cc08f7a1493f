"""Conversations and memberships in Postgres."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from domain.people import model as people
from domain.talk import model as talk
from domain.talk.ports import MemberFault, NewRoster
from storage.database import Connection
from storage.postgres.locks import hold_accounts
from storage.postgres.talk.positions import begin_positions, end_positions, move_rosters
from storage.postgres.talk.rosters import read_rosters, read_view
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.talk import ConversationKind, Role

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

    async def add_member(
        self, conversation: ConversationId, version: int, member: tuple[ProfileId, AccountId, Role], *, most: int
    ) -> people.RosterChange | MemberFault:
        """Add a member from the head on."""
        return await self._transactions.run(_add_member, conversation, version, member, most)

    async def remove_member(
        self, conversation: ConversationId, version: int, profile: ProfileId
    ) -> people.RosterChange | MemberFault:
        """Remove a member and what its devices no longer need."""
        return await self._transactions.run(_remove_member, conversation, version, profile)

    async def set_role(
        self, conversation: ConversationId, version: int, profile: ProfileId, role: Role
    ) -> people.RosterChange | MemberFault:
        """Change a member's role."""
        return await self._transactions.run(_set_role, conversation, version, profile, role)


_CLAIM_PAIR: Final = """
    INSERT INTO pair_conversation (low_profile_id, high_profile_id, conversation_id) VALUES ($1, $2, $3)
    ON CONFLICT (low_profile_id, high_profile_id) DO NOTHING
    RETURNING true
"""
_FIND_PAIR: Final = "SELECT conversation_id FROM pair_conversation WHERE low_profile_id = $1 AND high_profile_id = $2"
_OPEN: Final = "INSERT INTO conversation (conversation_id, kind, created_ms) VALUES ($1, $2, $3)"
_SEAT: Final = """
    INSERT INTO membership (conversation_id, profile_id, account_id, role, from_seq)
    SELECT $1, profile_id, account_id, role, 1
    FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS member (profile_id, account_id, role)
"""


async def _open(connection: Connection, new: NewRoster) -> tuple[ConversationId, bool]:
    profiles, accounts, roles = zip(*new.members, strict=True)
    await hold_accounts(connection, accounts)
    if new.pair is not None and not await connection.fetchval(_CLAIM_PAIR, *new.pair, new.conversation):
        # Whoever was first has committed, or the claim would still wait: this statement sees it.
        known: ConversationId = await connection.fetchval(_FIND_PAIR, *new.pair)
        return known, False
    await connection.execute(_OPEN, new.conversation, new.kind, new.created_ms)
    await connection.execute(_SEAT, new.conversation, profiles, accounts, roles)
    await begin_positions(connection, [new.conversation], accounts)
    return new.conversation, True


_LIST_FOR: Final = """
    SELECT conversation_id, kind,
           ARRAY(
               SELECT profile_id FROM membership
               WHERE membership.conversation_id = delivery.conversation_id
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


# The domain has judged the roster at this version, without a lock. If it has moved since, there is no such row, and the
# domain judges again.
_LOCK_AT: Final = """
    SELECT head FROM conversation WHERE conversation_id = $1 AND roster_version = $2
    FOR NO KEY UPDATE
"""
_MEMBERS: Final = """
    SELECT count(*), count(*) FILTER (WHERE profile_id = $2) FROM membership WHERE conversation_id = $1
"""
_ADD_MEMBER: Final = """
    INSERT INTO membership (conversation_id, profile_id, account_id, role, from_seq) VALUES ($1, $2, $3, $4, $5)
"""


async def _add_member(
    connection: Connection,
    conversation: ConversationId,
    version: int,
    member: tuple[ProfileId, AccountId, Role],
    most: int,
) -> people.RosterChange | MemberFault:
    profile, account, role = member
    await hold_accounts(connection, [account])
    head = await connection.fetchval(_LOCK_AT, conversation, version)
    if head is None:
        return MemberFault.MOVED
    row = await connection.fetchrow(_MEMBERS, conversation, profile)
    assert row is not None
    count, already = row
    if already:
        return MemberFault.ALREADY_MEMBER
    if count >= most:
        return MemberFault.TOO_MANY
    # From the next number on: what was said before is not for the newcomer. The lock keeps the head where it was read.
    await connection.execute(_ADD_MEMBER, conversation, profile, account, role, head + 1)
    await begin_positions(connection, [conversation], [account])
    return await _move(connection, conversation)


_REMOVE_MEMBER: Final = """
    DELETE FROM membership WHERE conversation_id = $1 AND profile_id = $2 RETURNING account_id
"""
_DEVICES: Final = "SELECT device_id FROM device WHERE account_id = $1"


async def _remove_member(
    connection: Connection, conversation: ConversationId, version: int, profile: ProfileId
) -> people.RosterChange | MemberFault:
    if await connection.fetchval(_LOCK_AT, conversation, version) is None:
        return MemberFault.MOVED
    account = await connection.fetchval(_REMOVE_MEMBER, conversation, profile)
    if account is None:
        return MemberFault.NO_MEMBER
    devices = await connection.fetch(_DEVICES, account)
    await end_positions(connection, [conversation], [device for (device,) in devices])
    return await _move(connection, conversation, removal=True)


_SET_ROLE: Final = """
    UPDATE membership SET role = $3 WHERE conversation_id = $1 AND profile_id = $2 RETURNING true
"""


async def _set_role(
    connection: Connection, conversation: ConversationId, version: int, profile: ProfileId, role: Role
) -> people.RosterChange | MemberFault:
    if await connection.fetchval(_LOCK_AT, conversation, version) is None:
        return MemberFault.MOVED
    if not await connection.fetchval(_SET_ROLE, conversation, profile, role):
        return MemberFault.NO_MEMBER
    return await _move(connection, conversation)


async def _move(connection: Connection, conversation: ConversationId, *, removal: bool = False) -> people.RosterChange:
    (move,) = await move_rosters(connection, [conversation], removal=removal)
    return move
