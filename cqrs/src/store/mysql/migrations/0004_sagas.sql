-- A saga is one row, a row for each of its steps that has begun, and a row in its log for each attempt that has ended.
--
-- Somebody holds it while it runs: owner, until lease_until, unless that is renewed. Nobody does while it waits: then due_at says when
-- somebody is to look. Of one that has ended, or is stuck, it is NULL.
--
-- Ids and names are the bytes of their UTF-8, as elsewhere, and so are words. They are keys of indexes themselves, and no digests of them:
-- lists are in the order of ids. Longer ones than these are refused.

CREATE TABLE IF NOT EXISTS cqrs_sagas (
    id           VARBINARY(1024) NOT NULL PRIMARY KEY,
    name         VARBINARY(512)  NOT NULL,
    version      BIGINT          NOT NULL,
    phase        VARBINARY(32)   NOT NULL,
    why          VARBINARY(255)  NOT NULL DEFAULT '',
    context      LONGBLOB        NOT NULL,
    digest       BINARY(32)      NOT NULL, -- of what it began with
    headers      MEDIUMBLOB      NOT NULL,
    is_cancelled BOOLEAN         NOT NULL DEFAULT FALSE,
    -- How many owners in a row were lost, with nothing ended in between.
    cuts         BIGINT          NOT NULL DEFAULT 0,
    -- What somebody asks of it, and it has not heard of.
    asked        VARBINARY(32),
    error        MEDIUMBLOB,
    logged       BIGINT          NOT NULL DEFAULT 0,
    owner        VARBINARY(255),
    -- Grows with every owner.
    fence        BIGINT          NOT NULL,
    lease_until  BIGINT,
    due_at       BIGINT,
    -- Whether it is due as soon as it is let go.
    poked        BOOLEAN         NOT NULL DEFAULT FALSE,
    started_at   BIGINT          NOT NULL,
    changed_at   BIGINT          NOT NULL,
    ended_at     BIGINT,
    -- The same as started_at, below zero: those last started come first, and of the same time in the order of their ids. Not every server
    -- has indexes whose columns go both ways.
    newest       BIGINT          NOT NULL,
    KEY cqrs_sagas_due (due_at, id, name),
    KEY cqrs_sagas_lease (lease_until, id, name),
    KEY cqrs_sagas_started (newest, id),
    KEY cqrs_sagas_name (name, newest, id),
    KEY cqrs_sagas_phase (phase, newest, id),
    KEY cqrs_sagas_ended (ended_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS cqrs_saga_steps (
    saga        VARBINARY(1024) NOT NULL,
    step        VARBINARY(512)  NOT NULL,
    progress    VARBINARY(32)   NOT NULL,
    attempt     BIGINT          NOT NULL,
    in_doubt    BOOLEAN         NOT NULL,
    due_at      BIGINT,
    -- What it waits for, or has waited for, and a digest of that.
    wait_saga   BLOB,
    wait_event  BLOB,
    wait_key    MEDIUMBLOB,
    wait_digest BINARY(32),
    event_id    BINARY(16),
    returned    LONGBLOB,
    error       MEDIUMBLOB,
    -- What it waits for now.
    awaits      BINARY(32) AS (CASE WHEN progress = 'awaiting' THEN wait_digest ELSE NULL END) STORED,
    PRIMARY KEY (saga, step),
    KEY cqrs_saga_steps_wait (awaits)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS cqrs_saga_log (
    saga     VARBINARY(1024) NOT NULL,
    number   BIGINT          NOT NULL,
    step     VARBINARY(512)  NOT NULL,
    is_undo  BOOLEAN         NOT NULL,
    attempt  BIGINT          NOT NULL,
    began_at BIGINT          NOT NULL,
    ended_at BIGINT          NOT NULL,
    progress VARBINARY(32)   NOT NULL,
    error    MEDIUMBLOB,
    PRIMARY KEY (saga, number)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Events that came for sagas. saga: the name of the definition they came for. wait_digest: of saga, event and wait_key. untold: 1, until
-- those that wait for it have been woken.
CREATE TABLE IF NOT EXISTS cqrs_saga_events (
    seq         BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id          BINARY(16) NOT NULL,
    saga        BLOB       NOT NULL,
    event       BLOB       NOT NULL,
    wait_key    MEDIUMBLOB NOT NULL,
    wait_digest BINARY(32) NOT NULL,
    version     BIGINT     NOT NULL,
    payload     LONGBLOB   NOT NULL,
    headers     MEDIUMBLOB NOT NULL,
    arrived_at  BIGINT     NOT NULL,
    untold      TINYINT    DEFAULT 1,
    KEY cqrs_saga_events_wait (wait_digest, seq),
    KEY cqrs_saga_events_untold (untold, seq),
    KEY cqrs_saga_events_age (arrived_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
