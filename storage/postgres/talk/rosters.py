"""Rosters as they are read from Postgres: rows of (conversation, member, device), folded.

A roster comes out of one statement, so all of it was true at the same moment.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from domain.talk import model as talk
from storage.database import Connection
from storage.postgres.people.profiles import read_policies
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import ConversationKind, Role

# A row for each member and each device that receives for it, but also for a member without one, and for nobody at all.
_ROSTERS: Final = """
    SELECT conversation_id, kind, roster_version, superseded_ms,
           membership.profile_id, membership.account_id, role, accepted, from_seq, policies,
           device_id
    FROM conversation
    LEFT JOIN membership USING (conversation_id)
    LEFT JOIN profile USING (account_id, profile_id)
    LEFT JOIN device ON accepted
        AND device.account_id = membership.account_id AND membership.profile_id = ANY (device.profiles)
    WHERE conversation_id = ANY ($1)
    ORDER BY conversation_id
"""


async def read_rosters(
    connection: Connection, conversations: Sequence[ConversationId]
) -> dict[ConversationId, talk.Roster]:
    """Read several rosters in one query."""
    rows = await connection.fetch(_ROSTERS, conversations)
    return {conversation: _roster(list(some)) for conversation, some in groupby(rows, itemgetter("conversation_id"))}


_VIEW: Final = """
    SELECT conversation_id, kind, roster_version, superseded_ms, conversation.created_ms, head,
           membership.profile_id, membership.account_id, role, accepted, from_seq, policies, salt,
           device_list.number, device_list.hash, chain.number AS chain_number, chain.hash AS chain_hash,
           device_id
    FROM conversation
    LEFT JOIN membership_chain AS chain USING (conversation_id)
    LEFT JOIN membership USING (conversation_id)
    LEFT JOIN profile USING (account_id, profile_id)
    LEFT JOIN account USING (account_id)
    LEFT JOIN device_list ON accepted
        AND device_list.account_id = account.account_id AND device_list.number = list_number
    LEFT JOIN device ON accepted
        AND device.account_id = membership.account_id AND membership.profile_id = ANY (device.profiles)
    WHERE conversation_id = $1
"""


async def read_view(connection: Connection, conversation: ConversationId) -> talk.RosterView | None:
    """Read one roster with salts and the newest device lists."""
    rows = await connection.fetch(_VIEW, conversation)
    return _view(rows) if rows else None


def _roster(rows: Sequence[Any]) -> talk.Roster:
    first = rows[0]
    return talk.Roster(
        conversation=first["conversation_id"],
        kind=ConversationKind(first["kind"]),
        version=first["roster_version"],
        members={row["profile_id"]: _member(row) for row in rows if row["accepted"]},
        devices={device: frozenset(profiles) for device, profiles in _received(rows).items()},
        superseded_ms=tuple(first["superseded_ms"]),
    )


def _member(row: Any) -> talk.Member:
    policies = read_policies(row["policies"])
    return talk.Member(
        profile=row["profile_id"],
        account=row["account_id"],
        role=Role(row["role"]),
        from_seq=row["from_seq"],
        read_receipts=policies.read_receipts,
        delivery_receipts=policies.delivery_receipts,
        typing=policies.typing,
        presence=policies.presence,
    )


def _received(rows: Iterable[Any]) -> dict[DeviceId, list[ProfileId]]:
    received: dict[DeviceId, list[ProfileId]] = {}
    for row in rows:
        if row["device_id"] is not None:
            received.setdefault(row["device_id"], []).append(row["profile_id"])
    return received


def _view(rows: Sequence[Any]) -> talk.RosterView:
    first = rows[0]
    return talk.RosterView(
        roster=_roster(rows),
        # None is the one row of a conversation without members.
        invited={row["profile_id"]: row["account_id"] for row in rows if row["accepted"] is False},
        chain=None if first["chain_hash"] is None else talk.ChainHead(first["chain_number"], first["chain_hash"]),
        created_ms=first["created_ms"],
        head=first["head"],
        salts={row["profile_id"]: row["salt"] for row in rows if row["accepted"]},
        lists={
            row["account_id"]: talk.ListHead(row["number"], row["hash"]) for row in rows if row["number"] is not None
        },
    )
