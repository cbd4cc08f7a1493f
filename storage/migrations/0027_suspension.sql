-- An operator may suspend an account: it has no sessions and gets none until that is taken back.

ALTER TABLE account ADD COLUMN suspended_ms bigint;
COMMENT ON COLUMN account.suspended_ms IS
    'Since when an operator has it suspended. Whoever opens a session holds a share of this row and looks here.';
