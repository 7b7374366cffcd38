-- Times are microseconds since 1970 (UTC), ids the 16 bytes of a UUID, headers a JSON object.
--
-- state: 'ready'    may be claimed as soon as nothing earlier of its key or lane is in the way
--        'claimed'  owned until lease_until, unless that is renewed
--        'waiting'  becomes ready at due_at
--        'parked'   stands behind another row: work behind any of its lane, an event behind a dead one of its key; whoever
--                   takes that one away makes it ready again
--        'dead'     stays until somebody replays or discards it
--
-- AUTOINCREMENT never gives a number twice. Without it the number of a deleted last row would come back, and the claim
-- of a stalled owner would fit the new row.

CREATE TABLE cqrs_outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    topic       TEXT    NOT NULL,
    message_key TEXT,
    payload     BLOB    NOT NULL,
    headers     TEXT    NOT NULL,
    raised_at   INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'ready',
    due_at      INTEGER NOT NULL,
    fence       INTEGER NOT NULL DEFAULT 0,
    owner       TEXT,
    lease_until INTEGER,
    -- Whether the lease has run out before, and nothing was heard of the owner since.
    doubted     INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    -- How many claims in a row ran out, with nothing heard of the row in between.
    lost        INTEGER NOT NULL DEFAULT 0,
    error       TEXT
);

-- Claiming: ready rows in order; the rows of a key that are in the way of later ones.
CREATE INDEX cqrs_outbox_state ON cqrs_outbox (state, seq);
CREATE INDEX cqrs_outbox_held ON cqrs_outbox (topic, message_key, seq)
    WHERE message_key IS NOT NULL AND state <> 'ready';
-- Waking: what waits, and what a process that died held.
CREATE INDEX cqrs_outbox_due ON cqrs_outbox (due_at) WHERE state = 'waiting';
CREATE INDEX cqrs_outbox_lease ON cqrs_outbox (lease_until) WHERE state = 'claimed';

CREATE TABLE cqrs_work (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL,
    kind           TEXT    NOT NULL,
    handler        TEXT    NOT NULL,
    consumer_group TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    topic          TEXT    NOT NULL,
    message_key    TEXT,
    lane           TEXT,
    timer_key      TEXT,
    payload        BLOB    NOT NULL,
    headers        TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    due_at         INTEGER NOT NULL,
    fence          INTEGER NOT NULL DEFAULT 0,
    owner          TEXT,
    lease_until    INTEGER,
    doubted        INTEGER NOT NULL DEFAULT 0,
    attempts       INTEGER NOT NULL,
    error          TEXT,
    -- Since when programs that cannot do it have put it off.
    deferred_since INTEGER
);

-- Every look at work is for queues: kind, group and handler.
CREATE INDEX cqrs_work_state ON cqrs_work (state, kind, consumer_group, handler, seq);
CREATE INDEX cqrs_work_lane ON cqrs_work (lane, seq) WHERE lane IS NOT NULL;
CREATE INDEX cqrs_work_due ON cqrs_work (kind, consumer_group, handler, due_at) WHERE state = 'waiting';
CREATE INDEX cqrs_work_lease ON cqrs_work (kind, consumer_group, handler, lease_until) WHERE state = 'claimed';
-- Timers: by key, to move and to cancel them; by time, to list them.
CREATE INDEX cqrs_work_timer_key ON cqrs_work (name, timer_key) WHERE kind = 'timer' AND timer_key IS NOT NULL;
CREATE INDEX cqrs_work_timer_due ON cqrs_work (due_at, seq) WHERE kind = 'timer';

CREATE TABLE cqrs_inbox (
    consumer_group TEXT    NOT NULL,
    handler        TEXT    NOT NULL,
    event_id       BLOB    NOT NULL,
    handled_at     INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, handler, event_id)
) WITHOUT ROWID;

CREATE INDEX cqrs_inbox_age ON cqrs_inbox (handled_at);
