-- What a program of the first schema left behind when it was killed: rows in every state, as that program wrote them. Where it matters
-- when something is due, the names say so; what can be read of a row is its name, too.

INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, state, due_at, attempts, error) VALUES
    (x'00000000000000000000000000000001', 'first', 1, 'orders', 'a', 'first', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL),
    (x'00000000000000000000000000000002', 'second', 1, 'orders', 'a', 'second', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL),
    (x'00000000000000000000000000000003', 'alone', 1, 'orders', NULL, 'alone', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL),
    (x'00000000000000000000000000000004', 'later', 1, 'orders', 'b', 'later', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 3, 'refused'),
    (x'00000000000000000000000000000005', 'behind', 1, 'orders', 'b', 'behind', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL),
    (x'00000000000000000000000000000006', 'buried', 1, 'orders', 'c', 'buried', '{"traceparent":"00-1-01"}', 1700000000000000, 'dead', 1700000000000000, 9, 'too large'),
    (x'00000000000000000000000000000007', 'beneath', 1, 'orders', 'c', 'beneath', '{"traceparent":"00-1-01"}', 1700000000000000, 'parked', 1700000000000000, 0, NULL);

INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload, headers,
    created_at, state, due_at, fence, owner, lease_until, attempts, error) VALUES
    (x'00000000000000000000000000000011', 'durable', 'mail::send', '', 'sent', 1, '', NULL, NULL, NULL, 'sent', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, NULL, 0, NULL),
    (x'00000000000000000000000000000012', 'consumed', 'mail::send', 'billing', 'waits', 1, 'orders', 'a', 'billing-a', NULL, 'waits', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 1, NULL, NULL, 2, 'busy'),
    (x'00000000000000000000000000000013', 'consumed', 'mail::send', 'billing', 'stands', 1, 'orders', 'a', 'billing-a', NULL, 'stands', '{"traceparent":"00-1-01"}', 1700000000000000, 'parked', 1700000000000000, 0, NULL, NULL, 0, NULL),
    (x'00000000000000000000000000000014', 'timer', 'mail::send', '', 'remind', 1, '', NULL, NULL, '7', 'remind', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 0, NULL, NULL, 0, NULL),
    (x'00000000000000000000000000000015', 'durable', 'mail::send', '', 'given-up', 1, '', NULL, NULL, NULL, 'given-up', '{"traceparent":"00-1-01"}', 1700000000000000, 'dead', 1700000000000000, 0, NULL, NULL, 9, 'never'),
    (x'00000000000000000000000000000016', 'durable', 'mail::send', '', 'held', 1, '', NULL, NULL, NULL, 'held', '{"traceparent":"00-1-01"}', 1700000000000000, 'claimed', 1700000000000000, 4, 'gone', 1700000000000000, 0, NULL);

INSERT INTO cqrs_inbox (consumer_group, handler, event_id, handled_at) VALUES ('billing', 'mail::send', x'00000000000000000000000000000021', 1700000000000000);

UPDATE cqrs_outbox SET payload = CAST(payload AS BLOB);
UPDATE cqrs_work SET payload = CAST(payload AS BLOB);
