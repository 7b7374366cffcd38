//! What a request is read from: path, query and body, as what the message's fields are; and what is told of one that cannot
//! be read.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::{any, get as on_get, post};
use cqrs::axum::{command, query};
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

use crate::client::{Answer, empty, get, json};
use crate::support::Harness;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sku(String);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    sku: Sku,
    quantity: u32,
}

/// One field of each kind; the handler answers with what it got.
#[derive(Debug, Query, Serialize, Deserialize)]
#[query(response = Everything)]
struct Everything {
    id: u64,
    #[serde(default)]
    delta: i8,
    #[serde(default)]
    weight: f64,
    #[serde(default)]
    fragile: bool,
    initial: Option<char>,
    colour: Option<Colour>,
    sku: Option<Sku>,
    limit: Option<u32>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    pages: Vec<u16>,
    #[serde(default)]
    lines: Vec<Line>,
}

#[query_handler]
async fn everything(q: Everything) -> Everything {
    q
}

#[derive(Command, Deserialize)]
#[command(response = String)]
struct Pay(String);

#[command_handler]
async fn pay(cmd: Pay) -> String {
    cmd.0
}

#[derive(Command, Deserialize)]
#[command(response = String)]
#[serde(deny_unknown_fields)]
struct Strict {
    id: u8,
    #[serde(default)]
    note: String,
}

#[command_handler]
async fn strict(cmd: Strict) -> String {
    format!("{} {}", cmd.id, cmd.note)
}

#[derive(Command, Deserialize)]
#[command(response = u8)]
struct Ping;

#[command_handler]
async fn ping(_cmd: Ping) -> u8 {
    1
}

fn routes() -> Router<App> {
    Router::new()
        .route("/all", any(query::<Everything>()))
        .route("/all/{id}", any(query::<Everything>()))
        .route("/pay/{order}", any(command::<Pay>()))
        .route("/both/{one}/{two}", on_get(command::<Pay>()))
        .route("/strict", any(command::<Strict>()))
        .route("/strict/{id}", any(command::<Strict>()))
        .route("/ping", post(command::<Ping>()))
        .fallback(query::<Everything>())
}

async fn asked(request: Request<Body>) -> Answer {
    Harness::start().await.ask(routes(), request).await
}

