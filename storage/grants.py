"""What the database user of each program may do: what its statements need, and nothing else.

`varde migrate` grants it to those of the users that exist. None of them owns a table or can change the schema:
migrations, operators' commands and backups belong to the owner of the database, whatever that one is called.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from storage.database import Connection

Rights: TypeAlias = Mapping[str, Sequence[str]]
"""By privilege: tables, each perhaps with the columns that it is for."""

_EVERYBODY: Final[Rights] = {
    # Whoever first sees that the database has lost something begins an epoch: that moves all rosters, and forgets keys.
    "select": (
        *("schema_migration", "store_epoch", "epoch_head", "conversation"),
        "audit_entry(number, action, target, detail)",  # whether it has other settings than the last time
    ),
    "insert": ("store_epoch", "epoch_head"),
    "update": ("store_epoch", "conversation(roster_version, superseded_ms)"),
    "truncate": ("one_time_key",),
}
_CIPHER_KEY: Final = "cipher(ctid, conversation_id, seq, device_id, for_all)"
"""Enough to delete ciphertext, and not to read it."""
RIGHTS: Final[Mapping[str, Sequence[Rights]]] = {
    # No table of people but what rosters are made of: neither addresses, codes and sessions, nor keys and device lists.
    "varde_relay": (
        _EVERYBODY,
        {
            "select": (
                *("message", "cipher", "delivery", "membership", "revocation", "relay_node", "spending"),
                "device(account_id, device_id, profiles)",
                "profile(account_id, profile_id, policies)",
            ),
            "insert": ("message", "cipher", "relay_node", "spending"),
            "update": ("conversation(head)", "delivery", "membership(read_upto)", "relay_node", "spending"),
            "delete": ("cipher", "relay_node", "spending"),
        },
    ),
    # No ciphertext to read, no relay nodes, no signing of the transparency log.
    "varde_api": (
        _EVERYBODY,
        {
            "select": (
                *("account", "address_account", "one_time_code", "code_window", "profile", "profile_account", "device"),
                *("device_account", "device_list", "session", "revocation", "one_time_key", "fallback_key"),
                *("claim_window", "membership", "membership_chain", "membership_statement", "first_words", "block"),
                *("pair_conversation", "message", "delivery", "spending", _CIPHER_KEY),
                *("log_pending", "log_entry", "log_tile", "log_checkpoint", "profile_card", "conversation_card"),
                *("link", "link_use", "name_account"),
            ),
            "insert": (
                *("account", "address_account", "one_time_code", "code_window", "profile", "profile_account", "device"),
                *("device_account", "device_list", "session", "revocation", "one_time_key", "fallback_key"),
                *("claim_window", "conversation", "membership", "membership_chain", "membership_statement"),
                *("first_words", "block", "pair_conversation", "message", "cipher", "delivery", "spending"),
                *("log_pending", "profile_card", "conversation_card", "link", "link_use", "name_account"),
            ),
            "update": (
                *("account(list_number)", "address_account", "one_time_code", "code_window", "profile", "device"),
                *("session", "revocation", "one_time_key", "fallback_key", "claim_window", "conversation(head)"),
                *("membership", "membership_chain", "first_words", "delivery", "spending"),
                *("profile_card", "conversation_card", "link", "name_account"),
            ),
            "delete": (
                *("one_time_code", "device", "session", "membership", "first_words", "block", "pair_conversation"),
                *("cipher", "delivery", "spending", "link", "name_account"),
            ),
        },
    ),
    # Deletes by time, so it sees times and keys of rows: no codes, no sessions' digests, no ciphertext.
    "varde_worker": (
        _EVERYBODY,
        {
            "select": (
                *("sweeper", "job_lease", "message", "delivery", "membership", "device", "account", "device_list"),
                *("revocation", "claim_window", "log_pending", "log_entry", "log_tile", "log_checkpoint"),
                *("one_time_code(address, expires_ms)", "code_window(address, until_ms)"),
                *("session(account_id, session_id, refresh_expires_ms)", _CIPHER_KEY),
                *("one_time_key(account_id, device_id, key, handed_out_ms)", "audit_entry(number, done_ms)"),
                *("link(account_id, link_id, expires_ms)", "name_account(skeleton, freed_ms)"),
            ),
            "insert": ("job_lease", "revocation", "delivery", "log_pending", "log_entry", "log_tile", "log_checkpoint"),
            "update": (
                *("sweeper", "job_lease", "device", "revocation", "log_tile", "log_checkpoint", "account(list_number)"),
                # To lock a row that is about to be deleted takes the right to change some column of it.
                *("one_time_code(expires_ms)", "code_window(until_ms)", "claim_window(until_ms)"),
                *("session(refresh_expires_ms)", "one_time_key(handed_out_ms)", "cipher(seq)"),
                *("link(expires_ms)", "name_account(freed_ms)"),
                "audit_entry(done_ms)",  # no row of it can be changed: a trigger sees to that
            ),
            "delete": (
                *("job_lease", "message", "cipher", "delivery", "one_time_code", "code_window", "session"),
                *("revocation", "claim_window", "one_time_key", "log_pending", "audit_entry", "link", "name_account"),
            ),
        },
    ),
}
_LOCK: Final = 0x56617264_67
"""Two migrators at once would change the same rows of the catalogue, and one of them would fail."""


async def grant_rights(connection: Connection) -> tuple[str, ...]:
    """Give each user that exists exactly its rights, in one transaction; return who they are. For the tables' owner."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) ORDER BY 1", list(RIGHTS))
        users = tuple(row["rolname"] for row in rows)
        for user in users:
            # Programs of before and after an upgrade run side by side: a right goes one version after its last use.
            await connection.execute("\n".join(_statements(user)))
    return users


def _statements(user: str) -> Iterator[str]:
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {user};"
    for rights in RIGHTS[user]:
        for privilege, tables in rights.items():
            for each in tables:
                table, _, columns = each.partition("(")
                yield f"GRANT {privilege}{' (' + columns if columns else ''} ON {table} TO {user};"
