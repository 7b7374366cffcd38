-- What was published and is kept for a while, where retention is asked for. seq: the row's number in the outbox.

CREATE TABLE cqrs_published (
    seq          BIGINT PRIMARY KEY,
    id           UUID   NOT NULL,
    name         TEXT   NOT NULL,
    version      INT    NOT NULL,
    topic        TEXT   NOT NULL,
    message_key  TEXT,
    payload      BYTEA  NOT NULL,
    headers      TEXT   NOT NULL,
    raised_at    BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    kept_until   BIGINT NOT NULL
);

CREATE INDEX cqrs_published_age ON cqrs_published (kept_until);
