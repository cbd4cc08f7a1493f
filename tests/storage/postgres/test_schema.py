"""The schema itself: what it must never be able to hold, and the keys it can be distributed by."""

from typing import Any

from storage.database import Connection
from storage.island import Island

LOOKUPS = {
    "name_account",
    "account",
    "address_account",
    "audit_entry",
    "code_window",
    "device_account",
    "job_lease",
    "log_checkpoint",
    "log_tile",
    "one_time_code",
    "pair_conversation",
    "profile_account",
    "relay_node",
    "spending",
    "store_epoch",
    "sweeper",
}
"""Keyed by what is looked up (account by its own id): everything else starts with whose it is."""

MEMBERSHIP = {("membership_chain", "state"), ("membership_statement", "signed"), ("membership_statement", "state")}
LOG = {("log_checkpoint", "note"), ("log_checkpoint", "vkeys"), ("log_tile", "hashes")}
"""Signatures, public keys and hashes of the transparency log, which anybody may read."""

NODES = {("relay_node", "name"), ("relay_node", "address"), ("relay_node", "version")}
"""What operators call their own machines, and where these listen."""

AUDIT = {("audit_entry", "actor"), ("audit_entry", "target"), ("audit_entry", "detail")}
"""Names of operators' accounts, of nodes and of keys, none of which can be an address."""

ARRAYS = {"profiles", "sent_ms", "superseded_ms", "claimed_ms", "wrapped_keys", "spent_digests"}

_COLUMNS = """
    SELECT c.table_name AS name, c.column_name AS column, c.data_type AS type,
           coalesce(string_agg(k.check_clause, ' AND '), '') AS checks
    FROM information_schema.columns AS c
    LEFT JOIN information_schema.constraint_column_usage AS u USING (table_name, column_name)
    LEFT JOIN information_schema.check_constraints AS k USING (constraint_name)
    WHERE c.table_schema = 'public' AND c.table_name <> 'schema_migration'
    GROUP BY 1, 2, 3
"""
_UNIQUE = """
    SELECT r.relname AS name, i.indisprimary AS primary, array_agg(a.attname ORDER BY k.place)::text[] AS columns
    FROM pg_index AS i
    JOIN pg_class AS r ON r.oid = i.indrelid
    JOIN pg_namespace AS s ON s.oid = r.relnamespace AND s.nspname = 'public'
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.attnum
    WHERE i.indisunique AND r.relname <> 'schema_migration'
    GROUP BY r.relname, i.indexrelid, i.indisprimary
"""
_UNEXPLAINED = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_migration'
      AND obj_description(oid, 'pg_class') IS NULL
"""


async def fetch(island: Island, beside: Connection, query: str) -> list[dict[str, Any]]:
    """Ask the catalogue."""
    return [dict(row) for row in await island.run(beside.fetch, query)]


async def test_no_column_could_hold_an_address(island: Island, beside: Connection) -> None:
    """Every text is one of a few words, and JSON has no @: there is no place where an address could be written."""
    columns = await fetch(island, beside, _COLUMNS)
    wordy = [each for each in columns if each["type"] not in {"uuid", "bigint", "integer", "boolean", "bytea"}]
    for each in wordy:
        if (each["name"], each["column"]) in NODES:
            continue
        match each["type"]:
            case "text":
                closed = "~ '^[" if (each["name"], each["column"]) in AUDIT else "ANY (ARRAY['"
                assert closed in each["checks"], each
                assert "@" not in each["checks"], each
            case "jsonb":
                assert "!~~ '%@%'" in each["checks"], each
            case "ARRAY":
                assert each["column"] in {
                    "profiles",
                    "sent_ms",
                    "superseded_ms",
                    "claimed_ms",
                    "wrapped_keys",
                    "spent_digests",
                }, each
            case _:
                raise AssertionError(each)
    assert len(wordy) >= 10


async def test_bytes_are_keys_digests_or_ciphertext(island: Island, beside: Connection) -> None:
    """Bytes have the length of a key, a digest or a signature, but for ciphertext and what is signed in public."""
    columns = await fetch(island, beside, _COLUMNS)
    free = {
        (each["name"], each["column"]) for each in columns if each["type"] == "bytea" and "= 32" not in each["checks"]
    }
    signatures = {each for each in free if each[1] in {"signature", "kem_key"}}
    assert free - signatures == {
        ("cipher", "sealed"),
        ("first_words", "ciphertext"),
        ("profile_card", "sealed"),
        ("conversation_card", "sealed"),
        ("device_list", "statement"),
        *LOG,
        *MEMBERSHIP,
    }
    assert all("= 64" in each["checks"] for each in columns if each["column"] == "signature")


async def test_ciphertext_stands_alone(island: Island, beside: Connection) -> None:
    """The table of ciphertext has the number it belongs to and whom it is for, and nothing else."""
    columns = await fetch(island, beside, _COLUMNS)
    assert {each["column"] for each in columns if each["name"] == "cipher"} == {
        "conversation_id",
        "seq",
        "for_all",
        "device_id",
        "sealed",
    }


async def test_everything_can_be_distributed(island: Island, beside: Connection) -> None:
    """Primary keys start with whose a row is, and so does every other unique constraint."""
    unique = await fetch(island, beside, _UNIQUE)
    owned = [each for each in unique if each["name"] not in LOOKUPS]
    assert {each["columns"][0] for each in owned} == {"account_id", "conversation_id"}
    assert {each["name"] for each in unique if each["primary"]} >= LOOKUPS
    tables = {each["name"] for each in await fetch(island, beside, _COLUMNS)}
    # `cipher` has a key with a column that is null in some rows, which a primary key cannot have.
    assert {each["name"] for each in unique if each["primary"]} == tables - {"cipher"}


async def test_every_table_says_why_it_is_there(island: Island, beside: Connection) -> None:
    """Who looks at the database finds a reason at every table."""
    assert await fetch(island, beside, _UNEXPLAINED) == []
