-- Whether a row's lease has run out before, and nothing was heard of its owner since: it is taken back only then.
ALTER TABLE cqrs_outbox ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cqrs_work ADD COLUMN doubted INTEGER NOT NULL DEFAULT 0;
