//! Several processes share the outbox by shards: leases, fences, stalls, and what kills its process.

use super::*;

/// Rows of so many keys.
async fn many(store: &PostgresStore, count: u32) {
    keep_messages(store, (0..count).map(|n| message(&n.to_string(), Some(&format!("key-{}", n % 64))))).await;
}

async fn held(store: &PostgresStore) -> i64 {
    number(&store.pool, &format!("SELECT COUNT(*) FROM cqrs_shards WHERE owner = '{}'", store.me)).await
}

#[tokio::test]
async fn a_new_process_has_its_share_two_looks_later() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 640).await;
    let under_way = claim(&store, 1, 64).await;
    assert_eq!((held(&store).await, under_way.len()), (16, 64));
    assert!(claim(&other, 1, 64).await.is_empty());
    // What is under way is not torn away: the first shards to go are those of which nothing is.
    publish(&store, &under_way).await;
    let mine = claim(&store, 4, 640).await;
    let others = claim(&other, 7, 640).await;
    assert_eq!((held(&store).await, held(&other).await), (8, 8));
    assert_eq!(mine.len() + others.len(), 640 - 64);
    let numbers: std::collections::HashSet<i64> = mine.iter().chain(&others).map(|row| row.claim.seq).collect();
    assert_eq!(numbers.len(), 640 - 64);
    // Who goes in good order leaves its shards at once.
    publish(&store, &mine).await;
    store.release("a").await.unwrap();
    publish(&other, &others).await;
    claim(&other, 10, 1).await;
    assert_eq!(held(&other).await, 16);
}

/// However much there is of somebody else's, and however far apart one's own rows are.
#[tokio::test]
async fn a_claim_finds_its_rows_behind_a_backlog_of_another_process() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 64).await;
    let first = claim(&store, 1, 64).await;
    assert!(claim(&other, 1, 64).await.is_empty());
    publish(&store, &first).await;
    claim(&store, 4, 64).await;
    claim(&other, 7, 64).await;
    assert_eq!((held(&store).await, held(&other).await), (8, 8));
    let me = &store.me;
    for (rows, shard) in [(50_000, "<>"), (1, "="), (20_000, "<>"), (2, "=")] {
        let fill = format!(
            "INSERT INTO cqrs_outbox (id, name, version, topic, payload, headers, raised_at, due_at, shard)
             SELECT gen_random_uuid(), 'placed', 1, 'orders', '', '{{}}', n, n, (SELECT MIN(shard) FROM cqrs_shards WHERE owner {shard} '{me}')
             FROM generate_series(1, {rows}) AS n"
        );
        run_sql(&store.pool, &fill).await;
    }
    assert_eq!(claim(&store, 8, 10).await.len(), 3);
    assert_eq!(claim(&other, 8, 10).await.len(), 10);
}

/// Who finds that shards are nobody's looks at them with its next claim, not only when it would look anyway.
#[tokio::test]
async fn shards_that_are_given_up_are_found_by_who_waits_for_something_to_do() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 64).await;
    assert_eq!(claim(&store, 1, 1).await.len(), 1);
    assert!(claim(&other, 2, 64).await.is_empty());
    store.release("a").await.unwrap();
    assert!(other.next_outbox_due().await.unwrap().is_some());
    assert_eq!(claim(&other, 2, 64).await.len(), 64);
}

#[tokio::test]
async fn g12_who_stalls_beyond_its_lease_settles_nothing() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 64).await;
    let stale = claim(&store, 1, 64).await;
    assert!(claim(&other, 5, 64).await.is_empty(), "the lease holds");
    let again = claim(&other, 12, 64).await;
    assert_eq!((again.len(), again[0].claim.fence), (64, 2));
    for outcome in [OutboxOutcome::Published, OutboxOutcome::HandBack, OutboxOutcome::Dead { error: "late".to_owned() }]
    {
        assert_eq!(settle(&store, &stale, &outcome).await, 0);
    }
    let claims = stale.iter().map(|row| row.claim).collect();
    assert!(store.renew_outbox(claims, at(20)).await.unwrap().is_empty());
    assert!(claim(&store, 12, 64).await.is_empty());
    assert_eq!(publish(&other, &again).await, 64);
}

