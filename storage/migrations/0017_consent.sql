-- Who asked whom, for as long as it waits for an answer; and whose requests an account does not want to see.

ALTER TABLE membership ADD COLUMN inviter_id uuid, ADD COLUMN asked_ms bigint CHECK (asked_ms >= 0);
COMMENT ON COLUMN membership.inviter_id IS
    'The account that invited the profile, from the signed statement that did, and asked_ms when: while the profile has '
    'not answered they decide how many of its requests the account has, and which it sees.';

ALTER TABLE membership_statement ADD COLUMN profile_id uuid;
CREATE INDEX membership_statement_by_profile ON membership_statement (profile_id, conversation_id);
COMMENT ON COLUMN membership_statement.profile_id IS
    'Who signed: whoever is in the conversation must be able to verify it, whomever that profile may be found by.';

CREATE TABLE first_words (
    conversation_id uuid  NOT NULL,
    profile_id      uuid  NOT NULL,
    device_id       uuid  NOT NULL,
    client_id       uuid  NOT NULL,
    by_profile_id   uuid  NOT NULL,
    by_device_id    uuid  NOT NULL,
    ciphertext      bytea NOT NULL CHECK (octet_length(ciphertext) <= 16384),
    PRIMARY KEY (conversation_id, profile_id, device_id),
    FOREIGN KEY (conversation_id, profile_id) REFERENCES membership ON DELETE CASCADE
);
COMMENT ON TABLE first_words IS
    'What an invitation says to a device of who is invited, end-to-end encrypted. Gone when it is answered.';

CREATE TABLE block (
    account_id uuid   NOT NULL REFERENCES account,
    blocked_id uuid   NOT NULL CHECK (blocked_id <> account_id),
    since_ms   bigint NOT NULL CHECK (since_ms >= 0),
    PRIMARY KEY (account_id, blocked_id)
);
COMMENT ON TABLE block IS
    'What blocked_id asks, account_id is not shown. It is stored all the same, or one attempt would tell of the block.';