/// An answer of 200, as JSON.
async fn fine(request: Request<Body>) -> serde_json::Value {
    let answer = asked(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

/// An answer of 422: its field, and what is told of it.
async fn misfit(request: Request<Body>) -> (String, String) {
    let answer = asked(request).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    let problem = answer.problem();
    (problem["field"].as_str().unwrap_or_default().to_owned(), answer.detail())
}

#[tokio::test]
async fn get_reads_path_and_query_into_typed_fields() {
    let uri = "/all/18446744073709551615?delta=-5&weight=1.5&fragile=true&initial=%C3%A9&colour=green&sku=te%20a%2Bb+c&\
               tags=x&tags=y%26z&pages=1&pages=65535&unknown=1";
    let all = fine(get(uri)).await;
    assert_eq!(all["id"], u64::MAX);
    assert_eq!((&all["delta"], &all["weight"], &all["fragile"]), (&(-5).into(), &1.5.into(), &true.into()));
    assert_eq!((&all["initial"], &all["colour"], &all["sku"]), (&"é".into(), &"green".into(), &"te a+b c".into()));
    assert_eq!(all["tags"], serde_json::json!(["x", "y&z"]));
    assert_eq!(all["pages"], serde_json::json!([1, 65535]));
    assert_eq!(all["limit"], serde_json::Value::Null);
}

#[tokio::test]
async fn one_value_is_a_list_of_one_and_an_empty_number_is_none() {
    let all = fine(get("/all?id=1&tags=only&limit=")).await;
    assert_eq!((&all["tags"], &all["limit"]), (&serde_json::json!(["only"]), &serde_json::Value::Null));
}

#[tokio::test]
async fn the_path_wins_over_the_query() {
    assert_eq!(fine(get("/all/7?id=8&id=9&delta=1")).await["id"], 7);
}

#[tokio::test]
async fn every_method_with_a_body_reads_json_and_the_path_wins() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let body =
            r#"{"lines": [{"sku": "tea", "quantity": 2}], "id": {"not": "read"}, "weight": 2.5, "initial": "x"}"#;
        let all = fine(json(method, "/all/7?delta=3", body)).await;
        assert_eq!((&all["id"], &all["weight"], &all["delta"]), (&7.into(), &2.5.into(), &0.into()), "{method}");
        assert_eq!(all["lines"], serde_json::json!([{"sku": "tea", "quantity": 2}]));
    }
    assert_eq!(fine(json("POST", "/all", r#"{"id": 3, "tags": ["a"]}"#)).await["id"], 3);
}

#[tokio::test]
async fn a_delete_without_a_body_reads_path_and_query() {
    assert_eq!(fine(empty("DELETE", "/all/7?delta=3")).await["delta"], 3);
}

/// Another site may send a browser here with any query it likes, but not with a JSON body.
#[tokio::test]
async fn a_post_without_a_body_reads_the_path_alone() {
    for method in ["POST", "PUT", "PATCH"] {
        let all = fine(empty(method, "/all/7?delta=3")).await;
        assert_eq!((&all["id"], &all["delta"]), (&7.into(), &0.into()), "{method}");
        let (_, detail) = misfit(empty(method, "/all?id=1")).await;
        assert_eq!(detail, "missing field `id`");
    }
}

#[tokio::test]
async fn a_newtype_takes_the_one_parameter() {
    assert_eq!(fine(empty("POST", "/pay/17")).await, "17");
    assert_eq!(fine(get("/pay/a%2Fb")).await, "a/b");
    let (_, detail) = misfit(get("/both/1/2")).await;
    assert_eq!(detail, "invalid length 2, expected one parameter");
}

#[tokio::test]
async fn a_message_without_fields_needs_no_body() {
    assert_eq!(fine(empty("POST", "/ping")).await, 1);
    assert_eq!(fine(json("POST", "/ping", "null")).await, 1);
}

#[tokio::test]
async fn a_head_reads_what_a_get_does() {
    let answer = asked(empty("HEAD", "/all/7")).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn mounted_without_a_path_it_reads_the_query() {
    assert_eq!(fine(get("/nowhere?id=4")).await["id"], 4);
}

#[tokio::test]
async fn unknown_fields_are_as_the_type_says() {
    assert_eq!(fine(json("POST", "/all", r#"{"id": 1, "other": [1, {}]}"#)).await["id"], 1);
    for request in [
        get("/strict?id=1&other=2"),
        json("POST", "/strict", r#"{"id": 1, "other": 2}"#),
        json("POST", "/strict/1", r#"{"other": 2}"#),
    ] {
        let (_, detail) = misfit(request).await;
        assert!(detail.ends_with("unknown field `other`, expected `id` or `note`"), "{detail}");
    }
}

#[tokio::test]
async fn invalid_json_is_400_with_line_and_column() {
    for (body, says) in [
        (&b"{\"id\": 1,\n  \"tags\" [1]}"[..], "expected `:` at line 2 column 10"),
        (b"{\"id\": 1, ", "EOF while parsing a value at line 1 column 10"),
        (b"{\"id\": 1} {}", "trailing characters at line 1 column 11"),
        (b"{\"id\": 1, \"tags\": [\"\xff\"]}", "invalid unicode code point at line 1 column 21"),
        (b"\xef\xbb\xbf{}", "expected value at line 1 column 1"),
        (b"hello", "expected value at line 1 column 1"),
    ] {
        for uri in ["/all", "/all/5"] {
            let answer = asked(json("POST", uri, body)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
            assert_eq!(answer.detail(), format!("the body is not valid JSON: {says}"), "{}", body.escape_ascii());
        }
    }
    let deep = format!(r#"{{"id": 1, "other": {}"#, "[".repeat(100_000));
    assert_eq!(asked(json("POST", "/all", deep)).await.status, StatusCode::BAD_REQUEST, "no stack is overrun");
}

#[tokio::test]
async fn a_wrong_type_is_422_and_names_the_field() {
    let lines = r#"{"id": 1, "lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": "many"}]}"#;
    for uri in ["/all", "/all/5"] {
        let (field, detail) = misfit(json("POST", uri, lines)).await;
        assert_eq!(field, "lines[1].quantity");
        assert_eq!(detail, "`lines[1].quantity`: invalid type: string \"many\", expected u32");
    }
    for (request, expected, says) in [
        (json("POST", "/all", r#"{"id": -1}"#), "id", "invalid value: integer `-1`, expected u64"),
        (json("POST", "/all/x", r#"{"tags": []}"#), "id", "invalid digit found in string"),
        (json("POST", "/strict/256", "{}"), "id", "number too large to fit in target type"),
        (get("/all/x"), "id", "invalid digit found in string"),
        (get("/all?id=1&limit=ten"), "limit", "invalid digit found in string"),
        (
            get("/all?id=1&fragile=maybe"),
            "fragile",
            "invalid value: string \"maybe\", expected \"true\", \"on\" or \"false\"",
        ),
        (get("/all?id=1&colour=blue"), "colour", "unknown variant `blue`, expected `red` or `green`"),
        (get("/all?id=1&pages=1&pages=x"), "pages[1]", "invalid digit found in string"),
        (get("/all?id=1&id=2"), "id", "unsupported value"),
    ] {
        let (field, detail) = misfit(request).await;
        assert_eq!((field.as_str(), detail), (expected, format!("`{expected}`: {says}")));
    }
    for body in ["[1, 2]", "\"text\"", "7", "null"] {
        let (_, detail) = misfit(json("POST", "/all/5", body)).await;
        assert!(detail.starts_with("invalid type: ") && detail.contains("Everything"), "{detail}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    for request in [get("/all?tags=1"), json("POST", "/all", "{}"), empty("DELETE", "/all"), get("/strict")] {
        assert_eq!(misfit(request).await.1, "missing field `id`");
    }
    assert_eq!(
        misfit(json("POST", "/all/5", r#"{"lines": [{"sku": "a"}]}"#)).await.1,
        "`lines[0]`: missing field `quantity`"
    );
}

#[tokio::test]
async fn a_path_that_is_no_text_is_400() {
    let answer = asked(get("/all/%ff")).await;
    assert_eq!((answer.status, answer.detail()), (StatusCode::BAD_REQUEST, "Invalid UTF-8 in `id`".to_owned()));
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let with = |value: &'static str| {
        Request::post("/all").header("content-type", value).body(Body::from(r#"{"id": 1}"#)).unwrap()
    };
    for fine_type in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        assert_eq!(fine(with(fine_type)).await["id"], 1, "{fine_type}");
    }
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/+json", "json", "", "\t"]
    {
        let answer = asked(with(wrong)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong}");
        assert!(answer.detail().contains("application/json"));
    }
    let without = Request::post("/all").body(Body::from(r#"{"id": 1}"#)).unwrap();
    assert_eq!(asked(without).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // What a form sends from another site, though it has no field.
    let form = Request::post("/pay/5").header("content-type", "application/x-www-form-urlencoded").body(Body::empty());
    assert_eq!(asked(form.unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
