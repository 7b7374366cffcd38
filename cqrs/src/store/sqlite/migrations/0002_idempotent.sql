-- The calls that were given an idempotency key. While one runs it has a lease, which is renewed; once it is done it has its
-- response. token: the running call's own; whoever finds another has lost the key.

CREATE TABLE cqrs_idempotent (
    name            TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    payload         BLOB NOT NULL, -- a digest of the command
    token           BLOB NOT NULL,
    lease_until     INTEGER,
    response        BLOB,
    done_at         INTEGER,
    PRIMARY KEY (name, idempotency_key)
);

-- Sweeping.
CREATE INDEX cqrs_idempotent_done ON cqrs_idempotent (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX cqrs_idempotent_lease ON cqrs_idempotent (lease_until) WHERE lease_until IS NOT NULL;
