-- Whether somebody has used the tokens of a session since they were made. While nobody has, the answer that brought them
-- may have been lost, and the refresh token before them may be shown again.
ALTER TABLE session ADD COLUMN used boolean NOT NULL DEFAULT true;
