"""The SQL of the local store, by version. In the clear are ids, numbers and states: what SQL needs to find a row."""

APPLICATION_ID = 0x56617264  # "Vard"

_FIRST = """
-- What unlocks the store: the key everything is encrypted with, wrapped.
CREATE TABLE slot (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    kind TEXT NOT NULL, salt BLOB NOT NULL, passes INTEGER NOT NULL, memory INTEGER NOT NULL, wrapped BLOB NOT NULL
) STRICT;

-- What there is one of: this device, its keys, its session, the relay.
CREATE TABLE setting (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- What was seen first and must not change.
CREATE TABLE pinned_root (account BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pinned_profile (profile BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE certificate (device BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- upto: the last number this device has taken in; NULL before the relay named the first. read_upto: how far the person
-- has read; read_told: how far the relay is known to know it.
CREATE TABLE conversation (
    conversation BLOB PRIMARY KEY, upto INTEGER, roster BLOB,
    read_upto INTEGER NOT NULL DEFAULT 0, read_told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Ratchets. `turn` orders the sessions of a pair: the highest is the one to send on. Below zero: for reading only.
CREATE TABLE olm_session (
    conversation BLOB NOT NULL, device BLOB NOT NULL, session TEXT NOT NULL, turn INTEGER NOT NULL,
    sealed BLOB NOT NULL, PRIMARY KEY (conversation, device, session)
) STRICT, WITHOUT ROWID;
CREATE TABLE own_sender_key (conversation BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
-- The device that shared a key is part of its name: nobody can share, or spoil, the key of another.
CREATE TABLE sender_key (
    conversation BLOB NOT NULL, device BLOB NOT NULL, session BLOB NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (conversation, device, session)
) STRICT, WITHOUT ROWID;
CREATE TABLE sender_key_use (
    conversation BLOB NOT NULL, device BLOB NOT NULL, session BLOB NOT NULL, step INTEGER NOT NULL,
    seq INTEGER NOT NULL, client_id BLOB NOT NULL, PRIMARY KEY (conversation, device, session, step)
) STRICT, WITHOUT ROWID;
-- Pairs that lost something at `at`: pending until a fresh ratchet was sent, then remembered so as to pause.
CREATE TABLE mending (
    conversation BLOB NOT NULL, device BLOB NOT NULL, at INTEGER NOT NULL, pending INTEGER NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

-- What is not acked yet. `rank` 0 goes before 1: keys before what they open; then the order it was written in.
-- `ciphertext` is there once a ratchet was advanced for it.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, conversation BLOB NOT NULL, client_id BLOB NOT NULL UNIQUE,
    rank INTEGER NOT NULL, draft BLOB NOT NULL, ciphertext BLOB
) STRICT;
CREATE INDEX outbox_by_conversation ON outbox (conversation, rank, position);

-- What was said, and what is missing, in the order it came in.
-- taken: 0 not handed out yet, 1 handed out, 2 never to be.
CREATE TABLE log (
    position INTEGER PRIMARY KEY AUTOINCREMENT, conversation BLOB NOT NULL, seq INTEGER, device BLOB, client_id BLOB,
    kind TEXT NOT NULL, taken INTEGER NOT NULL, sealed BLOB NOT NULL,
    UNIQUE (conversation, seq), UNIQUE (conversation, device, client_id)
) STRICT;
CREATE INDEX log_not_taken ON log (position) WHERE taken = 0;

CREATE TABLE receipt (
    conversation BLOB NOT NULL, profile BLOB NOT NULL, delivered INTEGER NOT NULL, read INTEGER NOT NULL,
    PRIMARY KEY (conversation, profile)
) STRICT, WITHOUT ROWID;

CREATE TABLE contact (contact INTEGER PRIMARY KEY AUTOINCREMENT, sealed BLOB NOT NULL) STRICT;
"""

_OWN_NUMBERS = """
-- The numbers that acks gave to what this device sent; and what the relay called own while an ack was still due.
CREATE TABLE own_number (
    conversation BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE own_claim (
    conversation BLOB NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, first_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO own_number
    SELECT conversation, seq FROM log WHERE kind = 'message' AND taken = 2 AND seq IS NOT NULL;
"""

_TRANSCRIPT = """
-- What was opened, or acked, by the counter and digest inside the encryption. `lost`: how many numbers of the
-- conversation were known to be lost when it came.
CREATE TABLE transcript (
    conversation BLOB NOT NULL, device BLOB NOT NULL, incarnation BLOB NOT NULL, counter INTEGER NOT NULL,
    digest BLOB NOT NULL, seq INTEGER NOT NULL, lost INTEGER NOT NULL,
    PRIMARY KEY (conversation, device, incarnation, counter)
) STRICT, WITHOUT ROWID;
CREATE INDEX transcript_by_seq ON transcript (conversation, device, seq);
ALTER TABLE conversation ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
"""

_TRANSPARENCY = """
-- The transparency log: its keys and the last checkpoint; and lists that were shown, `place` NULL until proven.
CREATE TABLE log_state (one INTEGER PRIMARY KEY CHECK (one = 1), sealed BLOB NOT NULL) STRICT;
CREATE TABLE logged_list (
    account BLOB NOT NULL, number INTEGER NOT NULL, place INTEGER, sealed BLOB NOT NULL, PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
"""

