-- Accounts and what belongs to one: profiles, devices, sessions, prekeys. Everything that grows with people has
-- account_id first in its primary key, so that it can be distributed by account. A table that leads from something else
-- to an account (named x_account) is keyed by that something alone.
--
-- Times are milliseconds since the Unix epoch, made by the servers that write. Ids are UUIDs made outside of here.
-- Nothing in this database is an e-mail address or can be turned into one without the servers' pepper.

CREATE TABLE account (
    account_id uuid   PRIMARY KEY,
    created_ms bigint NOT NULL,
    root_key   bytea  CHECK (octet_length(root_key) = 32)
);
COMMENT ON TABLE account IS
    'A person. root_key (Ed25519) signs the devices; the server never sees its private half. Whoever changes devices or '
    'memberships of an account locks this row first, so that no device is missing from a conversation opened meanwhile.';

CREATE TABLE address_account (
    address    bytea PRIMARY KEY CHECK (octet_length(address) = 32),
    account_id uuid  NOT NULL
);
COMMENT ON TABLE address_account IS
    'Whose e-mail address it is, by HMAC-SHA256 of the address under the pepper: the address itself is nowhere.';

CREATE TABLE one_time_code (
    address       bytea  PRIMARY KEY CHECK (octet_length(address) = 32),
    code_digest   bytea  NOT NULL CHECK (octet_length(code_digest) = 32),
    expires_ms    bigint NOT NULL,
    attempts_left int    NOT NULL CHECK (attempts_left >= 0)
);
CREATE INDEX one_time_code_by_expiry ON one_time_code (expires_ms);
COMMENT ON TABLE one_time_code IS
    'The last code mailed to an address. There may be no account yet, so it is keyed by the address''s digest.';

CREATE TABLE code_window (
    address  bytea    PRIMARY KEY CHECK (octet_length(address) = 32),
    sent_ms  bigint[] NOT NULL,
    until_ms bigint   NOT NULL
);
CREATE INDEX code_window_by_end ON code_window (until_ms);
COMMENT ON TABLE code_window IS
    'When codes were sent to an address lately: one row, so that its lock makes the limit exact. Of no use after until_ms.';

CREATE TABLE profile (
    account_id uuid   NOT NULL REFERENCES account,
    profile_id uuid   NOT NULL,
    type       text   NOT NULL CHECK (type IN ('PRIVAT', 'JOBB')),
    theme      text   NOT NULL CHECK (theme IN ('dark', 'light', 'system')),
    policies   jsonb  NOT NULL CHECK (policies::text NOT LIKE '%@%'),
    created_ms bigint NOT NULL,
    PRIMARY KEY (account_id, profile_id)
);
COMMENT ON TABLE profile IS 'A mode of an account. It has no name here: names travel end-to-end encrypted.';

CREATE TABLE profile_account (
    profile_id uuid PRIMARY KEY,
    account_id uuid NOT NULL
);
COMMENT ON TABLE profile_account IS 'Whose profile it is. A profile''s id is the address others write to.';

CREATE TABLE device (
    account_id   uuid   NOT NULL REFERENCES account,
    device_id    uuid   NOT NULL,
    noise_key    bytea  NOT NULL CHECK (octet_length(noise_key) = 32),
    signing_key  bytea  NOT NULL CHECK (octet_length(signing_key) = 32),
    identity_key bytea  NOT NULL CHECK (octet_length(identity_key) = 32),
    signature    bytea  NOT NULL CHECK (octet_length(signature) = 64),
    profiles     uuid[] NOT NULL,
    created_ms   bigint NOT NULL,
    PRIMARY KEY (account_id, device_id)
);
COMMENT ON TABLE device IS
    'A device: public keys, the root key''s signature over them, and the whitelist of profiles it receives for. Revoking '
    'deletes the row, and with it (by foreign key) all that only a device has.';

CREATE TABLE device_account (
    device_id  uuid PRIMARY KEY,
    account_id uuid NOT NULL
);
COMMENT ON TABLE device_account IS
    'Whose device it is or was. Outlives the device, because the id of a revoked one must never come back.';

