-- Epochs of the store: a new one begins whenever the database turns out to have lost something that was committed.

CREATE TABLE store_epoch (
    epoch             uuid   PRIMARY KEY CHECK (is_uuid7(epoch)),
    number            bigint NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY,
    replaces          uuid,
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL
);
COMMENT ON TABLE store_epoch IS
    'The epochs so far, in the order of their number. An id and not a counter, because the counter would be restored as '
    'well. replaces is the one that was known outside of the database when this one began: it may be lost here. The '
    'last two say which Postgres it was.';

CREATE TABLE epoch_head (
    conversation_id uuid   NOT NULL,
    epoch           uuid   NOT NULL,
    head            bigint NOT NULL CHECK (head >= 0),
    PRIMARY KEY (conversation_id, epoch)
);
COMMENT ON TABLE epoch_head IS
    'The last number that a conversation had kept when an epoch began. Beyond it, whoever knows an earlier epoch has '
    'messages that are lost here. A conversation without a row is younger than the epoch.';
