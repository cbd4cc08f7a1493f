-- Confirmations in one round trip, as the journal's commits are. It is a function because each of its steps has to see
-- what the one before it did or waited for: the turns are taken first, so that of the last two devices of a group the
-- second sees the first; then positions move; then what they passed is looked at with the positions as they are now.

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
    -- the device that sent it. Only the numbers that a device just passed are looked at, so reading a long log costs its
    -- length.
    WITH passed AS (
        SELECT * FROM unnest(conversations, devices, afters, uptos)
                      AS passed (conversation_id, device_id, after, upto)
    ),
    slowest AS (
        SELECT conversation_id,
               (array_agg(device_id ORDER BY upto))[1] AS device_id,
               (array_agg(upto ORDER BY upto))[1] AS upto,
               (array_agg(upto ORDER BY upto))[2] AS next_upto
        FROM delivery WHERE conversation_id = ANY (conversations) GROUP BY conversation_id
    )
    DELETE FROM cipher
    USING passed
    CROSS JOIN LATERAL (
        SELECT seq, device_id AS sender_id FROM message
        WHERE message.conversation_id = passed.conversation_id
          AND message.seq > passed.after AND message.seq <= passed.upto
        OFFSET 0
    ) AS message
    LEFT JOIN slowest ON slowest.conversation_id = passed.conversation_id
    WHERE cipher.conversation_id = passed.conversation_id
      AND cipher.seq = message.seq
      AND cipher.device_id IN (passed.device_id, '00000000-0000-0000-0000-000000000000')
      AND (
          cipher.device_id = passed.device_id
          OR message.seq <= coalesce(
              CASE WHEN slowest.device_id = message.sender_id THEN slowest.next_upto ELSE slowest.upto END,
              message.seq
          )
      );
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
            SELECT place, conversation_id, device_id, delivery.upto AS after, least(asked.upto, head) AS upto
            FROM unnest(conversations, devices, asked_uptos) WITH ORDINALITY
                 AS asked (conversation_id, device_id, upto, place)
            JOIN delivery USING (conversation_id, device_id)
            JOIN conversation USING (conversation_id)
        ) AS moved
        WHERE delivery.conversation_id = moved.conversation_id AND delivery.device_id = moved.device_id
          AND delivery.upto < moved.upto
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
