-- What operators had done, appended to and never changed.

CREATE TABLE audit_entry (
    number  bigint PRIMARY KEY CHECK (number > 0),
    done_ms bigint NOT NULL,
    actor   text   NOT NULL CHECK (actor ~ '^[A-Za-z0-9_.-]{1,32}$'),
    action  text   NOT NULL CHECK (action IN (
        'backup', 'configure', 'migrate', 'new-log', 'node-drain', 'node-shed', 'restore', 'revoke', 'rotate-key', 'suspend')),
    target  text   NOT NULL CHECK (target ~ '^[a-z0-9.-]{0,64}$'),
    detail  text   NOT NULL CHECK (detail ~ '^[a-z0-9.-]{0,64}$'),
    chain   bytea  NOT NULL CHECK (octet_length(chain) = 32)
);
COMMENT ON TABLE audit_entry IS
    'What operators had done: actor is their account on the machine, or the program''s own. chain is the SHA-256 of the '
    'chain before and of this entry, so a change in the middle shows. The fields hold no address and no id of anybody.';

CREATE FUNCTION audit_append(p_actor text, p_action text, p_target text, p_detail text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_number bigint;
    v_chain  bytea;
    v_now    bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
    -- Two at once would continue the same entry.
    LOCK TABLE audit_entry IN SHARE ROW EXCLUSIVE MODE;
    SELECT number, chain INTO v_number, v_chain FROM audit_entry ORDER BY number DESC LIMIT 1;
    v_number := coalesce(v_number, 0) + 1;
    INSERT INTO audit_entry (number, done_ms, actor, action, target, detail, chain) VALUES (v_number, v_now, p_actor, p_action, p_target, p_detail, sha256(
        coalesce(v_chain, ''::bytea)
        || convert_to(concat_ws(E'\n', v_number, v_now, p_actor, p_action, p_target, p_detail), 'UTF8')));
    RETURN v_number;
END $$;

-- Against mistakes, and whoever may only write. The owner of the table can take it away; the chain is against that one.
CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.done_ms <= (extract(epoch FROM now()) * 1000)::bigint - 34560000000 THEN
        RETURN OLD; -- 400 days: what retention sweeps
    END IF;
    RAISE EXCEPTION 'the audit log is only appended to';
END $$;
CREATE TRIGGER audit_entry_stays BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_stays();
CREATE TRIGGER audit_log_stays BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();
