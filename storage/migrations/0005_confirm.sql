-- Confirmations in one round trip, as the journal's commits are. It is a function because each of its steps has to see
-- what the one before it did or waited for: the turns are taken first, so that of the last two devices of a group the
-- second sees the first; then positions move; then what they passed is looked at with the positions as they are now.
--
-- The plans are made once, at whatever moment, and kept. So nothing is left to what the tables held then: each look-up
-- is a subquery of its own (LATERAL, with LIMIT or OFFSET 0, which nothing is moved across), in the order written, along
-- a key. What is to change is then named by its place in the table (ctid), not joined once more. A place stays what it
-- was, because whoever moves a position has the turn, and a ciphertext never changes.

CREATE FUNCTION positions_forget(
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
            WHERE conversation_id = log.conversation_id AND seq = message.seq AND device_id = passed.device_id
            UNION ALL
            SELECT ctid FROM cipher
            WHERE conversation_id = log.conversation_id AND seq = message.seq
              AND device_id = '00000000-0000-0000-0000-000000000000'
              AND message.seq <= coalesce(
                  slowest.uptos[CASE WHEN slowest.devices[1] = message.sender_id THEN 2 ELSE 1 END], message.seq
              )
        ) AS going
    ));
END
$$;

CREATE FUNCTION positions_confirm(
    conversations uuid[],
    devices       uuid[],
    asked_uptos   bigint[]
) RETURNS TABLE (place bigint, upto bigint)  -- of those that moved; the place is that in the arrays, from 1
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    places bigint[];
    moved_conversations uuid[];
    moved_devices uuid[];
    moved_afters bigint[];
    moved_uptos bigint[];
BEGIN
    -- The same turns as in storage/postgres/locks.py, where it is said why.
    PERFORM pg_advisory_xact_lock(turn)
    FROM (SELECT DISTINCT hashtextextended(id::text, 0) AS turn FROM unnest(conversations) AS id ORDER BY turn) AS turns;

    WITH moved AS (
        UPDATE delivery SET upto = moved.upto
        FROM (
            SELECT place, stands_at, after, least(asked.upto, head) AS upto
            FROM unnest(conversations, devices, asked_uptos) WITH ORDINALITY
                 AS asked (conversation_id, device_id, upto, place)
            CROSS JOIN LATERAL (
                SELECT ctid AS stands_at, upto AS after FROM delivery
                WHERE conversation_id = asked.conversation_id AND device_id = asked.device_id
                LIMIT 1
            ) AS position
            CROSS JOIN LATERAL (
                SELECT head FROM conversation WHERE conversation_id = asked.conversation_id LIMIT 1
            ) AS log
            OFFSET 0
        ) AS moved
        WHERE delivery.ctid = moved.stands_at AND delivery.upto < moved.upto
        RETURNING moved.place, delivery.conversation_id, delivery.device_id, moved.after, delivery.upto
    )
    SELECT array_agg(place), array_agg(conversation_id), array_agg(device_id), array_agg(after), array_agg(upto)
    INTO places, moved_conversations, moved_devices, moved_afters, moved_uptos
    FROM moved;

    IF places IS NOT NULL THEN
        PERFORM positions_forget(moved_conversations, moved_devices, moved_afters, moved_uptos);
        RETURN QUERY SELECT * FROM unnest(places, moved_uptos);
    END IF;
END
$$;
