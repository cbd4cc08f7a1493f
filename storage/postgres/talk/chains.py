"""Membership statements in Postgres, and the members that they come to. All within the caller's transaction."""

from collections.abc import Mapping, Sequence
from typing import Final

from domain.talk import model as talk
from domain.talk.ports import ChainChange, NewRoster
from storage.database import Connection
from storage.postgres.locks import hold_accounts, lock_conversations
from storage.postgres.talk.journal import commit
from storage.postgres.talk.positions import begin_positions, end_positions, move_rosters
from varde_contract.envelope import Cipher, SealedParts, join_sealed
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.membership import Member
from varde_contract.talk import ConversationKind, Role

_PUT_MEMBERS: Final = """
    INSERT INTO membership AS before
           (conversation_id, profile_id, account_id, role, accepted, from_seq, inviter_id, asked_ms)
    SELECT conversation_id, profile_id, account_id, role, accepted, head + 1,
           CASE WHEN NOT accepted THEN inviter_id END, CASE WHEN NOT accepted THEN $7::bigint END
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::uuid[])
         AS member (profile_id, account_id, role, accepted, inviter_id)
    JOIN conversation ON conversation_id = $1
    ON CONFLICT (conversation_id, profile_id) DO UPDATE SET
        account_id = excluded.account_id,
        role = excluded.role,
        accepted = excluded.accepted,
        inviter_id = CASE WHEN NOT excluded.accepted THEN coalesce(before.inviter_id, excluded.inviter_id) END,
        asked_ms = CASE WHEN NOT excluded.accepted THEN coalesce(before.asked_ms, excluded.asked_ms) END,
        from_seq = CASE WHEN before.accepted THEN before.from_seq ELSE excluded.from_seq END
"""
_PUT_CHAIN: Final = """
    INSERT INTO membership_chain (conversation_id, number, hash, state) VALUES ($1, $2, $3, $4)
    ON CONFLICT (conversation_id) DO UPDATE SET
        number = excluded.number, hash = excluded.hash, state = excluded.state
"""
_PUT_STATEMENTS: Final = """
    INSERT INTO membership_statement (conversation_id, number, seq, hash, signed, state, profile_id, put_back)
    SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::uuid[], $8::bool[])
"""


async def begin(connection: Connection, new: NewRoster) -> None:
    """Store the members and statements of a conversation that was just inserted."""
    await _put_members(connection, new.conversation, list(new.members.items()), new.statements)
    await begin_positions(connection, [new.conversation], [member.account for member in new.members.values()])
    await _put_statements(connection, new.conversation, new.version, new.statements, new.state)


_CHAIN_NUMBER: Final = "SELECT coalesce(max(number), -1) FROM membership_chain WHERE conversation_id = $1"
_ROSTER_VERSION: Final = "SELECT roster_version FROM conversation WHERE conversation_id = $1"
_MEMBERS: Final = "SELECT profile_id, account_id, role, accepted FROM membership WHERE conversation_id = $1"
_REMOVE: Final = "DELETE FROM membership WHERE conversation_id = $1 AND profile_id = ANY ($2)"
_DEVICES: Final = "SELECT device_id FROM device WHERE account_id = ANY ($1)"
_FORGET_WORDS: Final = "DELETE FROM first_words WHERE conversation_id = $1 AND profile_id = ANY ($2)"
_FREE_PAIR: Final = """
    DELETE FROM pair_conversation WHERE low_profile_id = $1 AND high_profile_id = $2 AND conversation_id = $3
"""


