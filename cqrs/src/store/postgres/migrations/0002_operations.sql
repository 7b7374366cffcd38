-- What people who operate a service have done: to which row, and what was different before. source: 'outbox' or 'work'.
-- before_value, after_value: of an edit the bytes of the payload, of a timer that was moved the times at which it is due.

CREATE TABLE cqrs_audit (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at      BIGINT NOT NULL,
    done_by      TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    source       TEXT   NOT NULL,
    row_seq      BIGINT NOT NULL,
    message_id   UUID   NOT NULL,
    name         TEXT   NOT NULL,
    message_key  TEXT,
    before_value BIGINT,
    after_value  BIGINT,
    note         TEXT   NOT NULL
);

CREATE INDEX cqrs_audit_age ON cqrs_audit (done_at);

-- Finding: timers by id, rows of the outbox that wait or are dead in the order of storing.
CREATE INDEX cqrs_work_timer_id ON cqrs_work (id) WHERE kind = 'timer';
CREATE INDEX cqrs_outbox_waiting ON cqrs_outbox (seq) WHERE state = 'waiting';
CREATE INDEX cqrs_outbox_dead_seq ON cqrs_outbox (seq) WHERE state = 'dead';
