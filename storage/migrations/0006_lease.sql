-- Jobs that one worker of many does. The names are listed, so that the column can hold nothing of anybody; a further job is a migration.

CREATE TABLE job_lease (
    job        text   PRIMARY KEY CHECK (
        job IN ('retention', 'push', 'webhooks', 'checkpoints', 'exports', 'erasure', 'invoices')
    ),
    holder     uuid   NOT NULL,
    expires_ms bigint NOT NULL
);
COMMENT ON TABLE job_lease IS
    'Which worker does a job, and until when by this database''s clock unless it says so again. A worker that ends in good '
    'order deletes its row; the job of one that died is anybody''s when the time has passed.';