/// It is late and nobody has taken over: what it has done counts.
#[tokio::test]
async fn who_was_late_and_alone_settles_what_it_has_done() {
    let (schema, store) = fresh().await;
    many(&store, 8).await;
    let late = claim(&store, 1, 64).await;
    assert_eq!(publish(&store, &late[..4]).await, 4);
    let other = schema.open().await;
    claim(&other, 20, 64).await;
    assert_eq!(publish(&store, &late[4..]).await, 0, "taken over");
}

/// Between the look at the fences and the deletion nobody takes over.
#[tokio::test]
async fn g12_a_takeover_waits_for_a_settlement_under_way_and_the_other_way_round() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 16).await;
    let claimed = claim(&store, 1, 64).await;
    let mut taker = other.begin().await.unwrap();
    run(&mut taker, "UPDATE cqrs_shards SET owner = 'somebody', fence = fence + 1").await.unwrap();
    let (settled, ()) = tokio::join!(publish(&store, &claimed), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        taker.commit().await.unwrap();
    });
    assert_eq!(settled, 0);
    assert_eq!(store.counts().await.unwrap().outbox, 16);
}

#[tokio::test]
async fn a_renewed_lease_keeps_its_shards() {
    let (schema, store) = fresh().await;
    let other = schema.open().await;
    many(&store, 64).await;
    let claimed = claim(&store, 1, 64).await;
    for second in [4, 8, 12] {
        let claims: Vec<Claim> = claimed.iter().map(|row| row.claim).collect();
        assert_eq!(store.renew_outbox(claims, at(second) + LEASE).await.unwrap().len(), 64);
        assert!(claim(&other, second + 3, 64).await.is_empty());
    }
    assert_eq!(publish(&store, &claimed).await, 64);
}

/// Somebody publishes a row that ends its process, again and again. It is found out, the others are published, and in the end it is
/// a dead letter.
#[tokio::test]
async fn g11_what_kills_its_process_ends_as_a_dead_letter_and_the_rest_goes_out() {
    let (schema, store) = fresh().await;
    let rows = ["before", "kills", "behind", "after"];
    keep_messages(&store, rows.map(|name| message(name, Some(if name == "behind" { "kills" } else { name })))).await;
    // All in one shard, whatever their keys.
    run_sql(&store.pool, "UPDATE cqrs_outbox SET shard = 3").await;
    let mut published = Vec::new();
    for life in 0..60 {
        let process = schema.open().await;
        loop {
            let claimed = claim(&process, 10 + life * 20, 100).await;
            // The process dies with whatever it holds beside that row.
            if claimed.is_empty() || claimed.iter().any(|row| row.record.name == "kills") {
                break;
            }
            published.extend(claimed.iter().map(|row| row.record.name.clone()));
            publish(&process, &claimed).await;
        }
        if !store.dead_letters(9).await.unwrap().is_empty() {
            break;
        }
    }
    let last = schema.open().await;
    for look in 0..3 {
        let claimed = claim(&last, 2_000 + look, 100).await;
        published.extend(claimed.iter().map(|row| row.record.name.clone()));
        publish(&last, &claimed).await;
    }
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].name.as_str()), (1, "kills"));
    assert!(letters[0].error.contains("20 times in a row"), "{}", letters[0].error);
    assert_eq!(published, ["before", "after"], "what is behind it waits for somebody to decide");
}

/// Owners that die do no harm to rows that end no process.
#[tokio::test]
async fn g11_processes_that_are_killed_often_lose_nothing() {
    let (schema, store) = fresh().await;
    many(&store, 40).await;
    for life in 0..18 {
        let process = schema.open().await;
        let claimed = claim(&process, 10 + life * 20, 100).await;
        assert!(!claimed.is_empty(), "life {life}");
    }
    let last = schema.open().await;
    let mut published = 0;
    while published < 40 {
        let claimed = claim(&last, 2_000, 100).await;
        assert!(!claimed.is_empty());
        published += publish(&last, &claimed).await;
    }
    assert!(store.dead_letters(9).await.unwrap().is_empty());
    assert_eq!(number(&store.pool, "SELECT SUM(lost)::BIGINT FROM cqrs_shards").await, 0, "they are trusted again");
}

