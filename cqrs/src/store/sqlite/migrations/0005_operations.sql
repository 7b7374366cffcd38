-- What people who operate a service have done: to which row, and what was different before. source: 'outbox' or 'work'.
-- before_value, after_value: of an edit the bytes of the payload, of a timer that was moved the times at which it is due.

CREATE TABLE cqrs_audit (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    done_at      INTEGER NOT NULL,
    done_by      TEXT    NOT NULL,
    action       TEXT    NOT NULL,
    source       TEXT    NOT NULL,
    row_seq      INTEGER NOT NULL,
    message_id   BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    message_key  TEXT,
    before_value INTEGER,
    after_value  INTEGER,
    note         TEXT    NOT NULL
);

CREATE INDEX cqrs_audit_age ON cqrs_audit (done_at);

-- Finding: dead letters by age, timers by id.
CREATE INDEX cqrs_outbox_dead ON cqrs_outbox (raised_at, seq) WHERE state = 'dead';
CREATE INDEX cqrs_work_dead ON cqrs_work (created_at, seq) WHERE state = 'dead';
CREATE INDEX cqrs_work_timer_id ON cqrs_work (id) WHERE kind = 'timer';
