-- Devices that were revoked, for as long as messages they wrote may be in the log: whoever was off meanwhile still has to
-- check by whom those were sealed.

CREATE TABLE past_device (
    account_id   uuid   NOT NULL REFERENCES account,
    device_id    uuid   NOT NULL,
    noise_key    bytea  NOT NULL CHECK (octet_length(noise_key) = 32),
    signing_key  bytea  NOT NULL CHECK (octet_length(signing_key) = 32),
    identity_key bytea  NOT NULL CHECK (octet_length(identity_key) = 32),
    signature    bytea  NOT NULL CHECK (octet_length(signature) = 64),
    created_ms   bigint NOT NULL,
    revoked_ms   bigint NOT NULL,
    PRIMARY KEY (account_id, device_id)
);
CREATE INDEX past_device_by_time ON past_device (revoked_ms);
COMMENT ON TABLE past_device IS
    'The certificate of a revoked device, and nothing it could be reached by. It goes with the last messages that the '
    'device can have written.';
