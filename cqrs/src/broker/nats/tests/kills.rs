//! Members in processes of their own, killed, stopped and continued.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{Driver, Outgoing, Settlement, broker, delete, message, options, subscription, unique, url};
use crate::broker::options::Declare;

/// What a member's process is told: topic, group, and the file it writes down what it handles in.
const TOLD: &str = "CQRS_NATS_MEMBER";

/// A member's process; the tests below start it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that other tests start"]
async fn member() {
    let told = std::env::var(TOLD).expect("told what to do");
    let [topic, group, file] = *told.split('|').collect::<Vec<_>>() else { panic!("{told}") };
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    let driver = broker(&url(), options(Declare::Create));
    let mut consumer = driver.subscribe(subscription(group, topic, 16)).await.unwrap();
    loop {
        for incoming in consumer.receive(16).await.unwrap() {
            // Handled: one write, whole or not at all.
            let delivery = &incoming.delivery;
            let line = format!(
                "{} {} {}\n",
                delivery.message_key().unwrap(),
                String::from_utf8_lossy(delivery.payload()),
                std::process::id()
            );
            file.write_all(line.as_bytes()).unwrap();
            sleep(Duration::from_millis(1)).await;
            // What is somebody else's by now was said to be: it is delivered again.
            let _ = consumer.settle(vec![(incoming.receipt, Settlement::Done)]).await;
        }
    }
}

struct Scene {
    topic: String,
    group: String,
    directory: TempDir,
    keys: u32,
}

impl Scene {
    fn new(keys: u32) -> Self {
        let scene = Self { topic: unique("kills"), group: unique("group"), directory: TempDir::new().unwrap(), keys };
        std::fs::write(scene.file(), "").unwrap();
        scene
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("handled")
    }

    fn member(&self) -> Member {
        let path = module_path!().split_once("::").unwrap().1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("{path}::member"), "--exact", "--ignored", "--test-threads=1"])
            .env(TOLD, format!("{}|{}|{}", self.topic, self.group, self.file().to_str().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Member(child.unwrap())
    }

    /// Publishes as the relay does: what failed goes out again, in its order.
    async fn publish(&self, driver: &dyn Driver, numbers: std::ops::Range<u32>) {
        let keys = |number| (0..self.keys).map(move |key| (key, number));
        let mut left: Vec<Outgoing> = numbers
            .flat_map(keys)
            .map(|(key, number)| message(&self.topic, Some(&format!("k{key}")), &number.to_string()))
            .collect();
        while !left.is_empty() {
            let results = driver.publish(left.clone()).await;
            left =
                left.into_iter().zip(results).filter_map(|(message, result)| result.err().map(|_| message)).collect();
        }
    }

    /// What was handled, each message once: the first time is what the inbox lets through.
    fn handled(&self) -> BTreeMap<String, Vec<u32>> {
        let mut handled = BTreeMap::<String, Vec<u32>>::new();
        for line in lines(&self.file()) {
            let mut words = line.split(' ');
            let (key, number) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
            let numbers = handled.entry(key).or_default();
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        handled
    }

    /// Waits until the first `count` messages of each key are handled, in their order.
    async fn reach(&self, count: u32, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let handled = self.handled();
            for (key, numbers) in &handled {
                assert!(numbers.is_sorted(), "the messages of {key} are out of order: {numbers:?}");
            }
            let done = handled.values().filter(|numbers| numbers.len() >= count as usize).count();
            if done == self.keys as usize {
                return;
            }
            assert!(Instant::now() < deadline, "only {done} keys have been handled up to {count}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(ToOwned::to_owned).collect()
}

/// Dropped, it is killed.
struct Member(Child);

impl Member {
    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    fn has_handled(&self, scene: &Scene) -> usize {
        let me = self.0.id().to_string();
        lines(&scene.file()).iter().filter(|line| line.rsplit(' ').next() == Some(&me)).count()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_killed_lose_nothing_and_nothing_overtakes() {
    let scene = Scene::new(20);
    let driver = broker(&url(), options(Declare::Create));
    let mut members: Vec<_> = (0..3).map(|_| scene.member()).collect();
    scene.publish(&*driver, 0..20).await;
    scene.reach(20, Duration::from_secs(30)).await;
    for round in 1..=4_u32 {
        let numbers = round * 20..round * 20 + 20;
        let kill = async {
            sleep(Duration::from_millis(u64::from(round) * 7)).await;
            drop(members.remove(0));
            members.push(scene.member());
        };
        tokio::join!(scene.publish(&*driver, numbers.clone()), kill);
        scene.reach(numbers.end, Duration::from_secs(30)).await;
    }
    drop(members);
    delete(&url(), &scene.topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_stopped_beyond_its_lease_holds_up_nobody_and_overtakes_nothing() {
    let scene = Scene::new(20);
    let driver = broker(&url(), options(Declare::Create));
    let members = [scene.member(), scene.member()];
    let mut next = 0;
    while members.iter().any(|member| member.has_handled(&scene) == 0) {
        scene.publish(&*driver, next..next + 5).await;
        next += 5;
        scene.reach(next, Duration::from_secs(30)).await;
        sleep(Duration::from_millis(300)).await;
    }
    scene.publish(&*driver, next..next + 50).await;
    members[0].signal("-STOP");
    let stopped = members[0].has_handled(&scene);
    // What it held, and what is its own, is taken up within ten seconds, and handled.
    scene.reach(next + 50, Duration::from_secs(12)).await;
    scene.publish(&*driver, next + 50..next + 100).await;
    scene.reach(next + 100, Duration::from_secs(10)).await;
    members[0].signal("-CONT");
    scene.publish(&*driver, next + 100..next + 150).await;
    scene.reach(next + 150, Duration::from_secs(30)).await;
    // It is a member again.
    let mut last = next + 150;
    while members[0].has_handled(&scene) < stopped + 40 {
        scene.publish(&*driver, last..last + 5).await;
        last += 5;
        scene.reach(last, Duration::from_secs(30)).await;
        sleep(Duration::from_millis(100)).await;
    }
    drop(members);
    delete(&url(), &scene.topic).await;
}
