-- Who is in a conversation is what its chain of signed statements says. The rows of membership are what that comes to, for
-- the queries of the relays and the API.

ALTER TABLE membership ADD COLUMN accepted boolean NOT NULL DEFAULT true;
ALTER TABLE membership ALTER COLUMN accepted DROP DEFAULT;
COMMENT ON TABLE membership IS
    'A profile in a conversation: it cannot have numbers below from_seq, and has read up to read_upto. Until it has '
    'accepted the invitation it is in no roster and has no position.';

CREATE TABLE membership_chain (
    conversation_id uuid   PRIMARY KEY REFERENCES conversation,
    number          bigint NOT NULL CHECK (number >= 0),
    hash            bytea  NOT NULL CHECK (octet_length(hash) = 32),
    state           bytea  NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE membership_chain IS
    'The last membership statement of a conversation, and the membership after it, encoded as snapshots hash it. Not in '
    'conversation, whose row is written with every message.';

CREATE TABLE membership_statement (
    conversation_id uuid   NOT NULL,
    number          bigint NOT NULL CHECK (number >= 0),
    seq             bigint NOT NULL CHECK (seq > 0),
    hash            bytea  NOT NULL CHECK (octet_length(hash) = 32),
    signed          bytea  NOT NULL,
    state           bytea,
    PRIMARY KEY (conversation_id, number)
);
COMMENT ON TABLE membership_statement IS
    'The signed membership statements, for ever: also when the message that carried one is gone. A snapshot has the '
    'encoded membership that it speaks of.';