_OUTER = """
CREATE TABLE kem_prekey (
    place INTEGER PRIMARY KEY AUTOINCREMENT, kem_id BLOB NOT NULL UNIQUE, fallback INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
-- Sessions of before have no outer layer, and nobody takes their messages any more.
DELETE FROM olm_session;
"""

_DEVICE_LISTS = """
-- Certificates and root keys gave way to device lists: everybody's whole history, and which list is the newest seen.
-- What was pinned before can prove nothing now. pin_count says how many pins there are, so that none can be deleted.
DROP TABLE pinned_root;
DROP TABLE certificate;
DELETE FROM pinned_profile;
UPDATE conversation SET roster = NULL;
CREATE TABLE pinned_list (account BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE device_list (
    account BLOB NOT NULL, number INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE known_device (device BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pin_count (one INTEGER PRIMARY KEY CHECK (one = 1), sealed BLOB NOT NULL) STRICT;
"""

_EPOCHS = """
-- The epoch of the server's store that the numbers are of, and the last one it had kept when that began.
ALTER TABLE conversation ADD COLUMN epoch BLOB;
ALTER TABLE conversation ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
-- The number of what the server has lost: its row has no seq, because another one may come under that.
ALTER TABLE log ADD COLUMN lost_seq INTEGER;
"""

_CHAINS = """
-- Membership as it was verified, and the hash of each statement. Pending: a statement of this device is on its way.
CREATE TABLE chain (conversation BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE chain_hash (
    conversation BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (conversation, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE chain_pending (conversation BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
"""

_WORDS = """
-- The first words of an invitation, sent by this device or read by it.
CREATE TABLE first_words (conversation BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""

_ACCOUNTS = """
-- Accounts that became (1) or ceased to be (-1) accepted members, by the statement; the first row of a conversation
-- begins with all of them. Who they were at a statement is what messages of then are judged by.
CREATE TABLE chain_account (
    conversation BLOB NOT NULL, account BLOB NOT NULL, number INTEGER NOT NULL, step INTEGER NOT NULL,
    PRIMARY KEY (conversation, account, number)
) STRICT, WITHOUT ROWID;
"""

_STATEMENTS = """
-- The signed statements themselves: a server that was restored from a backup gets back from here what it has lost.
ALTER TABLE chain_hash ADD COLUMN signed BLOB;
"""

_PAST_LOGS = """
-- Transparency logs that a person has let go: what they had signed last may prove something some day.
CREATE TABLE past_log (position INTEGER PRIMARY KEY AUTOINCREMENT, sealed BLOB NOT NULL) STRICT;
"""

_PARTS = """
-- Numbers that the server called parts for others: what they were says their sender alone. `part`: it was one itself.
ALTER TABLE conversation ADD COLUMN not_for_you INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transcript ADD COLUMN not_for_you INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transcript ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
"""

_LINKS = """
-- Invite links that this device made: by the id that the server knows a person's by, or the key of a group's.
CREATE TABLE own_link (link BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""

_REFERENCES = """
-- Which entries of the log refer to a message, by its device and client id: its thread, reactions, edits, deletions.
-- It may not be here yet. And when entries are to be deleted: `at` is NULL until they are read.
CREATE TABLE reference (
    conversation BLOB NOT NULL, device BLOB NOT NULL, client_id BLOB NOT NULL, position INTEGER NOT NULL,
    kind TEXT NOT NULL, PRIMARY KEY (conversation, device, client_id, kind, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE expiry (position INTEGER PRIMARY KEY, timer INTEGER NOT NULL, at INTEGER) STRICT;
CREATE INDEX expiry_by_time ON expiry (at) WHERE at IS NOT NULL;
-- How many seconds a message stays after it was read, as it was set last: by the number of the message that set it.
ALTER TABLE conversation ADD COLUMN timer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversation ADD COLUMN timer_seq INTEGER NOT NULL DEFAULT 0;
"""

_UNINDEXED = """
-- Entries of the log that were written again, or have gone: what a snapshot of the search does not know yet. Triggers,
-- so that nobody who erases has to think of it.
CREATE TABLE unindexed (change INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL) STRICT;
CREATE TRIGGER log_written_again AFTER UPDATE OF sealed ON log BEGIN
    INSERT INTO unindexed (position) VALUES (old.position);
END;
CREATE TRIGGER log_gone AFTER DELETE ON log BEGIN
    INSERT INTO unindexed (position) VALUES (old.position);
END;
"""

VERSIONS: tuple[str, ...] = (
    *(_FIRST, _OWN_NUMBERS, _TRANSCRIPT, _TRANSPARENCY, _OUTER, _DEVICE_LISTS, _EPOCHS, _CHAINS, _WORDS),
    *(_ACCOUNTS, _STATEMENTS, _PAST_LOGS, _PARTS, _LINKS, _REFERENCES, _UNINDEXED),
)
"""Each script takes the store from the version of its index to the next."""