CREATE TABLE session (
    account_id         uuid   NOT NULL REFERENCES account,
    session_id         uuid   NOT NULL,
    device_id          uuid,
    access_digest      bytea  NOT NULL CHECK (octet_length(access_digest) = 32),
    access_expires_ms  bigint NOT NULL,
    refresh_digest     bytea  NOT NULL CHECK (octet_length(refresh_digest) = 32),
    refresh_expires_ms bigint NOT NULL,
    created_ms         bigint NOT NULL,
    refreshed_ms       bigint NOT NULL,
    PRIMARY KEY (account_id, session_id),
    FOREIGN KEY (account_id, device_id) REFERENCES device ON DELETE CASCADE
);
CREATE INDEX session_by_device ON session (account_id, device_id);
CREATE INDEX session_by_expiry ON session (refresh_expires_ms);
COMMENT ON TABLE session IS 'A signed-in client. Digests are SHA-256 of the token secrets; a token cannot be made from them.';

CREATE TABLE revocation (
    account_id    uuid    NOT NULL,
    device_id     uuid    NOT NULL,
    not_before_ms bigint  NOT NULL,
    final         boolean NOT NULL,
    written_ms    bigint  NOT NULL,
    PRIMARY KEY (account_id, device_id)
);
CREATE INDEX revocation_by_time ON revocation (written_ms);
CREATE INDEX revocation_to_sweep ON revocation (written_ms) WHERE NOT final;
COMMENT ON TABLE revocation IS
    'Relay tickets of the device issued before not_before_ms are void. Tickets are checked without a database, so relays '
    'read this when they start. Final ones stay; the others go when the tickets they void have expired anyway.';

CREATE TABLE one_time_key (
    account_id    uuid   NOT NULL,
    device_id     uuid   NOT NULL,
    key           bytea  NOT NULL CHECK (octet_length(key) = 32),
    signature     bytea  NOT NULL CHECK (octet_length(signature) = 64),
    place         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    handed_out_ms bigint,
    PRIMARY KEY (account_id, device_id, key),
    FOREIGN KEY (account_id, device_id) REFERENCES device ON DELETE CASCADE
);
CREATE INDEX one_time_key_queue ON one_time_key (account_id, device_id, place) WHERE handed_out_ms IS NULL;
CREATE INDEX one_time_key_to_sweep ON one_time_key (handed_out_ms) WHERE handed_out_ms IS NOT NULL;
COMMENT ON TABLE one_time_key IS
    'Olm one-time keys, first in, first out by place. One that was handed out stays for a while: a client that lost the '
    'answer to its upload says the same again, and the same key must not be handed out twice.';

CREATE TABLE fallback_key (
    account_id uuid  NOT NULL,
    device_id  uuid  NOT NULL,
    key        bytea NOT NULL CHECK (octet_length(key) = 32),
    signature  bytea NOT NULL CHECK (octet_length(signature) = 64),
    PRIMARY KEY (account_id, device_id),
    FOREIGN KEY (account_id, device_id) REFERENCES device ON DELETE CASCADE
);
COMMENT ON TABLE fallback_key IS 'What is handed out, again and again, when no one-time key is left.';

CREATE TABLE claim_window (
    account_id uuid     NOT NULL,
    device_id  uuid     NOT NULL,
    claimer_id uuid     NOT NULL,
    claimed_ms bigint[] NOT NULL,
    until_ms   bigint   NOT NULL,
    PRIMARY KEY (account_id, device_id, claimer_id),
    FOREIGN KEY (account_id, device_id) REFERENCES device ON DELETE CASCADE
);
CREATE INDEX claim_window_by_end ON claim_window (until_ms);
COMMENT ON TABLE claim_window IS
    'When one device claimed prekeys of another lately: one row, so that its lock makes the limit exact. Of no use after '
    'until_ms.';

CREATE TABLE space (
    account_id       uuid   NOT NULL REFERENCES account,
    space_id         uuid   NOT NULL,
    kind             text   NOT NULL CHECK (kind IN ('team', 'community')),
    owner_profile_id uuid   NOT NULL,
    created_ms       bigint NOT NULL,
    PRIMARY KEY (account_id, space_id)
);
COMMENT ON TABLE space IS
    'A team or community that holds conversations. account_id is who founded it: ownership may move, rows may not.';
