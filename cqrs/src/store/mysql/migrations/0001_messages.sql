-- Times are microseconds since 1970 (UTC), ids the 16 bytes of a UUID, headers a JSON object.
--
-- Names, keys and headers are the bytes of their UTF-8: every text collation that both servers know takes 'a' and 'a ' for
-- the same. What an index leads with is a digest of them, since a key of an index has at most 3072 bytes.
--
-- Each step can be done again: DDL is in no transaction here, and a server may be stopped between two of them.

CREATE TABLE IF NOT EXISTS cqrs_outbox (
    seq         BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id          BINARY(16) NOT NULL,
    name        BLOB       NOT NULL,
    version     BIGINT     NOT NULL,
    topic       BLOB       NOT NULL,
    message_key MEDIUMBLOB,
    -- A digest of topic and key, by which order is kept.
    lane        BIGINT,
    -- Who publishes an event, is not written into its row: a process leases shards, and keeps in mind what it is busy with.
    shard       SMALLINT   NOT NULL,
    payload     LONGBLOB   NOT NULL,
    headers     MEDIUMBLOB NOT NULL,
    raised_at   BIGINT     NOT NULL,
    -- ready    may be published as soon as nothing earlier of its lane is in the way
    -- waiting  becomes ready at due_at
    -- parked   stands behind a dead one of its lane; whoever takes that one away makes it ready again
    -- dead     stays until somebody replays or discards it
    state       ENUM ('ready', 'waiting', 'parked', 'dead') NOT NULL DEFAULT 'ready',
    due_at      BIGINT     NOT NULL,
    attempts    BIGINT     NOT NULL DEFAULT 0,
    -- How often its process was lost while it published nothing else.
    lost        BIGINT     NOT NULL DEFAULT 0,
    error       MEDIUMBLOB,
    -- What is dead of its lane, and what waits: there are no partial indexes here, and few rows are either.
    dead_lane   BIGINT AS (CASE WHEN state = 'dead' THEN lane ELSE NULL END) STORED,
    wait_until  BIGINT AS (CASE WHEN state = 'waiting' THEN due_at ELSE NULL END) STORED,
    KEY cqrs_outbox_state (state, seq),
    KEY cqrs_outbox_lane (lane, seq),
    KEY cqrs_outbox_dead (dead_lane, seq),
    KEY cqrs_outbox_wait (wait_until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS cqrs_shards (
    shard       SMALLINT NOT NULL PRIMARY KEY,
    owner       VARBINARY(64),
    -- Grows with every new owner.
    fence       BIGINT   NOT NULL DEFAULT 0,
    lease_until BIGINT,
    -- How many owners in a row were lost, with nothing published in between.
    lost        INT      NOT NULL DEFAULT 0
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO cqrs_shards (shard)
VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

CREATE TABLE IF NOT EXISTS cqrs_instances (
    owner       VARBINARY(64) NOT NULL PRIMARY KEY,
    alive_until BIGINT        NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS cqrs_work (
    seq            BIGINT     NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id             BINARY(16) NOT NULL,
    kind           VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    handler        BLOB       NOT NULL,
    consumer_group BLOB       NOT NULL,
    -- Of kind, group and handler: every look at work is for queues.
    queue          BINARY(16) NOT NULL,
    name           BLOB       NOT NULL,
    version        BIGINT     NOT NULL,
    topic          BLOB       NOT NULL,
    message_key    MEDIUMBLOB,
    lane           MEDIUMBLOB,
    lane_digest    BINARY(32),
    timer_key      MEDIUMBLOB,
    -- Of name and key.
    timer_digest   BINARY(32),
    -- The same, until the timer is claimed for the first time: there is one such timer, however many store it at once.
    timer_slot     BINARY(32),
    payload        LONGBLOB   NOT NULL,
    headers        MEDIUMBLOB NOT NULL,
    created_at     BIGINT     NOT NULL,
    -- ready    may be claimed as soon as nothing earlier of its lane is in the way
    -- claimed  owned until lease_until, unless that is renewed
    -- waiting  becomes ready at due_at
    -- parked   stands behind another row of its lane; whoever takes that one away makes it ready again
    -- dead     stays until somebody replays or discards it
    state          ENUM ('ready', 'claimed', 'waiting', 'parked', 'dead') NOT NULL,
    due_at         BIGINT     NOT NULL,
    fence          BIGINT     NOT NULL DEFAULT 0,
    owner          VARBINARY(255),
    lease_until    BIGINT,
    attempts       BIGINT     NOT NULL,
    error          MEDIUMBLOB,
    -- Since when programs that cannot do it have put it off.
    deferred_since BIGINT,
    timer_due      BIGINT AS (CASE WHEN kind = 'timer' THEN due_at ELSE NULL END) STORED,
    KEY cqrs_work_state (state, queue, seq),
    KEY cqrs_work_due (state, queue, due_at),
    KEY cqrs_work_lane (lane_digest, seq),
    KEY cqrs_work_timer (timer_digest),
    KEY cqrs_work_timer_due (timer_due, seq),
    UNIQUE KEY cqrs_work_slot (timer_slot)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS cqrs_inbox (
    -- Of group and handler.
    handler_digest BINARY(16) NOT NULL,
    event_id       BINARY(16) NOT NULL,
    consumer_group BLOB       NOT NULL,
    handler        BLOB       NOT NULL,
    handled_at     BIGINT     NOT NULL,
    -- The statement that inserted it.
    token          BINARY(16) NOT NULL,
    PRIMARY KEY (handler_digest, event_id),
    KEY cqrs_inbox_age (handled_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The calls that were given an idempotency key. While one runs it has a lease, which is renewed; once it is done it has its
-- response. token: the running call's own; whoever finds another has lost the key.
CREATE TABLE IF NOT EXISTS cqrs_idempotent (
    -- Of name and key.
    digest          BINARY(32) NOT NULL PRIMARY KEY,
    name            BLOB       NOT NULL,
    idempotency_key BLOB       NOT NULL,
    payload         BINARY(32) NOT NULL, -- a digest of the command
    token           BINARY(16) NOT NULL,
    lease_until     BIGINT,
    response        LONGBLOB,
    done_at         BIGINT,
    KEY cqrs_idempotent_done (done_at),
    KEY cqrs_idempotent_lease (lease_until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
