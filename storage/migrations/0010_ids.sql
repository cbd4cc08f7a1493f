-- Ids are UUIDv7, and none of them stands for anything else. A member once registered the device of all zeros, which the
-- log used for the whole group: members who were off were served its ciphertext, and its confirmation deleted everybody's.

CREATE FUNCTION is_uuid7(id uuid) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- Not uuid_extract_version: that came with PostgreSQL 17.
RETURN get_byte(uuid_send(id), 6) >> 4 = 7 AND get_byte(uuid_send(id), 8) >> 6 = 2;
COMMENT ON FUNCTION is_uuid7 IS 'Whether an id is a UUIDv7 (RFC 9562 section 5.7), as every id from outside has to be.';

-- Devices of other ids cannot connect any more, and no sender could name them: they leave the rosters.
WITH gone AS (
    DELETE FROM device WHERE NOT is_uuid7(device_id) RETURNING device_id
), ended AS (
    DELETE FROM delivery WHERE device_id IN (SELECT device_id FROM gone) RETURNING conversation_id
)
UPDATE conversation SET roster_version = roster_version + 1 WHERE conversation_id IN (SELECT conversation_id FROM ended);

-- Where ids come in, and in the tables that a false one would do harm in. NOT VALID: what is stored is not looked at.
ALTER TABLE account         ADD CONSTRAINT account_id_uuid7      CHECK (is_uuid7(account_id)) NOT VALID;
ALTER TABLE profile         ADD CONSTRAINT profile_id_uuid7      CHECK (is_uuid7(profile_id)) NOT VALID;
ALTER TABLE device          ADD CONSTRAINT device_id_uuid7       CHECK (is_uuid7(device_id)) NOT VALID;
ALTER TABLE session         ADD CONSTRAINT session_id_uuid7      CHECK (is_uuid7(session_id)) NOT VALID;
ALTER TABLE conversation    ADD CONSTRAINT conversation_id_uuid7 CHECK (is_uuid7(conversation_id)) NOT VALID;
ALTER TABLE delivery        ADD CONSTRAINT delivery_device_uuid7 CHECK (is_uuid7(device_id)) NOT VALID;
ALTER TABLE message         ADD CONSTRAINT message_ids_uuid7
    CHECK (is_uuid7(message_id) AND is_uuid7(client_id) AND is_uuid7(device_id)) NOT VALID;

ALTER TABLE cipher DROP CONSTRAINT cipher_pkey;
ALTER TABLE cipher ALTER COLUMN device_id DROP NOT NULL;
ALTER TABLE cipher ADD COLUMN for_all boolean NOT NULL DEFAULT false;
UPDATE cipher SET for_all = true, device_id = NULL WHERE device_id = '00000000-0000-0000-0000-000000000000';
ALTER TABLE cipher ALTER COLUMN for_all DROP DEFAULT;  -- whoever writes says which it is
ALTER TABLE cipher ADD CONSTRAINT cipher_key UNIQUE NULLS NOT DISTINCT (conversation_id, seq, for_all, device_id);
ALTER TABLE cipher ADD CONSTRAINT cipher_reader CHECK (for_all = (device_id IS NULL));
ALTER TABLE cipher ADD CONSTRAINT cipher_device_uuid7 CHECK (is_uuid7(device_id)) NOT VALID;
COMMENT ON TABLE cipher IS
    'End-to-end ciphertext and nothing else, for one device or for all that can have the message. No device id is in a '
    'row for all, so no look-up by device can find it. Deleted when every recipient device has confirmed it, or when its '
    'time has passed.';

-- As in 0003_log.sql, where it is said why; a ciphertext for all has a column of its own.
CREATE OR REPLACE FUNCTION journal_commit(
    conversations   uuid[],
    roster_versions bigint[],
    devices         uuid[],
    clients         uuid[],
    messages        uuid[],
    profiles        uuid[],
    times_ms        bigint[],
    cipher_places   bigint[],  -- which draft, from 1
    cipher_devices  uuid[],    -- for which device; null for all
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
        INSERT INTO cipher (conversation_id, seq, for_all, device_id, sealed)
        SELECT fresh.conversation_id, fresh.seq, part.device_id IS NULL, part.device_id, part.sealed
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

-- As in 0005_confirm.sql.
CREATE OR REPLACE FUNCTION positions_forget(
    conversations uuid[],
    devices       uuid[],
    afters        bigint[],  -- what the device held before
    uptos         bigint[]   -- up to where it does not wait any more
) RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    -- Whether a number may go needs no look at every device: the two lowest positions decide, because nobody waits for
    -- the device that sent it. They are found once for a conversation, however many of its devices passed something.
    -- Only the numbers that a device just passed are looked at, so reading a long log costs its length.
    DELETE FROM cipher WHERE ctid = ANY (ARRAY(
        SELECT going.place
        FROM (
            SELECT conversation_id,
                   array_agg(device_id) AS devices, array_agg(after) AS afters, array_agg(upto) AS uptos
            FROM unnest(conversations, devices, afters, uptos) AS passed (conversation_id, device_id, after, upto)
            GROUP BY conversation_id
        ) AS log
        CROSS JOIN LATERAL (
            SELECT array_agg(device_id ORDER BY upto) AS devices, array_agg(upto ORDER BY upto) AS uptos
            FROM (
                SELECT device_id, upto
                FROM (
                    -- Said like this, it is a walk along the primary key whatever is in the table. With one large
                    -- conversation in it, the index that has the device first looks as good, and is read whole.
                    SELECT device_id, upto FROM delivery
                    WHERE conversation_id BETWEEN log.conversation_id AND log.conversation_id
                    ORDER BY conversation_id, device_id
                    OFFSET 0
                ) AS position
                ORDER BY upto
                LIMIT 2
            ) AS lowest
            OFFSET 0
        ) AS slowest
        CROSS JOIN LATERAL unnest(log.devices, log.afters, log.uptos) AS passed (device_id, after, upto)
        CROSS JOIN LATERAL (
            SELECT seq, device_id AS sender_id FROM message
            WHERE conversation_id = log.conversation_id AND seq > passed.after AND seq <= passed.upto
            ORDER BY seq  -- along the primary key, for the same reason
            OFFSET 0
        ) AS message
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM cipher
            WHERE conversation_id = log.conversation_id AND seq = message.seq
              AND NOT for_all AND device_id = passed.device_id
            UNION ALL
            SELECT ctid FROM cipher
            WHERE conversation_id = log.conversation_id AND seq = message.seq AND for_all
              AND message.seq <= coalesce(
                  slowest.uptos[CASE WHEN slowest.devices[1] = message.sender_id THEN 2 ELSE 1 END], message.seq
              )
        ) AS going
    ));
END
$$;
