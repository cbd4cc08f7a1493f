-- Device lists: an account's devices are what its newest signed list says. What was registered without one is no device.

DELETE FROM delivery;
DELETE FROM device;
DROP TABLE past_device;

ALTER TABLE account DROP COLUMN root_key, ADD COLUMN list_number bigint NOT NULL DEFAULT 0 CHECK (list_number >= 0);
COMMENT ON TABLE account IS
    'A person. list_number is that of the newest device list, 0 before the first. Whoever changes devices or memberships '
    'of an account locks this row first, so that no device is missing from a conversation opened meanwhile.';

ALTER TABLE device DROP COLUMN signature, ADD COLUMN valid_until_ms bigint CHECK (valid_until_ms >= 0);
COMMENT ON TABLE device IS
    'A device of the account''s newest list: its public keys, and the profiles that its commitments stand for. Revoking '
    'deletes the row, and with it (by foreign key) all that only a device has.';

-- By a default and not by an update, which would look at rows again that the checks of ids no longer let in.
ALTER TABLE profile ADD COLUMN salt bytea NOT NULL
    DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) CHECK (octet_length(salt) = 32);
ALTER TABLE profile ALTER COLUMN salt DROP DEFAULT;
COMMENT ON TABLE profile IS
    'A mode of an account. It has no name here: names travel end-to-end encrypted. With the salt, which only co-members '
    'and those who may write to the profile are given, a commitment in a device list is known as this profile''s.';

CREATE TABLE device_list (
    account_id uuid   NOT NULL REFERENCES account,
    number     bigint NOT NULL CHECK (number >= 1),
    statement  bytea  NOT NULL CHECK (octet_length(statement) <= 16384),
    hash       bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (account_id, number)
);
COMMENT ON TABLE device_list IS
    'Every device list that an account ever had, with its signatures; hash is that of the list without them, which the '
    'next one names. Kept for ever: who wrote an old message, or signed an old statement, is found here.';

CREATE INDEX device_account_by_account ON device_account (account_id);
CREATE INDEX membership_by_account ON membership (account_id, conversation_id);
