//! What fails for the first time when it comes from its broker is tried again at once, in its place; then it is stored.

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, Delivery};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, bounded, message, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "called", topic = "calls", key = who)]
struct Called {
    who: String,
    number: u32,
}

#[event_handler(group = "calls", retry(max = 4, first = "1s"))]
async fn call(e: Called, tx: &mut Tx<Sqlite>, meta: &Meta, probe: Inject<Probe>) -> Result<(), BoxError> {
    let name = format!("{} {}", e.who, e.number);
    write(tx, name.clone()).await?;
    probe.note(format!("{name} attempt {}", meta.attempt()));
    probe.pass(&name).await;
    probe.try_it(&name)?;
    Ok(())
}

fn called(number: u32) -> Delivery {
    message("calls", "called", Uuid::now_v7(), &serde_json::json!({"who": "ann", "number": number})).key("ann")
}

#[tokio::test]
async fn g10_a_message_that_fails_once_is_tried_again_at_once_before_the_later_ones_of_its_key() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("ann 1", 1);
        for number in [1, 2] {
            app.receive(called(number)).await.unwrap();
        }
        assert_eq!(app.probe.log(), ["ann 1 attempt 1", "ann 1 attempt 2", "ann 2 attempt 1"]);
        assert_eq!((app.rows().await, app.stored().await), (vec!["ann 1".to_owned(), "ann 2".to_owned()], (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn g10_g11_what_fails_twice_is_stored_holds_its_key_and_is_called_no_more_often_than_it_says() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 4);
        for number in [1, 2] {
            app.receive(called(number)).await.unwrap();
        }
        assert_eq!((app.probe.log().len(), app.stored().await.1), (2, 2), "{:?}", app.probe.log());
        app.settle_for_hours(3).await;
        assert_eq!(app.probe.log(), [1, 2, 3, 4].map(|attempt| format!("ann 1 attempt {attempt}")));
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, app.stored().await.1), (1, 4, 1), "it holds its key");
        assert!(app.replay(dead[0].id).await.unwrap());
        app.settle().await;
        assert_eq!(app.rows().await, ["ann 1", "ann 2"]);
    })
    .await;
}

/// One that was behind others has its first attempt as stored work: the second follows that at once, too.
#[tokio::test]
async fn g10_what_waited_behind_others_of_its_key_is_tried_again_at_once_as_well() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 2);
        app.probe.fail("ann 2", 1);
        for number in [1, 2] {
            app.receive(called(number)).await.unwrap();
        }
        app.settle_an_hour_later().await;
        let expected = ["ann 1 attempt 3", "ann 2 attempt 1", "ann 2 attempt 2"];
        assert_eq!((&app.probe.log()[2..], app.stored().await.1), (&expected.map(str::to_owned)[..], 0));
    })
    .await;
}

#[tokio::test]
async fn g14_what_fails_while_its_process_stops_is_stored_and_not_tried_again_there() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("ann 1", 1);
        app.probe.close("ann 1");
        let stop = async {
            app.probe.arrived("ann 1").await;
            tokio::join!(app.shutdown(), async {
                app.stopping().await;
                app.probe.open("ann 1");
            });
        };
        let (received, ()) = tokio::join!(app.receive(called(1)), stop);
        received.unwrap();
        assert_eq!((app.probe.log().len(), app.stored().await.1), (1, 1), "{:?}", app.probe.log());
    })
    .await;
}
