-- Programs append to the audit log as users that may not write its table: the function has the rights of its owner, and
-- the lock that it takes is one for those who may change rows.
ALTER FUNCTION audit_append(text, text, text, text) SECURITY DEFINER SET search_path = public, pg_temp;
