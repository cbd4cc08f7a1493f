-- When the versions just before the present one were superseded, in milliseconds, oldest first; empty after a change that
-- took a member or a device away. Kept here and not in rows of their own: whoever reads a roster reads this row anyway.
ALTER TABLE conversation ADD COLUMN superseded_ms bigint[] NOT NULL DEFAULT '{}';
