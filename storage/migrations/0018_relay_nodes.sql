-- The relay nodes that are there, and what their operator wants of them.

-- Not logged: a row is written anew each second, so after a crash or a promotion the table fills by itself. A beat then
-- waits neither for the disk nor for a standby, and the log of the database does not grow by it.
CREATE UNLOGGED TABLE relay_node (
    name         text    PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    address      text    NOT NULL,
    version      text    NOT NULL,
    started_ms   bigint  NOT NULL,
    connections  integer NOT NULL CHECK (connections >= 0),
    capacity     integer NOT NULL CHECK (capacity > 0),
    state        text    NOT NULL CHECK (state IN ('serving', 'draining')),
    resumed      integer NOT NULL,
    bus          boolean NOT NULL,
    done         integer NOT NULL,
    order_number integer NOT NULL DEFAULT 0,
    action       text    NOT NULL DEFAULT 'none' CHECK (action IN ('none', 'drain', 'shed')),
    percent      integer NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    seen_ms      bigint  NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE relay_node IS
    'One row for each start of a relay node, renewed each second by this database''s clock. A node that ends in good order '
    'deletes its row; one that has not renewed it is dead. action and percent are wanted of it, under order_number; done is '
    'the last number that it carried out.';
