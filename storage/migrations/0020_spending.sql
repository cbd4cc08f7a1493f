-- What accounts and networks have spent lately of their budgets, over all processes.

-- Not logged: after a crash everybody begins with a full budget, which is what every process does that starts.
CREATE UNLOGGED TABLE spending (
    key     bytea  PRIMARY KEY CHECK (octet_length(key) = 32),
    full_ms bigint NOT NULL
);
CREATE INDEX spending_by_end ON spending (full_ms);
COMMENT ON TABLE spending IS
    'Whoever spends much: key is the SHA-256 of a budget and an account, or of a network under the servers'' pepper. At '
    'full_ms, by the clock of the database, the bucket is full again, and the row says nothing any more.';
