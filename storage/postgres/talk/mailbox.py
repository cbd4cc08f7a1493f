"""The log as devices read it, and their positions in it, in Postgres."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from domain.talk import model as talk
from storage.database import Connection
from storage.postgres.transactions import Transactions
from varde_contract.ids import ConversationId, DeviceId, ProfileId

CONFIRMATIONS: Final = 500
"""In one transaction: each conversation takes a place in the server's table of locks."""


class PostgresMailbox:
    """Keeps the promises of `domain.talk.ports.MailboxStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def read(self, requests: Sequence[talk.LogRequest]) -> Sequence[talk.LogPage | None]:
        """Return one page for each request."""
        return await self._transactions.ask(_read, requests) if requests else []

    async def confirm(self, confirmations: Sequence[talk.Confirmation]) -> Sequence[talk.Confirmation]:
        """Move positions forward and delete ciphertext nobody waits for."""
        highest = _highest(confirmations)
        moved: list[talk.Confirmation] = []
        for start in range(0, len(highest), CONFIRMATIONS):
            moved += await self._transactions.ask(_confirm, highest[start : start + CONFIRMATIONS])
        return moved

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """Move read positions forward."""
        return await self._transactions.ask(_mark_read, marks) if marks else []


# For each request a walk along the primary key of message, which ends with the page. A ciphertext is looked up only
# where the device may have one, and its size is known without reading it, so nothing beyond the page is read.
# Each look-up is fenced by its LIMIT, along a key: joined, all positions of a room of 2,000 were read for each request.
_READ: Final = """
    SELECT place, head, start_seq, upto, seq, message_id, client_id, profile_id, sender_id, sent_ms, sealed
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
         AS request (conversation_id, device_id, from_seq, most, max_bytes, place)
    CROSS JOIN LATERAL (
        SELECT head FROM conversation WHERE conversation_id = request.conversation_id LIMIT 1
    ) AS log
    CROSS JOIN LATERAL (
        SELECT start_seq, upto FROM delivery
        WHERE delivery.conversation_id = request.conversation_id AND delivery.device_id = request.device_id
        LIMIT 1
    ) AS position
    LEFT JOIN LATERAL (
        SELECT *, row_number() OVER log AS nth, sum(coalesce(octet_length(sealed), 0)) OVER log AS size
        FROM (
            SELECT seq, message_id, client_id, profile_id, device_id AS sender_id, sent_ms
            FROM message
            WHERE message.conversation_id = request.conversation_id AND seq >= from_seq
            ORDER BY seq
            LIMIT most
        ) AS message
        LEFT JOIN LATERAL (
            SELECT sealed FROM cipher
            WHERE cipher.conversation_id = request.conversation_id AND cipher.seq = message.seq AND for_all
              AND sealed <> '' AND message.seq >= start_seq AND sender_id <> request.device_id
            UNION ALL
            SELECT sealed FROM cipher
            WHERE cipher.conversation_id = request.conversation_id AND cipher.seq = message.seq
              AND NOT for_all AND cipher.device_id = request.device_id
              AND message.seq >= start_seq AND sender_id <> request.device_id
            UNION ALL  -- empty: a part for others
            SELECT sealed FROM cipher
            WHERE cipher.conversation_id = request.conversation_id AND cipher.seq = message.seq AND for_all
              AND message.seq >= start_seq AND sender_id <> request.device_id
            LIMIT 1
        ) AS cipher ON true
        WINDOW log AS (ORDER BY seq)
    ) AS entry ON nth = 1 OR size <= max_bytes
    ORDER BY place, seq
"""


async def _read(connection: Connection, requests: Sequence[talk.LogRequest]) -> list[talk.LogPage | None]:
    rows = await connection.fetch(
        _READ,
        [request.conversation for request in requests],
        [request.device for request in requests],
        [request.from_seq for request in requests],
        [request.limit for request in requests],
        [request.max_bytes for request in requests],
    )
    pages: list[talk.LogPage | None] = [None] * len(requests)
    for place, some in groupby(rows, itemgetter("place")):
        pages[place - 1] = _page(requests[place - 1], list(some))
    return pages


def _page(request: talk.LogRequest, rows: Sequence[Any]) -> talk.LogPage:
    entries = tuple(talk.LogEntry(*entry) for _, _, _, _, *entry in rows if entry[0] is not None)
    _, head, start, upto, *_ = rows[0]
    return talk.LogPage(
        conversation=request.conversation,
        from_seq=request.from_seq,
        next_seq=entries[-1].seq + 1 if entries else head + 1,
        head=head,
        start=start,
        upto=upto,
        entries=entries,
    )


def _highest(confirmations: Sequence[talk.Confirmation]) -> list[talk.Confirmation]:
    """One for each device and conversation: the highest."""
    highest: dict[tuple[ConversationId, DeviceId], talk.Confirmation] = {}
    for each in confirmations:
        key = each.conversation, each.device
        if key not in highest or highest[key].upto < each.upto:
            highest[key] = each
    return list(highest.values())


# Turns, positions and what they let go of, in one round trip: migrations/0005_confirm.sql.
_CONFIRM: Final = "SELECT place, upto FROM positions_confirm($1, $2, $3)"


async def _confirm(connection: Connection, confirmations: Sequence[talk.Confirmation]) -> list[talk.Confirmation]:
    rows = await connection.fetch(
        _CONFIRM,
        [each.conversation for each in confirmations],
        [each.device for each in confirmations],
        [each.upto for each in confirmations],
    )
    asked = ((confirmations[place - 1], upto) for place, upto in sorted(map(tuple, rows)))
    return [talk.Confirmation(each.conversation, each.device, upto) for each, upto in asked]


# Locked in one order, because two nodes may mark for the same profiles.
_MARK_READ: Final = """
    WITH member AS (
        SELECT conversation_id, profile_id, read_upto, head
        FROM membership JOIN conversation USING (conversation_id)
        WHERE (conversation_id, profile_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND accepted
        ORDER BY conversation_id, profile_id
        FOR NO KEY UPDATE OF membership
    ),
    marked AS (
        SELECT conversation_id, profile_id, read_upto, head, max(upto) AS upto
        FROM member JOIN unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS mark (conversation_id, profile_id, upto)
             USING (conversation_id, profile_id)
        WHERE upto > read_upto AND upto <= head
        GROUP BY conversation_id, profile_id, read_upto, head
    )
    UPDATE membership SET read_upto = marked.upto
    FROM marked
    WHERE membership.conversation_id = marked.conversation_id AND membership.profile_id = marked.profile_id
    RETURNING membership.conversation_id, membership.profile_id, marked.read_upto, marked.head
"""


async def _mark_read(connection: Connection, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> list[int]:
    rows = await connection.fetch(_MARK_READ, *(list(column) for column in zip(*marks, strict=True)))
    members = {(conversation, profile): (before, head) for conversation, profile, before, head in rows}
    # Several devices of a profile may mark in one batch, and others are told of each step. The statement returns only
    # where the position was before, so the steps are worked out here by its rule.
    moved = []
    for index, (conversation, profile, upto) in enumerate(marks):
        before, head = members.get((conversation, profile), (upto, upto))
        if before < upto <= head:
            moved.append(index)
            members[conversation, profile] = upto, head
    return moved
