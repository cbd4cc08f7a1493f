-- Conversations and who is in them. Everything here and in the log has conversation_id first in its primary key, so that
-- it can be distributed by conversation.

CREATE TABLE conversation (
    conversation_id uuid   PRIMARY KEY,
    kind            text   NOT NULL CHECK (kind IN ('dm', 'group', 'self')),
    space_id        uuid,
    roster_version  bigint NOT NULL DEFAULT 1 CHECK (roster_version > 0),
    head            bigint NOT NULL DEFAULT 0 CHECK (head >= 0),
    created_ms      bigint NOT NULL
) WITH (fillfactor = 50);  -- head moves with every message: the new version of the row should find room beside the old
COMMENT ON TABLE conversation IS
    'A numbered log and its roster. head is the last number given out, roster_version the state of members and devices '
    'that a message must have been decided on. Whoever changes either holds this row''s lock; several are locked in the '
    'order of their ids, after rows of account and before anything else.';

CREATE TABLE pair_conversation (
    low_profile_id  uuid NOT NULL,
    high_profile_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    PRIMARY KEY (low_profile_id, high_profile_id),
    CHECK (low_profile_id <= high_profile_id)
);
COMMENT ON TABLE pair_conversation IS
    'The one dm of two profiles, or with both the same the one conversation of a profile with itself.';

CREATE TABLE membership (
    conversation_id uuid   NOT NULL REFERENCES conversation,
    profile_id      uuid   NOT NULL,
    account_id      uuid   NOT NULL,
    role            text   NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    from_seq        bigint NOT NULL CHECK (from_seq > 0),
    read_upto       bigint NOT NULL DEFAULT 0 CHECK (read_upto >= 0),
    PRIMARY KEY (conversation_id, profile_id)
) WITH (fillfactor = 70);
CREATE INDEX membership_by_profile ON membership (profile_id, conversation_id);
COMMENT ON TABLE membership IS
    'A profile in a conversation: it cannot have numbers below from_seq, and has read up to read_upto.';
