//! What a client is told of an error: the trait of the user's errors, and the document it becomes.

use std::borrow::Cow;
use std::fmt;

use ::axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

/// An error that says how a client is told of it.
///
/// Made by `#[derive(Problem)]`; by hand where the answer has more to it than a status, a title and a type. An error without
/// it is a 500 without its text. What a message's `error` says is asked wherever the trait is implemented; what a middleware,
/// a provider or an inline event handler failed with is recognised where the trait was derived, or where the error is a
/// [`ProblemDetails`] itself.
///
/// ```
/// use axum::http::StatusCode;
/// use cqrs::Problem;
/// use cqrs::axum::ProblemDetails;
///
/// #[derive(Debug)]
/// struct OutOfStock { sku: String, left: u32 }
///
/// impl std::fmt::Display for OutOfStock {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "only {} of `{}` are left", self.left, self.sku)
///     }
/// }
///
/// impl Problem for OutOfStock {
///     fn problem(&self) -> Option<ProblemDetails> {
///         Some(ProblemDetails::new(StatusCode::CONFLICT).detail(self.to_string()).extension("left", self.left))
///     }
/// }
/// # let told = OutOfStock { sku: "tea".into(), left: 1 }.problem().unwrap();
/// # assert_eq!(told.to_string(), "409 Conflict: only 1 of `tea` are left");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a client is told of it",
    label = "no `cqrs::Problem`",
    note = "consider annotating `{Self}` with `#[derive(cqrs::Problem)]`"
)]
pub trait Problem: fmt::Display {
    /// What a client is told; `None` for what is none of its business: a 500 without the error's text.
    fn problem(&self) -> Option<ProblemDetails>;
}

#[diagnostic::do_not_recommend]
impl<P: Problem + ?Sized> Problem for Box<P> {
    fn problem(&self) -> Option<ProblemDetails> {
        (**self).problem()
    }
}

/// A problem document, RFC 9457: the body of an answer with the content type `application/problem+json`.
///
/// It is an error itself: a middleware may reject a call with it, and a provider or an inline event handler may fail with
/// it. The client is then told just that.
///
/// ```
/// use axum::http::StatusCode;
/// use cqrs::axum::ProblemDetails;
///
/// let problem = ProblemDetails::new(StatusCode::TOO_MANY_REQUESTS).detail("at most 10 orders a minute");
/// assert_eq!(
///     serde_json::to_string(&problem).unwrap(),
///     r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"at most 10 orders a minute"}"#
/// );
/// ```
#[derive(Debug, Clone)]
pub struct ProblemDetails(Box<Document>);

/// Behind a pointer, since it is the error of many a `Result`.
#[derive(Debug, Clone, Default)]
struct Document {
    status: StatusCode,
    type_uri: Option<Cow<'static, str>>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    instance: Option<String>,
    extensions: Map<String, Value>,
    headers: HeaderMap,
}

/// The members that the standard names; an extension cannot take their place.
const STANDARD: [&str; 5] = ["type", "title", "status", "detail", "instance"];

impl ProblemDetails {
    /// A problem with a status, whose usual phrase is the title. A status that is no error (below 400) becomes 500.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let is_error = status.is_client_error() || status.is_server_error();
        let status = if is_error { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self(Box::new(Document { status, ..Document::default() }))
    }

    /// The URI that names the kind of problem; `about:blank` unless said otherwise.
    #[must_use]
    pub fn type_uri(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.type_uri = Some(uri.into());
        self
    }

    /// What kind of problem it is, in words that are the same each time.
    #[must_use]
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.0.title = Some(title.into());
        self
    }

    /// What is wrong this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The URI of this one occurrence.
    #[must_use]
    pub fn instance(mut self, uri: impl Into<String>) -> Self {
        self.0.instance = Some(uri.into());
        self
    }

    /// A member of the user's own. Those that the standard names cannot be replaced.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.extensions.insert(name.into(), value.into());
        self
    }

    /// A header of the answer, such as `WWW-Authenticate`. Server-sent events carry none.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Tells the client when to try again.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Gives this occurrence a name of its own, by which it is found in the log.
    pub(super) fn named(mut self) -> Self {
        self.0.instance.get_or_insert_with(|| format!("urn:uuid:{}", Uuid::now_v7()));
        self
    }

    pub(super) fn name(&self) -> &str {
        self.0.instance.as_deref().unwrap_or_default()
    }

    fn title_text(&self) -> &str {
        self.0.title.as_deref().or_else(|| self.0.status.canonical_reason()).unwrap_or("Error")
    }
}

impl Serialize for ProblemDetails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.0.type_uri.as_deref().unwrap_or("about:blank"))?;
        map.serialize_entry("title", self.title_text())?;
        map.serialize_entry("status", &self.0.status.as_u16())?;
        if let Some(detail) = &self.0.detail {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(instance) = &self.0.instance {
            map.serialize_entry("instance", instance)?;
        }
        for (name, value) in self.0.extensions.iter().filter(|(name, _)| !STANDARD.contains(&name.as_str())) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        // Texts, numbers and JSON values: writing them cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.0.status, self.0.headers, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl fmt::Display for ProblemDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.title_text())?;
        self.0.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl std::error::Error for ProblemDetails {}
