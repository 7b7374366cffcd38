-- One process at a time publishes what is in the outbox, by a lease; which rows it has given out it keeps in mind, so that a claim
-- writes nothing. A program of before, that claims row by row, fails on the columns that are gone.
UPDATE cqrs_outbox SET state = 'ready' WHERE state = 'claimed';

DROP INDEX cqrs_outbox_lease;
ALTER TABLE cqrs_outbox DROP COLUMN owner;
ALTER TABLE cqrs_outbox DROP COLUMN fence;
ALTER TABLE cqrs_outbox DROP COLUMN lease_until;
ALTER TABLE cqrs_outbox DROP COLUMN doubted;

CREATE TABLE cqrs_relay (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    owner       TEXT,
    -- Grows with every new owner.
    fence       INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    -- Whether the lease has run out before, and nothing was heard of its owner since: it is taken over only then.
    doubted     INTEGER NOT NULL DEFAULT 0,
    -- How many owners in a row were lost, with nothing published in between.
    lost        INTEGER NOT NULL DEFAULT 0,
    -- The first row that was made ready again. Whoever publishes has read beyond it, perhaps.
    again       INTEGER
);

INSERT INTO cqrs_relay (one) VALUES (1);

CREATE TRIGGER cqrs_outbox_again AFTER UPDATE OF state ON cqrs_outbox WHEN NEW.state = 'ready' AND OLD.state <> 'ready'
BEGIN
    UPDATE cqrs_relay SET again = MIN(COALESCE(again, NEW.seq), NEW.seq);
END;
