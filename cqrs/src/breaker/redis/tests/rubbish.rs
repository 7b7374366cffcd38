//! What stands at a breaker's key and is none.

use tracing::Level;

use super::{LONG, MILLI, client, fail, key, opens_for, redis_and_breakers, refused, run, stands, succeed, until};
use crate::breaker::BreakerPhase;
use crate::logged::Log;

#[tokio::test]
async fn a_key_of_another_type_is_left_alone_and_told_of_once() {
    let (redis, breakers) = redis_and_breakers();
    let key = key(&breakers);
    for made in [["SET", &key, "precious"].as_slice(), &["RPUSH", &key, "precious"], &["ZADD", &key, "1", "precious"]] {
        run::<redis::Value>(redis.url(), made).await;
        let dump: Vec<u8> = run(redis.url(), &["DUMP", &key]).await;
        let log = Log::new();
        let breaker = client(&breakers, opens_for(LONG));
        for _ in 0..5 {
            fail(&breaker).await;
            tokio::time::sleep(10 * MILLI).await;
        }
        succeed(&breaker).await;
        assert_eq!(breaker.state().phase, BreakerPhase::Closed);
        let warnings = log.lines(Level::WARN, "something else");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(&key), "{warnings:?}");
        assert_eq!(run::<Vec<u8>>(redis.url(), &["DUMP", &key]).await, dump);

        // Once it is gone the breaker is one.
        let _: u32 = run(redis.url(), &["DEL", &key]).await;
        until("it works", async || {
            fail(&breaker).await;
            // More than one may be under way on a busy machine.
            let state = breaker.state();
            (state.failures > 0 || state.phase == BreakerPhase::Open).then_some(())
        })
        .await;
        let _: u32 = run(redis.url(), &["DEL", &key]).await;
    }
}

#[tokio::test]
async fn fields_that_make_no_sense_are_thrown_away_and_the_breaker_begins_anew() {
    let sound = ["phase", "1", "failures", "0", "due", "99999999999999", "period", "5", "trial", "0", "times", ""];
    let spoilt = |field: &'static str, value: &'static str| {
        let mut fields = sound;
        let at = fields.iter().position(|word| *word == field).unwrap();
        fields[at + 1] = value;
        fields.to_vec()
    };
    let cases = [
        vec!["phase", "1"],
        vec!["greeting", "hello"],
        spoilt("phase", "3"),
        spoilt("phase", "open"),
        spoilt("failures", "-1"),
        spoilt("due", "1e300"),
        spoilt("due", "99999999999999999999"),
        spoilt("period", "nan"),
        spoilt("trial", ""),
        spoilt("times", "1 2 three"),
    ];
    let (redis, breakers) = redis_and_breakers();
    let key = key(&breakers);
    for fields in cases {
        let words: Vec<_> = ["HSET", &key].into_iter().chain(fields.iter().copied()).collect();
        let _: u32 = run(redis.url(), &words).await;
        let log = Log::new();
        let breaker = client(&breakers, opens_for(LONG));
        succeed(&breaker).await;
        let warnings = log.lines(Level::WARN, "");
        assert!(warnings.len() == 1 && warnings[0].contains("made no sense"), "{fields:?}: {warnings:?}");
        assert_eq!(run::<u32>(redis.url(), &["EXISTS", &key]).await, 0, "{fields:?}");
        fail(&breaker).await;
        fail(&breaker).await;
        refused(&breaker).await;
        let _: u32 = run(redis.url(), &["DEL", &key]).await;
    }
}

#[tokio::test]
async fn a_breaker_is_not_open_longer_than_it_says_whatever_is_stored() {
    let (redis, breakers) = redis_and_breakers();
    let far = ["phase", "1", "failures", "0", "due", "99999999999999", "period", "5", "trial", "0", "times", ""];
    let key = key(&breakers);
    let words: Vec<_> = ["HSET", &key].into_iter().chain(far).collect();
    let _: u32 = run(redis.url(), &words).await;
    let breaker = client(&breakers, opens_for(100 * MILLI));
    let open = breaker.admit().await.expect_err("open");
    assert!(open.retry_after <= 100 * MILLI, "{open:?}");
    until("due", async || breaker.admit().await.ok()).await.success();
    stands(&breaker, BreakerPhase::Closed).await;
}
