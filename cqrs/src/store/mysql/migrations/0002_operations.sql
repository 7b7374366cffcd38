-- What people who operate a service have done: to which row, and what was different before. source: 'outbox' or 'work'.
-- before_value, after_value: of an edit the bytes of the payload, of a timer that was moved the times at which it is due.

CREATE TABLE IF NOT EXISTS cqrs_audit (
    seq          BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    done_at      BIGINT      NOT NULL,
    done_by      BLOB        NOT NULL,
    action       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    source       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    row_seq      BIGINT      NOT NULL,
    message_id   BINARY(16)  NOT NULL,
    name         BLOB        NOT NULL,
    message_key  MEDIUMBLOB,
    before_value BIGINT,
    after_value  BIGINT,
    note         MEDIUMBLOB  NOT NULL,
    KEY cqrs_audit_age (done_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Timers are found by id, too. In one step with its index, and only where it is missing: MySQL knows no `IF NOT EXISTS` for columns.
SET @cqrs_step = (
    SELECT IF(COUNT(*) = 0,
        'ALTER TABLE cqrs_work ADD COLUMN timer_id BINARY(16) AS (CASE WHEN kind = ''timer'' THEN id ELSE NULL END) VIRTUAL, ADD KEY cqrs_work_timer_id (timer_id)',
        'DO 0')
    FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'cqrs_work' AND column_name = 'timer_id'
);
PREPARE cqrs_statement FROM @cqrs_step;
EXECUTE cqrs_statement;
DEALLOCATE PREPARE cqrs_statement;
