//! What compiles in silence also runs.

use bus::testing::TestApp;
use strict::{app, ordinary};

#[test]
fn the_wiring_is_whole() {
    bus::verify!(app());
}

macro_rules! everything {
    ($module:ident) => {
        #[tokio::test]
        async fn $module() {
            use strict::$module::{Find, Import, Lines, Order, Outer, Scan};

            let app = TestApp::new(app()).await.unwrap();
            assert_eq!(app.send(Order { to: "me".into(), refused: false }).await.unwrap(), 21);
            assert!(app.send(Order { to: "me".into(), refused: true }).await.unwrap_err().handler().is_some());
            app.send(Outer::Within).await.unwrap();
            assert_eq!(app.query(Find(5)).await.unwrap(), Some(5));
            let mut rows = app.stream(Import(2));
            assert_eq!(rows.next().await.unwrap().unwrap(), 0);
            assert_eq!(rows.next().await.unwrap().unwrap(), 1);
            assert!(rows.next().await.is_none());
            let mut found = app.stream(Scan);
            assert_eq!(found.next().await.unwrap().unwrap(), 1);
            app.settle().await;
            // A consumed event is not counted as stored here until its group has taken it.
            let mut lines = Vec::new();
            for _ in 0..2_000 {
                lines = app.query(Lines).await.unwrap();
                if lines.iter().any(|line| line.contains("left")) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            lines.sort();
            assert_eq!(
                lines,
                [
                    "around",
                    "around",
                    "inner",
                    "later 3 1",
                    "made 7",
                    "me left, attempt 1",
                    "placed 1",
                    "placed, durable",
                    "placed, inline",
                ]
            );
        }
    };
}

everything!(bare);
everything!(shadowed);

#[tokio::test]
async fn as_people_write_it() {
    let app = TestApp::new(app()).await.unwrap();
    assert_eq!(app.send(ordinary::Buy { count: 2 }).await.unwrap(), 6);
    assert!(app.send(ordinary::Buy { count: 101 }).await.is_err());
    assert_eq!(app.query(ordinary::Stock).await.unwrap(), None);
    let mut numbers = app.stream(ordinary::Count(1));
    assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
    app.settle().await;
    assert_eq!(app.events::<ordinary::Sold>().len(), 1);
}
