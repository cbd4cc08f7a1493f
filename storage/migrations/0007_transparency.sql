-- The transparency log: an append-only Merkle tree (RFC 9162) over every device list that was ever stored. It holds
-- commitments only, so the lists themselves can be erased and the proofs stay.

CREATE TABLE log_pending (
    account_id uuid   NOT NULL,
    number     bigint NOT NULL CHECK (number >= 1),
    digest     bytea  NOT NULL CHECK (octet_length(digest) = 32),
    place      bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (account_id, number)
);
CREATE INDEX log_pending_queue ON log_pending (place);
COMMENT ON TABLE log_pending IS
    'Device lists that are not in the log yet, written in the transaction that stores the list. One worker takes them '
    'out in the order of their place. The digest is SHA-256 of the signed list.';

CREATE TABLE log_entry (
    account_id uuid   NOT NULL,
    number     bigint NOT NULL CHECK (number >= 1),
    position   bigint NOT NULL CHECK (position >= 0),
    digest     bytea  NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (account_id, number)
);
CREATE INDEX log_entry_by_position ON log_entry (position);
COMMENT ON TABLE log_entry IS
    'The log itself: leaf number position commits to list number of account_id. Nothing here is ever changed or deleted.';

CREATE TABLE log_tile (
    level    int    NOT NULL CHECK (level >= 0),
    position bigint NOT NULL CHECK (position >= 0),
    hashes   bytea  NOT NULL CHECK (octet_length(hashes) % 32 = 0 AND octet_length(hashes) BETWEEN 1 AND 8192),
    PRIMARY KEY (level, position)
);
COMMENT ON TABLE log_tile IS
    'The tree in tiles of up to 256 hashes (C2SP tlog-tiles). The last of each level grows; a narrower one is its beginning.';

CREATE TABLE log_checkpoint (
    cosigned  boolean PRIMARY KEY,
    size      bigint  NOT NULL CHECK (size >= 0),
    root      bytea   NOT NULL CHECK (octet_length(root) = 32),
    note      bytea   NOT NULL CHECK (octet_length(note) BETWEEN 1 AND 65536),
    vkeys     bytea   NOT NULL CHECK (octet_length(vkeys) BETWEEN 1 AND 8192),
    signed_ms bigint  NOT NULL
);
COMMENT ON TABLE log_checkpoint IS
    'The newest checkpoint as a signed note, and the newest one that witnesses have cosigned, each with '
    'the public keys of its log (vkeys of C2SP, one on a line). Its row is compared and '
    'changed in the transaction that appends, so two workers at once cannot append at the same place.';
