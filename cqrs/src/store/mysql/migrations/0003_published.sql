-- What was published and is kept for a while, where retention is asked for. seq: the row's number in the outbox.

CREATE TABLE IF NOT EXISTS cqrs_published (
    seq          BIGINT     NOT NULL PRIMARY KEY,
    id           BINARY(16) NOT NULL,
    name         BLOB       NOT NULL,
    version      BIGINT     NOT NULL,
    topic        BLOB       NOT NULL,
    message_key  MEDIUMBLOB,
    payload      LONGBLOB   NOT NULL,
    headers      MEDIUMBLOB NOT NULL,
    raised_at    BIGINT     NOT NULL,
    published_at BIGINT     NOT NULL,
    kept_until   BIGINT     NOT NULL,
    KEY cqrs_published_age (kept_until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
