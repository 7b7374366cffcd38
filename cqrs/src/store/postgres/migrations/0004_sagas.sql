-- A saga is one row, a row for each of its steps that has begun, and a row in its log for each attempt that has ended.
--
-- Somebody holds it while it runs: owner, until lease_until, unless that is renewed. Nobody does while it waits: then due_at says when
-- somebody is to look. Of one that has ended, or is stuck, it is NULL.

CREATE TABLE cqrs_sagas (
    id           TEXT COLLATE "C" PRIMARY KEY,
    name         TEXT COLLATE "C" NOT NULL,
    version      INTEGER NOT NULL,
    phase        TEXT COLLATE "C" NOT NULL,
    why          TEXT    NOT NULL DEFAULT '',
    context      BYTEA   NOT NULL,
    digest       BYTEA   NOT NULL, -- of what it began with
    headers      TEXT    NOT NULL,
    is_cancelled BOOLEAN NOT NULL DEFAULT FALSE,
    -- How many owners in a row were lost, with nothing ended in between.
    cuts         INTEGER NOT NULL DEFAULT 0,
    -- What somebody asks of it, and it has not heard of.
    asked        TEXT,
    error        TEXT,
    logged       INTEGER NOT NULL DEFAULT 0,
    owner        TEXT,
    -- Grows with every owner.
    fence        BIGINT  NOT NULL DEFAULT 1,
    lease_until  BIGINT,
    due_at       BIGINT,
    -- Whether it is due as soon as it is let go.
    poked        BOOLEAN NOT NULL DEFAULT FALSE,
    started_at   BIGINT  NOT NULL,
    changed_at   BIGINT  NOT NULL,
    -- Set at its end only: what an index has changes no oftener than it has to, so that a change in the middle touches none.
    ended_at     BIGINT
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_limit = 2000,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 5000
);

-- Claiming: what is due, and what a process held that died; of some names, or of all but some.
CREATE INDEX cqrs_sagas_due ON cqrs_sagas (due_at, id, name) WHERE due_at IS NOT NULL;
CREATE INDEX cqrs_sagas_lease ON cqrs_sagas (lease_until, id, name) WHERE lease_until IS NOT NULL;
-- Finding, those last started first.
CREATE INDEX cqrs_sagas_started ON cqrs_sagas (started_at DESC, id);
CREATE INDEX cqrs_sagas_name ON cqrs_sagas (name, started_at DESC, id);
CREATE INDEX cqrs_sagas_phase ON cqrs_sagas (phase, started_at DESC, id);
-- Sweeping.
CREATE INDEX cqrs_sagas_ended ON cqrs_sagas (ended_at) WHERE ended_at IS NOT NULL;

-- wait_saga, wait_event, wait_key: what it waits for, or has waited for.
CREATE TABLE cqrs_saga_steps (
    saga       TEXT COLLATE "C" NOT NULL,
    step       TEXT COLLATE "C" NOT NULL,
    progress   TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    in_doubt   BOOLEAN NOT NULL,
    due_at     BIGINT,
    wait_saga  TEXT COLLATE "C",
    wait_event TEXT COLLATE "C",
    wait_key   TEXT COLLATE "C",
    event_id   UUID,
    returned   BYTEA,
    error      TEXT,
    PRIMARY KEY (saga, step)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_limit = 2000
);

CREATE INDEX cqrs_saga_steps_wait ON cqrs_saga_steps (wait_event, wait_key, wait_saga) WHERE progress = 'awaiting';

CREATE TABLE cqrs_saga_log (
    saga     TEXT COLLATE "C" NOT NULL,
    number   INTEGER NOT NULL,
    step     TEXT    NOT NULL,
    is_undo  BOOLEAN NOT NULL,
    attempt  INTEGER NOT NULL,
    began_at BIGINT  NOT NULL,
    ended_at BIGINT  NOT NULL,
    progress TEXT    NOT NULL,
    error    TEXT,
    PRIMARY KEY (saga, number)
);

-- Events that came for sagas. saga: the name of the definition they came for. told: those that wait for it have been woken.
CREATE TABLE cqrs_saga_events (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         UUID    NOT NULL,
    saga       TEXT COLLATE "C" NOT NULL,
    event      TEXT COLLATE "C" NOT NULL,
    wait_key   TEXT COLLATE "C" NOT NULL,
    version    INTEGER NOT NULL,
    payload    BYTEA   NOT NULL,
    headers    TEXT    NOT NULL,
    arrived_at BIGINT  NOT NULL,
    told       BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE INDEX cqrs_saga_events_wait ON cqrs_saga_events (event, wait_key, saga, seq);
CREATE INDEX cqrs_saga_events_untold ON cqrs_saga_events (seq) WHERE NOT told;
CREATE INDEX cqrs_saga_events_age ON cqrs_saga_events (arrived_at);
