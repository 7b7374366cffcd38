-- What was published and is kept for a while, where retention is asked for. seq: the row's number in the outbox.

CREATE TABLE cqrs_published (
    seq          INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    topic        TEXT    NOT NULL,
    message_key  TEXT,
    payload      BLOB    NOT NULL,
    headers      TEXT    NOT NULL,
    raised_at    INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    kept_until   INTEGER NOT NULL
);

CREATE INDEX cqrs_published_age ON cqrs_published (kept_until);
