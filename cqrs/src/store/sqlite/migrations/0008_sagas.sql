-- A saga is one row, a row for each of its steps that has begun, and a row in its log for each attempt that has ended.
--
-- Somebody holds it while it runs: owner, until lease_until, unless that is renewed. Nobody does while it waits: then due_at says when
-- somebody is to look. Of one that has ended, or is stuck, it is NULL.

CREATE TABLE cqrs_sagas (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    why          TEXT    NOT NULL DEFAULT '',
    context      BLOB    NOT NULL,
    digest       BLOB    NOT NULL, -- of what it began with
    headers      TEXT    NOT NULL,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    -- How many owners in a row were lost, with nothing ended in between.
    cuts         INTEGER NOT NULL DEFAULT 0,
    -- What somebody asks of it, and it has not heard of.
    asked        TEXT,
    error        TEXT,
    logged       INTEGER NOT NULL DEFAULT 0,
    owner        TEXT,
    -- Grows with every owner.
    fence        INTEGER NOT NULL DEFAULT 1,
    lease_until  INTEGER,
    -- Whether the lease has run out before, and nothing was heard of its owner since: it is taken over only then.
    doubted      INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER,
    -- Whether it is due as soon as it is let go.
    poked        INTEGER NOT NULL DEFAULT 0,
    started_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    ended_at     INTEGER
);

CREATE UNIQUE INDEX cqrs_sagas_id ON cqrs_sagas (id);
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
    saga       TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    progress   TEXT    NOT NULL,
    attempt    INTEGER NOT NULL,
    in_doubt   INTEGER NOT NULL,
    due_at     INTEGER,
    wait_saga  TEXT,
    wait_event TEXT,
    wait_key   TEXT,
    event_id   BLOB,
    returned   BLOB,
    error      TEXT,
    PRIMARY KEY (saga, step)
) WITHOUT ROWID;

CREATE INDEX cqrs_saga_steps_wait ON cqrs_saga_steps (wait_event, wait_key, wait_saga) WHERE progress = 'awaiting';

CREATE TABLE cqrs_saga_log (
    saga     TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    step     TEXT    NOT NULL,
    is_undo  INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    progress TEXT    NOT NULL,
    error    TEXT,
    PRIMARY KEY (saga, number)
) WITHOUT ROWID;

-- Events that came for sagas. saga: the name of the definition they came for.
CREATE TABLE cqrs_saga_events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB    NOT NULL,
    saga       TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    wait_key   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    payload    BLOB    NOT NULL,
    headers    TEXT    NOT NULL,
    arrived_at INTEGER NOT NULL
);

CREATE INDEX cqrs_saga_events_wait ON cqrs_saga_events (event, wait_key, saga, seq);
CREATE INDEX cqrs_saga_events_age ON cqrs_saga_events (arrived_at);
