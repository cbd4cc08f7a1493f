"""Rosters as they are read from Postgres: rows of (conversation, member, device), folded.

A roster comes out of one statement, so all of it was true at the same moment.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from domain.people import model as people
from domain.talk import model as talk
from storage.database import Connection
from storage.postgres.people.profiles import read_policies
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.talk import ConversationKind, Role

# A row for each member and each device that receives for it, but also for a member without one, and for nobody at all.
_ROSTERS: Final = """
    SELECT conversation_id, kind, roster_version, superseded_ms,
           membership.profile_id, membership.account_id, role, from_seq, policies,
           device_id
    FROM conversation
    LEFT JOIN membership USING (conversation_id)
    LEFT JOIN profile USING (account_id, profile_id)
    LEFT JOIN device ON device.account_id = membership.account_id AND membership.profile_id = ANY (device.profiles)
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
    SELECT conversation_id, kind, roster_version, superseded_ms, conversation.created_ms AS opened_ms, head,
           membership.profile_id, membership.account_id, role, from_seq, policies,
           root_key,
           device_id, noise_key, signing_key, identity_key, signature, device.created_ms
    FROM conversation
    LEFT JOIN membership USING (conversation_id)
    LEFT JOIN profile USING (account_id, profile_id)
    LEFT JOIN account USING (account_id)
    LEFT JOIN device ON device.account_id = membership.account_id AND membership.profile_id = ANY (device.profiles)
    WHERE conversation_id = $1
"""


async def read_view(connection: Connection, conversation: ConversationId) -> talk.RosterView | None:
    """Read one roster with root keys and certificates."""
    rows = await connection.fetch(_VIEW, conversation)
    return _view(rows) if rows else None


# Newest first, by the client's own numbering: if the reader can have anything of it, then most likely the last one. All
# of the device's messages in the conversation are looked at only for a reader that came after the last of them. An
# index by number would spare that rare reader some milliseconds, and cost every message that is stored a fourth index.
_SENDER: Final = """
    SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, certified.created_ms, root_key
    FROM device_account
    JOIN account USING (account_id)
    JOIN (
        SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, created_ms FROM device
        UNION ALL
        SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, created_ms FROM past_device
    ) AS certified USING (account_id, device_id)
    WHERE device_id = $2 AND EXISTS (
        SELECT FROM delivery
        CROSS JOIN LATERAL (
            SELECT FROM message
            WHERE message.conversation_id = $1 AND message.device_id = $2 AND message.seq >= delivery.start_seq
            ORDER BY client_id DESC
            LIMIT 1
        ) AS written
        WHERE delivery.conversation_id = $1 AND delivery.device_id = $3
    )
"""


async def read_sender(
    connection: Connection, conversation: ConversationId, device: DeviceId, reader: DeviceId
) -> talk.SenderCertificate | None:
    """Read the certificate of a device that wrote something the reader can have, current or gone."""
    row = await connection.fetchrow(_SENDER, conversation, device, reader)
    if row is None:
        return None
    return talk.SenderCertificate(_device(row, profiles=()), row["root_key"])


def _roster(rows: Sequence[Any]) -> talk.Roster:
    first = rows[0]
    return talk.Roster(
        conversation=first["conversation_id"],
        kind=ConversationKind(first["kind"]),
        version=first["roster_version"],
        members={row["profile_id"]: _member(row) for row in rows if row["profile_id"] is not None},
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
    root_keys: dict[AccountId, bytes] = {
        row["account_id"]: row["root_key"] for row in rows if row["root_key"] is not None
    }
    profiles = {device: tuple(sorted(received)) for device, received in _received(rows).items()}
    return talk.RosterView(
        roster=_roster(rows),
        created_ms=rows[0]["opened_ms"],
        head=rows[0]["head"],
        root_keys=root_keys,
        devices={
            row["device_id"]: _device(row, profiles[row["device_id"]]) for row in rows if row["device_id"] is not None
        },
    )


def _device(row: Any, profiles: tuple[ProfileId, ...]) -> people.Device:
    return people.Device(
        account=row["account_id"],
        id=row["device_id"],
        noise_key=row["noise_key"],
        signing_key=row["signing_key"],
        identity_key=row["identity_key"],
        signature=row["signature"],
        profiles=profiles,
        created_ms=row["created_ms"],
    )
