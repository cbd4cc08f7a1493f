-- A refresh token that was used once is known by its digest, so that a theft is told from a token that somebody made up.

ALTER TABLE session
    ADD COLUMN parent_digest bytea CHECK (octet_length(parent_digest) = 32),
    ADD COLUMN spent_digests bytea[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN session.parent_digest IS
    'The refresh token whose use made the present tokens: it may be used again for a moment, if the answer was lost.';
