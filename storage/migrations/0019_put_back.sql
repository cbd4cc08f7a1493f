-- After a restore, whoever holds signed statements and device lists that were lost puts them back. What follows tells what
-- was lost from what is new.

ALTER TABLE membership_statement ADD COLUMN put_back boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN membership_statement.put_back IS
    'A member put it back after the store had lost it. As long as nothing new was stated in an epoch, more may follow.';

ALTER TABLE device_list ADD COLUMN stored_ms bigint NOT NULL DEFAULT 0 CHECK (stored_ms >= 0);
COMMENT ON COLUMN device_list.stored_ms IS
    'When it was stored. A list of before an epoch was kept by it: what was lost then names no older list, because the '
    'server took none that did.';

ALTER TABLE store_epoch ADD COLUMN looks bigint NOT NULL DEFAULT 0 CHECK (looks >= 0);
COMMENT ON COLUMN store_epoch.looks IS
    'How often a relay has looked at the database in this epoch, about once a second: who remembers more than there is here '
    'has seen what is lost. The write-ahead log does not tell, when a dump is restored in the same Postgres.';
