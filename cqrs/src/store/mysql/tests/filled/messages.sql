-- What a program of the first schema left behind when it was killed: rows in every state, as that program wrote them. Where it matters
-- when something is due, the names say so; what can be read of a row is its name, too.

INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, state, due_at, attempts, error, shard, lane) VALUES
    (x'00000000000000000000000000000001', 'first', 1, 'orders', 'a', 'first', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, 11, -7749915933331625153),
    (x'00000000000000000000000000000002', 'second', 1, 'orders', 'a', 'second', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, 11, -7749915933331625153),
    (x'00000000000000000000000000000003', 'alone', 1, 'orders', NULL, 'alone', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, 3, NULL),
    (x'00000000000000000000000000000004', 'later', 1, 'orders', 'b', 'later', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 3, 'refused', 6, -7749914833819996942),
    (x'00000000000000000000000000000005', 'behind', 1, 'orders', 'b', 'behind', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, 6, -7749914833819996942),
    (x'00000000000000000000000000000006', 'buried', 1, 'orders', 'c', 'buried', '{"traceparent":"00-1-01"}', 1700000000000000, 'dead', 1700000000000000, 9, 'too large', 1, -7749913734308368731),
    (x'00000000000000000000000000000007', 'beneath', 1, 'orders', 'c', 'beneath', '{"traceparent":"00-1-01"}', 1700000000000000, 'parked', 1700000000000000, 0, NULL, 1, -7749913734308368731);

INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload, headers,
    created_at, state, due_at, fence, owner, lease_until, attempts, error, queue, lane_digest, timer_digest, timer_slot) VALUES
    (x'00000000000000000000000000000011', 'durable', 'mail::send', '', 'sent', 1, '', NULL, NULL, NULL, 'sent', '{"traceparent":"00-1-01"}', 1700000000000000, 'ready', 1700000000000000, 0, NULL, NULL, 0, NULL,
        x'A17EF8AE507761B9AB118D88B3817703', NULL, NULL, NULL),
    (x'00000000000000000000000000000012', 'consumed', 'mail::send', 'billing', 'waits', 1, 'orders', 'a', 'billing-a', NULL, 'waits', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 1, NULL, NULL, 2, 'busy',
        x'8FADEF67F268305BBD6D048F2AD340BA', x'82AE1A04682A325097C7261E55044DC479F6E26097913AF274EDF1E3346194D4', NULL, NULL),
    (x'00000000000000000000000000000013', 'consumed', 'mail::send', 'billing', 'stands', 1, 'orders', 'a', 'billing-a', NULL, 'stands', '{"traceparent":"00-1-01"}', 1700000000000000, 'parked', 1700000000000000, 0, NULL, NULL, 0, NULL,
        x'8FADEF67F268305BBD6D048F2AD340BA', x'82AE1A04682A325097C7261E55044DC479F6E26097913AF274EDF1E3346194D4', NULL, NULL),
    (x'00000000000000000000000000000014', 'timer', 'mail::send', '', 'remind', 1, '', NULL, NULL, '7', 'remind', '{"traceparent":"00-1-01"}', 1700000000000000, 'waiting', 1700000060000000, 0, NULL, NULL, 0, NULL,
        x'1EB7222AC341C03FC78BA36FE0C1694B', NULL, x'1F97DC4EFEECA1B2C7DC2349418B87305FDEA3C36CAF65AC635744B420DFC05E', x'1F97DC4EFEECA1B2C7DC2349418B87305FDEA3C36CAF65AC635744B420DFC05E'),
    (x'00000000000000000000000000000015', 'durable', 'mail::send', '', 'given-up', 1, '', NULL, NULL, NULL, 'given-up', '{"traceparent":"00-1-01"}', 1700000000000000, 'dead', 1700000000000000, 0, NULL, NULL, 9, 'never',
        x'A17EF8AE507761B9AB118D88B3817703', NULL, NULL, NULL),
    (x'00000000000000000000000000000016', 'durable', 'mail::send', '', 'held', 1, '', NULL, NULL, NULL, 'held', '{"traceparent":"00-1-01"}', 1700000000000000, 'claimed', 1700000000000000, 4, 'gone', 1700000000000000, 0, NULL,
        x'A17EF8AE507761B9AB118D88B3817703', NULL, NULL, NULL);

INSERT INTO cqrs_inbox (handler_digest, event_id, consumer_group, handler, handled_at, token)
VALUES (x'AB17DDD0FE2B7D53DD447844EA1A33B0', x'00000000000000000000000000000021', 'billing', 'mail::send', 1700000000000000, x'00000000000000000000000000000001');

UPDATE cqrs_shards SET owner = 'gone', fence = 3, lease_until = 1700000000000000;
INSERT INTO cqrs_instances (owner, alive_until) VALUES ('gone', 1700000000000000);

INSERT INTO cqrs_idempotent (digest, name, idempotency_key, payload, token, lease_until, response, done_at) VALUES
    (x'289B072A5512262276F5C355F46DE8A4F289C022674E41FB2C0F948D83F5E483', 'pay', 'done', x'7070707070707070707070707070707070707070707070707070707070707070', x'00000000000000000000000000000001', NULL, x'70616964', 1700000000000000),
    (x'47FD2FD951F0B33434F5ABAF6768B0B144CD324915A570368CA4BE8971500BF3', 'pay', 'left', x'7070707070707070707070707070707070707070707070707070707070707070', x'00000000000000000000000000000002', 1700000000000000, NULL, NULL);
