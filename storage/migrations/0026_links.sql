-- Invite links to profiles, who has used them, and user names.

CREATE TABLE link (
    account_id uuid   NOT NULL REFERENCES account,
    link_id    uuid   NOT NULL,
    profile_id uuid   NOT NULL,
    digest     bytea  NOT NULL CHECK (octet_length(digest) = 32),
    uses       int    NOT NULL CHECK (uses >= 0),
    expires_ms bigint NOT NULL,
    made_ms    bigint NOT NULL,
    PRIMARY KEY (account_id, link_id)
);
CREATE INDEX link_by_end ON link (expires_ms);
COMMENT ON TABLE link IS
    'What lets its holder ask a profile. digest is a hash of a hash of the secret: who reads it can use nothing. '
    'uses are those that are left.';

CREATE TABLE link_use (
    account_id uuid NOT NULL,
    link_id    uuid NOT NULL,
    user_id    uuid NOT NULL,
    PRIMARY KEY (account_id, link_id, user_id),
    FOREIGN KEY (account_id, link_id) REFERENCES link ON DELETE CASCADE
);
COMMENT ON TABLE link_use IS 'Which account (user_id) was let in by a link. Gone with the link.';

CREATE TABLE name_account (
    skeleton   bytea PRIMARY KEY CHECK (octet_length(skeleton) = 32),
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32),
    account_id uuid  NOT NULL,
    profile_id uuid  NOT NULL,
    freed_ms   bigint
);
CREATE INDEX name_account_by_account ON name_account (account_id);
CREATE INDEX name_account_by_time ON name_account (freed_ms) WHERE freed_ms IS NOT NULL;
COMMENT ON TABLE name_account IS
    'Whose user name it is, by HMAC-SHA256 under the pepper: skeleton of what names that look alike have in common, '
    'digest of the name. freed_ms: it was given up then, and is held for the account for a while.';