/// Three processes that come and go, are stopped and killed: everything is published, and every key in order.
#[tokio::test]
async fn g10_processes_that_come_and_go_keep_every_key_in_order() {
    let (schema, store) = fresh().await;
    let mut processes = [schema.open().await, schema.open().await, schema.open().await];
    let mut published: Vec<u32> = Vec::new();
    let mut next = 0;
    for now in 1..120_u64 {
        if next < 600 {
            let batch: Vec<_> =
                (next..next + 20).map(|n| message(&n.to_string(), Some(&(n % 20).to_string()))).collect();
            next += 20;
            keep_messages(&store, batch).await;
        }
        for (at, process) in processes.iter_mut().enumerate() {
            let dice = now * 31 + at as u64 * 17;
            match dice % 13 {
                0 => *process = schema.open().await,
                // Nobody hears of these before their claim has run out.
                1 => drop(process.claim_outbox(request("gone", now, 7)).await.unwrap()),
                _ => {
                    let claimed = claim(process, now, 15).await;
                    let numbers = claimed.iter().map(|row| row.record.name.parse::<u32>().unwrap());
                    let numbers: Vec<u32> = numbers.collect();
                    assert_eq!(publish(process, &claimed).await, claimed.len() as u64);
                    published.extend(numbers);
                }
            }
        }
        if published.len() == 600 {
            break;
        }
    }
    for now in (130..400).step_by(2) {
        for process in &processes {
            let claimed = claim(process, now, 100).await;
            published.extend(claimed.iter().map(|row| row.record.name.parse::<u32>().unwrap()));
            publish(process, &claimed).await;
        }
    }
    assert_eq!(published.len(), 600, "each once");
    for key in 0..20 {
        let of_key: Vec<u32> = published.iter().copied().filter(|n| n % 20 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

/// Two that are never idle, and renew what they hold: they are alive all the same, and make room for a third.
#[tokio::test]
async fn a_third_process_has_its_share_beside_two_that_are_busy() {
    let (schema, one) = fresh().await;
    let (two, three) = (schema.open().await, schema.open().await);
    many(&one, 6_000).await;
    for second in 1..30 {
        let mut processes = vec![&one, &two];
        if second > 8 {
            processes.push(&three);
        }
        for process in processes {
            let claimed = claim(process, second, 20).await;
            let claims: Vec<Claim> = claimed.iter().map(|row| row.claim).collect();
            assert_eq!(process.renew_outbox(claims, at(second) + LEASE).await.unwrap().len(), claimed.len());
            publish(process, &claimed).await;
        }
    }
    let mut shares = [held(&one).await, held(&two).await, held(&three).await];
    shares.sort_unstable();
    assert_eq!(shares, [5, 5, 6]);
}

/// The database is away just when a claim of this process has run out.
#[tokio::test]
async fn g12_what_ran_out_is_given_out_only_when_its_fence_has_moved() {
    let (_schema, store) = fresh().await;
    keep_messages(&store, [message("a", Some("a"))]).await;
    let stale = claim(&store, 1, 9).await;
    assert_eq!(stale.len(), 1);
    run_sql(&store.pool, "ALTER TABLE cqrs_shards RENAME TO away").await;
    assert!(store.claim_outbox(request("b", 12, 9)).await.is_err());
    run_sql(&store.pool, "ALTER TABLE away RENAME TO cqrs_shards").await;
    let again = store.claim_outbox(request("b", 12, 9)).await.unwrap();
    assert_eq!((again.len(), again[0].attempts), (1, 1), "a claim that ran out is an attempt");
    assert_eq!(publish(&store, &stale).await, 0, "its owner has been followed");
    assert_eq!(publish(&store, &again).await, 1);
}
