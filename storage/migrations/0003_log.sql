-- The log of conversations. No foreign keys here: the journal writes while it holds the lock of the conversation's row,
-- and a check for every row would cost as much as the row.

CREATE TABLE message (
    conversation_id uuid   NOT NULL,
    seq             bigint NOT NULL CHECK (seq > 0),
    message_id      uuid   NOT NULL,
    client_id       uuid   NOT NULL,
    profile_id      uuid   NOT NULL,
    device_id       uuid   NOT NULL,
    sent_ms         bigint NOT NULL,
    PRIMARY KEY (conversation_id, seq),
    UNIQUE (conversation_id, device_id, client_id)
);
CREATE INDEX message_by_time ON message (sent_ms);
COMMENT ON TABLE message IS
    'That a message was sent, by which profile and device, when, and as which number: metadata only. The client id of its '
    'sender is known for as long as the row is there, so a message sent again is not stored again.';

CREATE TABLE cipher (
    conversation_id uuid   NOT NULL,
    seq             bigint NOT NULL,
    device_id       uuid   NOT NULL,
    sealed          bytea  NOT NULL,
    PRIMARY KEY (conversation_id, seq, device_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);  -- most rows live for seconds
ALTER TABLE cipher ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- ciphertext does not compress: do not try
COMMENT ON TABLE cipher IS
    'End-to-end ciphertext and nothing else, for one device or, with the nil device, for the whole group. Deleted when '
    'every recipient device has confirmed it, or when its time has passed.';

CREATE TABLE delivery (
    conversation_id uuid   NOT NULL,
    device_id       uuid   NOT NULL,
    start_seq       bigint NOT NULL CHECK (start_seq > 0),
    upto            bigint NOT NULL CHECK (upto >= 0),
    PRIMARY KEY (conversation_id, device_id)
) WITH (fillfactor = 50);  -- as with conversation; that is also why no index holds upto
CREATE INDEX delivery_by_device ON delivery (device_id, conversation_id);
COMMENT ON TABLE delivery IS
    'Where a device stands: it can have numbers from start_seq and holds those up to upto. Exactly the devices that '
    'receive for a member have a row, so this is also the list of who may read. There is no row for each delivery.';

CREATE TABLE attachment (
    conversation_id uuid    NOT NULL,
    attachment_id   uuid    NOT NULL,
    message_id      uuid    NOT NULL,
    object_key      uuid    NOT NULL,
    wrapped_keys    bytea[] NOT NULL,
    PRIMARY KEY (conversation_id, attachment_id)
);
COMMENT ON TABLE attachment IS
    'A file too large for the log: the random name of its ciphertext in the object store, and its content key wrapped for '
    'each recipient device.';

CREATE TABLE sweeper (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    cipher_ms bigint  NOT NULL
);
INSERT INTO sweeper (cipher_ms) VALUES (0);
COMMENT ON TABLE sweeper IS
    'The one row whose lock makes one sweeper of many, and the time up to which messages have no ciphertext left, from '
    'where the next sweep goes on.';

-- Two statements in one round trip. It is a function, and not one statement that is tried again when it meets another
-- node's unique key, because a statement sees the log as it was when the statement began, even if it then waited for a
-- lock. Here the second statement begins when the locks are held: it sees every message that another node has stored in
-- these conversations, so equal client ids are found instead of colliding, and a batch never fails because of one draft.
CREATE FUNCTION journal_commit(
    conversations   uuid[],
    roster_versions bigint[],
    devices         uuid[],
    clients         uuid[],
    messages        uuid[],
    profiles        uuid[],
    times_ms        bigint[],
    cipher_places   bigint[],  -- which draft, from 1
    cipher_devices  uuid[],    -- for which device; nil for the group
    ciphertexts     bytea[]
) RETURNS TABLE (message_id uuid, seq bigint, sent_ms bigint, duplicate boolean)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM conversation
    WHERE conversation_id = ANY (conversations)
    ORDER BY conversation_id
    FOR NO KEY UPDATE;

    RETURN QUERY
    WITH draft AS MATERIALIZED (
        SELECT asked.*, now.head, stored.message_id AS stored_id, stored.seq AS stored_seq, stored.sent_ms AS stored_ms
        FROM unnest(conversations, roster_versions, devices, clients, messages, profiles, times_ms) WITH ORDINALITY
             AS asked (conversation_id, roster_version, device_id, client_id, message_id, profile_id, sent_ms, place)
        LEFT JOIN LATERAL (
            SELECT head FROM conversation
            WHERE conversation_id = asked.conversation_id AND roster_version = asked.roster_version
            LIMIT 1
        ) AS now ON true
        LEFT JOIN LATERAL (
            SELECT message_id, seq, sent_ms FROM message
            WHERE conversation_id = asked.conversation_id AND device_id = asked.device_id AND client_id = asked.client_id
            LIMIT 1
        ) AS stored ON true
    ),
    fresh AS MATERIALIZED (
        SELECT *, head + row_number() OVER (PARTITION BY conversation_id ORDER BY place) AS seq
        FROM (
            SELECT DISTINCT ON (conversation_id, device_id, client_id) *
            FROM draft
            WHERE head IS NOT NULL AND stored_seq IS NULL
            ORDER BY conversation_id, device_id, client_id, place
        ) AS first
    ),
    log AS (
        INSERT INTO message (conversation_id, seq, message_id, client_id, profile_id, device_id, sent_ms)
        SELECT conversation_id, seq, message_id, client_id, profile_id, device_id, sent_ms FROM fresh
    ),
    ciphers AS (
        INSERT INTO cipher (conversation_id, seq, device_id, sealed)
        SELECT fresh.conversation_id, fresh.seq, part.device_id, part.sealed
        FROM unnest(cipher_places, cipher_devices, ciphertexts) AS part (place, device_id, sealed)
        JOIN fresh USING (place)
    ),
    heads AS (
        UPDATE conversation SET head = last.seq
        FROM (SELECT conversation_id, max(seq) AS seq FROM fresh GROUP BY conversation_id) AS last
        WHERE conversation.conversation_id = last.conversation_id
    )
    SELECT coalesce(draft.stored_id, fresh.message_id),
           coalesce(draft.stored_seq, fresh.seq),
           coalesce(draft.stored_ms, fresh.sent_ms),
           fresh.place IS DISTINCT FROM draft.place
    FROM draft LEFT JOIN fresh USING (conversation_id, device_id, client_id)
    ORDER BY draft.place;
END
$$;
