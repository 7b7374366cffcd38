//! What the program prints and what its page says are lines to copy: they do what they are said to do.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Deserializer, Value, json};

const ORDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/orders.jsonl");

/// The program as it serves, in a directory of its own. It ends with the value.
struct Serving {
    child: Child,
    /// Kept, so that it never writes to a closed pipe.
    lines: Lines<BufReader<ChildStdout>>,
    directory: tempfile::TempDir,
}

impl Serving {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, directory }
    }

    /// The lines to try, as they are printed.
    fn suggested(&mut self) -> Vec<String> {
        let printed: Vec<String> = self.lines.by_ref().take(3).map(Result::unwrap).collect();
        assert_eq!(printed[0], "Open. Try:");
        printed[1..].to_vec()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is a curl; without one only what can be sent by hand is tried.
fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok_and(|curl| curl.status.success());
    if !there {
        eprintln!("no curl: the lines are read and sent by hand, not run; install curl to run them");
    }
    there
}

fn shell(script: &str, directory: &Path) -> String {
    let Output { status, stdout, stderr } =
        Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(status.success(), "{script}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The words of a line, as a shell sees them: split at blanks, whole between single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (number, part) in line.trim().split('\'').enumerate() {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
        } else {
            let mut split = part.split(' ');
            words.last_mut().unwrap().push_str(split.next().unwrap());
            words.extend(split.map(str::to_owned));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Sends what a line tells curl to send; gives status and body.
fn by_hand(line: &str) -> (u16, Value) {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    assert_eq!(words.next(), Some("curl"), "{line}");
    let url = words.next().unwrap().strip_prefix("http://").unwrap();
    let (address, path) = url.split_once('/').unwrap();
    let (mut headers, mut body) = (String::new(), None);
    while let Some(option) = words.next() {
        match option {
            "-H" => headers = format!("{headers}{}\r\n", words.next().unwrap()),
            "-d" => body = words.next(),
            _ => panic!("`{option}` in {line}"),
        }
    }
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = body.len();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    let head =
        format!("{method} /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_printed_lines_place_an_order_and_show_it() {
    let mut shop = Serving::start();
    let lines = shop.suggested();
    let order = json!({
        "id": "1001", "customer": "ada@example.com", "status": "placed", "total_cents": 900,
        "lines": [{"sku": "tea", "quantity": 2}],
    });
    let [placing, showing] = &lines[..] else { panic!("{lines:?}") };
    if has_curl() {
        for line in [placing, showing] {
            let answer: Value = serde_json::from_str(&shell(line, shop.directory.path())).unwrap();
            assert_eq!(answer, order, "{line}");
        }
    }
    // The same order again is the same order.
    assert_eq!((by_hand(placing), by_hand(showing)), ((201, order.clone()), (200, order)));
}

/// The scripts under a heading of the README.
fn scripts(heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) = readme.split_once(&format!("## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_lines_of_its_page_do_what_they_are_said_to_do() {
    let mut shop = Serving::start();
    let address = words(&shop.suggested()[1])[1].strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    // They name paths from where the project is, and are meant for the directory that the shop was started in.
    let here = shop.directory.path();
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), here.join("examples")).unwrap();
    let scripts = scripts("Trying it");
    let [order, quote, import] = &scripts[..] else { panic!("not three scripts: {scripts:#?}") };
    if !has_curl() {
        return;
    }
    let run = |script: &str| shell(&script.replace("localhost:3000", &address), here);
    let values = |text: &str| Deserializer::from_str(text).into_iter::<Value>().map(Result::unwrap).collect::<Vec<_>>();

    let answers = values(&run(order));
    let told: Vec<_> = answers.iter().map(|order| (order["id"].as_str(), order["status"].as_str())).collect();
    assert_eq!(told, [(Some("1002"), Some("placed")), (Some("1002"), Some("paid"))]);

    assert_eq!(values(&run(quote)), [json!({"total_cents": 900, "price": "listed"})]);
    let ask = quote.lines().next().unwrap();
    assert_eq!(values(&run(ask)), [json!({"total_cents": 800, "price": "today"})], "the second line has set the price");

    let events = run(import);
    let told = |word: &str| events.lines().filter(|line| line.contains(&format!("\"{word}\""))).count();
    assert_eq!(told("accepted") + told("refused"), 100, "{events}");
    assert!(told("accepted") > 90, "{events}");
}

/// Loads the shipped orders; gives what was printed and how many mails there are by then.
fn load(directory: &Path) -> (Vec<String>, String, usize) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_shop")).args(["load", ORDERS]).current_dir(directory).output().unwrap();
    let (printed, said) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{said}");
    (printed.lines().map(str::to_owned).collect(), said, fs::read_dir(directory.join("spool")).unwrap().count())
}

#[test]
fn the_shipped_orders_load_and_loading_them_again_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(fs::read_to_string(PathBuf::from(ORDERS)).unwrap().lines().count(), 200);
    for round in 0..2 {
        let (printed, said, mails) = load(directory.path());
        assert!(printed[0].starts_with("190 accepted, 10 refused; "), "{printed:?}");
        assert_eq!(printed[1..], ["     8 invalid", "     2 out_of_stock", "dead letters: 0"]);
        assert_eq!(
            said.lines().filter(|line| line.starts_with("line ")).count(),
            10,
            "each refusal has its line: {said}"
        );
        assert_eq!(mails, 190, "one for each order, in round {round}");
    }
}
