-- Times are microseconds since 1970 (UTC), headers a JSON object.
--
-- state of an event: 'ready'    may be published as soon as nothing earlier of its key is in the way
--                    'waiting'  becomes ready at due_at
--                    'parked'   stands behind a dead one of its key; whoever takes that one away makes it ready again
--                    'dead'     stays until somebody replays or discards it
--
-- Who publishes an event, is not written into its row: a process leases shards, and keeps in mind what it is busy with. An
-- event's shard follows from its topic and key.

CREATE TABLE cqrs_outbox (
    seq         BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          UUID     NOT NULL,
    name        TEXT     NOT NULL,
    version     INTEGER  NOT NULL,
    topic       TEXT     NOT NULL,
    message_key TEXT,
    payload     BYTEA    NOT NULL,
    headers     TEXT     NOT NULL,
    raised_at   BIGINT   NOT NULL,
    shard       SMALLINT NOT NULL,
    state       TEXT     NOT NULL DEFAULT 'ready',
    due_at      BIGINT   NOT NULL,
    -- The transaction that made it ready. Who has read up to some number looks at those that were under way then: theirs may be
    -- lower numbers that were not there to be seen.
    xact        XID8     NOT NULL DEFAULT pg_current_xact_id(),
    attempts    INTEGER  NOT NULL DEFAULT 0,
    -- How many claims in a row ran out, with nothing heard of the row in between.
    lost        INTEGER  NOT NULL DEFAULT 0,
    error       TEXT
);

CREATE INDEX cqrs_outbox_ready ON cqrs_outbox (seq) WHERE state = 'ready';
CREATE INDEX cqrs_outbox_late ON cqrs_outbox (xact, seq) WHERE state = 'ready';
CREATE INDEX cqrs_outbox_held ON cqrs_outbox (topic, message_key, seq) WHERE message_key IS NOT NULL AND state <> 'ready';
CREATE INDEX cqrs_outbox_due ON cqrs_outbox (due_at) WHERE state = 'waiting';
CREATE INDEX cqrs_outbox_dead ON cqrs_outbox (raised_at, seq) WHERE state = 'dead';
CREATE INDEX cqrs_outbox_parked ON cqrs_outbox (seq) WHERE state = 'parked';

-- Rows come and go by the thousand: what they leave behind is cleared by number, not by the share of a table that is empty
-- most of the time.
ALTER TABLE cqrs_outbox SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_limit = 2000,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 5000
);

CREATE TABLE cqrs_shards (
    shard       SMALLINT PRIMARY KEY,
    owner       TEXT,
    -- Grows with every new owner.
    fence       BIGINT   NOT NULL DEFAULT 0,
    lease_until BIGINT,
    -- How many owners in a row were lost, with nothing published in between.
    lost        INTEGER  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO cqrs_shards (shard) SELECT generate_series(0, 15);

CREATE TABLE cqrs_instances (
    owner       TEXT   PRIMARY KEY,
    alive_until BIGINT NOT NULL
) WITH (fillfactor = 50);

-- state of work: as above, and 'claimed', owned until lease_until, unless that is renewed. Parked work stands behind any row of its
-- lane.

CREATE TABLE cqrs_work (
    seq            BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             UUID    NOT NULL,
    kind           TEXT    NOT NULL,
    handler        TEXT    NOT NULL,
    consumer_group TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    topic          TEXT    NOT NULL,
    message_key    TEXT,
    lane           TEXT,
    timer_key      TEXT,
    payload        BYTEA   NOT NULL,
    headers        TEXT    NOT NULL,
    created_at     BIGINT  NOT NULL,
    state          TEXT    NOT NULL,
    due_at         BIGINT  NOT NULL,
    fence          BIGINT  NOT NULL DEFAULT 0,
    owner          TEXT,
    lease_until    BIGINT,
    attempts       INTEGER NOT NULL,
    error          TEXT,
    -- Since when programs that cannot do it have put it off.
    deferred_since BIGINT
);

-- Every look at work is for queues: kind, group and handler.
CREATE INDEX cqrs_work_ready ON cqrs_work (kind, consumer_group, handler, seq) WHERE state = 'ready';
CREATE INDEX cqrs_work_due ON cqrs_work (kind, consumer_group, handler, due_at) WHERE state = 'waiting';
CREATE INDEX cqrs_work_lease ON cqrs_work (kind, consumer_group, handler, lease_until) WHERE state = 'claimed';
-- Lanes of which something is being done.
CREATE INDEX cqrs_work_busy ON cqrs_work (lane) WHERE state = 'claimed' AND lane IS NOT NULL;
CREATE INDEX cqrs_work_owner ON cqrs_work (owner) WHERE state = 'claimed';
CREATE INDEX cqrs_work_parked ON cqrs_work (seq) WHERE state = 'parked';
CREATE INDEX cqrs_work_dead ON cqrs_work (created_at, seq) WHERE state = 'dead';
CREATE INDEX cqrs_work_lane ON cqrs_work (lane, seq) WHERE lane IS NOT NULL;
-- Timers: by key, to move and to cancel them; by time, to list them.
CREATE INDEX cqrs_work_timer_key ON cqrs_work (name, timer_key) WHERE kind = 'timer' AND timer_key IS NOT NULL;
CREATE INDEX cqrs_work_timer_due ON cqrs_work (due_at, seq) WHERE kind = 'timer';

ALTER TABLE cqrs_work SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_limit = 2000,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 5000
);

CREATE TABLE cqrs_inbox (
    consumer_group TEXT   NOT NULL,
    handler        TEXT   NOT NULL,
    event_id       UUID   NOT NULL,
    handled_at     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, handler, event_id)
);
CREATE INDEX cqrs_inbox_age ON cqrs_inbox (handled_at);

-- The calls that were given an idempotency key. While one runs it has a lease, which is renewed; once it is done it has its
-- response. token: the running call's own; whoever finds another has lost the key.
CREATE TABLE cqrs_idempotent (
    name            TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    payload         BYTEA NOT NULL, -- a digest of the command
    token           UUID  NOT NULL,
    lease_until     BIGINT,
    response        BYTEA,
    done_at         BIGINT,
    PRIMARY KEY (name, idempotency_key)
);
CREATE INDEX cqrs_idempotent_done ON cqrs_idempotent (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX cqrs_idempotent_lease ON cqrs_idempotent (lease_until) WHERE lease_until IS NOT NULL;
