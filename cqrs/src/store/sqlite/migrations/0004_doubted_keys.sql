-- Whether a key's lease has run out before, and nothing was heard of its owner since: it is taken over only then.
ALTER TABLE cqrs_idempotent ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0;