async def extend(connection: Connection, change: ChainChange) -> talk.Extended | None:
    """Do what `domain.talk.ports.ConversationStore.extend` promises."""
    conversation = change.conversation
    # In the order of `storage.postgres.locks`: accounts before conversations.
    await hold_accounts(connection, change.joining)
    await lock_conversations(connection, [conversation])
    # The lock makes one of two equal numbers the first; the other sees it here, and nothing of it is stored.
    if await connection.fetchval(_CHAIN_NUMBER, conversation) != change.after:
        return None
    before = {
        profile: Member(account, Role(role), accepted)
        for profile, account, role, accepted in await connection.fetch(_MEMBERS, conversation)
    }
    after = change.members
    changed = [(profile, member) for profile, member in after.items() if before.get(profile) != member]
    gone = [profile for profile in before if profile not in after]
    await connection.execute(_REMOVE, conversation, gone)
    await _put_members(connection, conversation, changed, change.statements)
    # Positions before the statements get their numbers: who comes in has them as well, and who is gone has none of
    # them.
    await begin_positions(connection, [conversation], [member.account for _, member in changed if member.accepted])
    roles, roles_after = _accepted_roles(before), _accepted_roles(after)
    ended = [before[profile].account for profile in roles if profile not in roles_after]
    if ended:
        devices = await connection.fetch(_DEVICES, ended)
        await end_positions(connection, [conversation], [device for (device,) in devices])
    await connection.execute(_FORGET_WORDS, conversation, [each for each, member in changed if member.accepted])
    if change.freed is not None:
        await connection.execute(_FREE_PAIR, *change.freed, conversation)
    # An invitation changes nothing for who sends: it must not make everybody encrypt again.
    moved = roles != roles_after
    if moved:
        await move_rosters(connection, [conversation], removal=bool(ended))
    version: int = await connection.fetchval(_ROSTER_VERSION, conversation)
    seqs = await _put_statements(connection, conversation, version, change.statements, change.state)
    return talk.Extended(seqs, version, moved)


def _accepted_roles(members: Mapping[ProfileId, Member]) -> dict[ProfileId, Role]:
    return {profile: member.role for profile, member in members.items() if member.accepted}


async def _put_members(
    connection: Connection,
    conversation: ConversationId,
    members: Sequence[tuple[ProfileId, Member]],
    statements: Sequence[talk.NewStatement],
) -> None:
    inviters = {each.invited: each.account for each in statements if each.invited is not None}
    await connection.execute(
        _PUT_MEMBERS,
        conversation,
        [profile for profile, _ in members],
        [member.account for _, member in members],
        [member.role for _, member in members],
        [member.accepted for _, member in members],
        [inviters.get(profile) for profile, _ in members],
        statements[-1].sent_ms if statements else None,
    )


async def _put_statements(
    connection: Connection,
    conversation: ConversationId,
    version: int,
    statements: Sequence[talk.NewStatement],
    state: bytes,
) -> tuple[int, ...]:
    if not statements:
        return ()
    drafts = [
        talk.Draft(
            message=statement.message,
            conversation=conversation,
            roster_version=version,
            client_id=statement.client_id,
            profile=statement.profile,
            device=statement.device,
            sent_ms=statement.sent_ms,
            group=join_sealed(SealedParts(Cipher.MEMBERSHIP, b"", statement.signed)),
            devices=None,
        )
        for statement in statements
    ]
    committed = await commit(connection, drafts)
    seqs = tuple(each.seq for each in committed if isinstance(each, talk.Committed))
    assert len(seqs) == len(statements), "the roster is at this version: its row is locked"
    last = statements[-1]
    await connection.execute(_PUT_CHAIN, conversation, last.number, last.hash, state)
    await connection.execute(
        _PUT_STATEMENTS,
        conversation,
        [statement.number for statement in statements],
        seqs,
        [statement.hash for statement in statements],
        [statement.signed for statement in statements],
        [statement.state for statement in statements],
        [statement.signer for statement in statements],
        [statement.put_back for statement in statements],
    )
    return seqs


_STATE: Final = "SELECT state FROM membership_chain WHERE conversation_id = $1"


async def read_membership(connection: Connection, conversation: ConversationId) -> bytes | None:
    """Read the encoded membership after the last statement."""
    state: bytes | None = await connection.fetchval(_STATE, conversation)
    return state


