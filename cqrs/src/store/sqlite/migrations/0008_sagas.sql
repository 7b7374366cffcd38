-- A saga. Who holds it has `owner` and `lease_until`; where nobody does, `due_at` says when somebody is to look.
CREATE TABLE cqrs_sagas (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    phase TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    context BLOB NOT NULL,
    digest BLOB NOT NULL,
    headers TEXT NOT NULL,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    cuts INTEGER NOT NULL DEFAULT 0,
    asked TEXT,
    poked INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    logged INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    fence INTEGER NOT NULL DEFAULT 1,
    lease_until INTEGER,
    doubted INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    started_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
);

CREATE INDEX cqrs_sagas_due ON cqrs_sagas (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX cqrs_sagas_held ON cqrs_sagas (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX cqrs_sagas_owner ON cqrs_sagas (owner) WHERE owner IS NOT NULL;
CREATE INDEX cqrs_sagas_started ON cqrs_sagas (started_at DESC, id);
CREATE INDEX cqrs_sagas_name ON cqrs_sagas (name, started_at DESC, id);
CREATE INDEX cqrs_sagas_phase ON cqrs_sagas (phase, started_at DESC, id);
CREATE INDEX cqrs_sagas_used ON cqrs_sagas (name, version, id) WHERE phase IN ('forward', 'compensating', 'stuck');
CREATE INDEX cqrs_sagas_ended ON cqrs_sagas (changed_at) WHERE phase IN ('completed', 'compensated');

-- A step that has begun.
CREATE TABLE cqrs_saga_steps (
    saga TEXT NOT NULL,
    step TEXT NOT NULL,
    progress TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL,
    due_at INTEGER,
    wait_saga TEXT,
    wait_event TEXT,
    wait_key TEXT,
    event_id BLOB,
    patch BLOB,
    error TEXT,
    PRIMARY KEY (saga, step)
) WITHOUT ROWID;

CREATE INDEX cqrs_saga_steps_wait ON cqrs_saga_steps (wait_key, wait_event, wait_saga) WHERE progress = 'awaiting';

-- An attempt that has ended.
CREATE TABLE cqrs_saga_log (
    saga TEXT NOT NULL,
    number INTEGER NOT NULL,
    step TEXT NOT NULL,
    is_undo INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    progress TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (saga, number)
) WITHOUT ROWID;

-- An event that came for sagas. Those that wait for it are told once.
CREATE TABLE cqrs_saga_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    saga TEXT NOT NULL,
    event TEXT NOT NULL,
    wait_key TEXT NOT NULL,
    version INTEGER NOT NULL,
    payload BLOB NOT NULL,
    headers TEXT NOT NULL,
    came_at INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX cqrs_saga_events_key ON cqrs_saga_events (wait_key, event, saga, seq);
CREATE INDEX cqrs_saga_events_told ON cqrs_saga_events (seq) WHERE told = 0;
CREATE INDEX cqrs_saga_events_came ON cqrs_saga_events (came_at);
