-- Claims of prekeys are counted by account, because an account makes devices as it likes.

TRUNCATE claim_window;
COMMENT ON TABLE claim_window IS
    'When an account (claimer_id) claimed prekeys of a device lately: one row, so that its lock makes the limit exact. Of '
    'no use after until_ms.';
