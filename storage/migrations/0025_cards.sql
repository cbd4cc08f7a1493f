-- Names, titles and pictures, as clients sealed them. No key of any is in this database.

CREATE TABLE profile_card (
    account_id uuid   NOT NULL,
    profile_id uuid   NOT NULL,
    number     bigint NOT NULL CHECK (number > 0),
    sealed     bytea  NOT NULL CHECK (octet_length(sealed) IN (1064, 4136, 16424, 32808)),
    PRIMARY KEY (account_id, profile_id),
    FOREIGN KEY (account_id, profile_id) REFERENCES profile ON DELETE CASCADE
);
ALTER TABLE profile_card ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- ciphertext does not compress: do not try
COMMENT ON TABLE profile_card IS
    'The name and picture of a profile, end-to-end encrypted and padded. The number only grows.';

CREATE TABLE conversation_card (
    conversation_id uuid   PRIMARY KEY REFERENCES conversation ON DELETE CASCADE,
    number          bigint NOT NULL CHECK (number > 0),
    sealed          bytea  NOT NULL CHECK (octet_length(sealed) IN (1064, 4136, 16424, 32808))
);
ALTER TABLE conversation_card ALTER COLUMN sealed SET STORAGE EXTERNAL;
COMMENT ON TABLE conversation_card IS 'The title and picture of a group, as in profile_card.';