# The last one decides: what was put back never follows what is new.
_HAS_GONE_ON: Final = """
    SELECT EXISTS (
        SELECT FROM membership_chain
        JOIN membership_statement AS last USING (conversation_id, number)
        LEFT JOIN epoch_head ON epoch_head.conversation_id = last.conversation_id
            AND epoch = (SELECT epoch FROM store_epoch ORDER BY number DESC LIMIT 1)
        WHERE last.conversation_id = $1 AND NOT put_back AND seq > coalesce(epoch_head.head, 0)
    )
"""


async def has_gone_on(connection: Connection, conversation: ConversationId) -> bool:
    """Whether something new was stated in the present epoch."""
    return bool(await connection.fetchval(_HAS_GONE_ON, conversation))


_STATEMENTS: Final = """
    SELECT number, seq, signed, state FROM membership_statement
    WHERE conversation_id = $1 AND number >= $2 ORDER BY number LIMIT $3
"""


async def read_statements(
    connection: Connection, conversation: ConversationId, first: int, limit: int
) -> list[talk.StoredStatement]:
    """Read statements in order."""
    return [talk.StoredStatement(*row) for row in await connection.fetch(_STATEMENTS, conversation, first, limit)]


# Invitations of co-members are all shown, those of strangers up to a number. Strangers take turns: who invites a
# hundred times pushes nobody out. Whose inviter is blocked is not even counted.
_INVITATIONS: Final = """
    WITH asked AS (
        SELECT conversation_id, profile_id, account_id, inviter_id, asked_ms
        FROM device_account
        JOIN device USING (account_id, device_id)
        JOIN membership USING (account_id)
        WHERE device_id = $1 AND profile_id = ANY (device.profiles) AND NOT accepted AND NOT EXISTS (
            SELECT FROM block WHERE block.account_id = membership.account_id AND blocked_id = inviter_id
        )
    ), strange AS (
        SELECT inviter_id, profile_id, NOT EXISTS (
            SELECT FROM membership AS theirs JOIN membership AS mine USING (conversation_id)
            WHERE mine.profile_id = asked.profile_id AND mine.accepted
              AND theirs.account_id = asked.inviter_id AND theirs.accepted
        ) AS stranger, EXISTS (
            SELECT FROM link_use JOIN link USING (account_id, link_id)
            WHERE link.account_id = asked.account_id AND link.profile_id = asked.profile_id
              AND user_id = asked.inviter_id
        ) AS linked
        FROM (SELECT DISTINCT inviter_id, profile_id, account_id FROM asked) AS asked
    ), turns AS (
        SELECT asked.*, stranger, linked, row_number() OVER (
            PARTITION BY profile_id, inviter_id ORDER BY asked_ms DESC, conversation_id DESC
        ) AS turn
        FROM asked JOIN strange USING (inviter_id, profile_id)
    ), placed AS (
        SELECT *, row_number() OVER (
            PARTITION BY profile_id, stranger ORDER BY turn, asked_ms DESC, conversation_id DESC
        ) AS place
        FROM (
            SELECT conversation_id, profile_id, asked_ms, turn, stranger AND (turn > 1 OR NOT linked) AS stranger
            FROM turns
        ) AS turns
    )
    SELECT conversation_id, kind, profile_id, client_id, by_profile_id, by_device_id, ciphertext
    FROM placed
    JOIN conversation USING (conversation_id)
    LEFT JOIN (SELECT * FROM first_words WHERE device_id = $1) AS words USING (conversation_id, profile_id)
    WHERE place <= $2 OR NOT stranger
    ORDER BY asked_ms DESC, conversation_id DESC
"""


async def read_invitations(connection: Connection, device: DeviceId, most: int) -> list[talk.Invitation]:
    """Read what the profiles of a device are invited to, as far as its owner is to see it."""
    return [
        talk.Invitation(conversation, ConversationKind(kind), profile, None if words[0] is None else talk.Words(*words))
        for conversation, kind, profile, *words in await connection.fetch(_INVITATIONS, device, most)
    ]
