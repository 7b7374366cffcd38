//! From a request to a message, and to what the call's `Meta` takes over.

use std::time::Duration;

use ::axum::body::{Body, Bytes, HttpBody};
use ::axum::extract::rejection::RawPathParamsRejection;
use ::axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, RawPathParams, Request};
use ::axum::http::header::CONTENT_TYPE;
use ::axum::http::request::Parts;
use ::axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{ProblemDetails, body, parameters, trace};
use crate::App;

/// What an endpoint takes from a request, and how much of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Intake {
    headers: Vec<HeaderName>,
    pub(super) body_limit: Option<usize>,
    pub(super) timeout: Option<Duration>,
}

/// What was taken.
#[derive(Debug)]
pub(super) struct Taken<M> {
    pub(super) message: M,
    /// Headers for the call's `Meta`.
    pub(super) headers: Vec<(String, String)>,
}

impl Intake {
    /// Adds the names of headers to copy.
    ///
    /// # Panics
    /// Panics where a name is none.
    #[track_caller]
    #[expect(clippy::panic, reason = "routes are made at the start; axum panics at wrong ones too")]
    pub(super) fn copy_headers<N: AsRef<str>>(&mut self, names: impl IntoIterator<Item = N>) {
        for name in names {
            let name = name.as_ref();
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                panic!("`{}` is not the name of an HTTP header", name.escape_default());
            };
            self.headers.push(header);
        }
    }

    /// Reads the message of a request.
    ///
    /// # Errors
    /// Fails with what the client is to be told.
    pub(super) async fn take<M: DeserializeOwned>(
        &self,
        app: &App,
        request: Request,
    ) -> Result<Taken<M>, ProblemDetails> {
        let (mut parts, body) = request.into_parts();
        let path = path_parameters(&mut parts).await?;
        let headers = self.copied(&parts.headers);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let message = if parts.method == Method::GET || parts.method == Method::HEAD {
            parameters::read(&path, &query)?
        } else {
            refuse_other_types(&parts.headers)?;
            let limit = self.body_limit.unwrap_or_else(|| app.options().payload_limit);
            let is_delete = parts.method == Method::DELETE;
            let has_type = parts.headers.contains_key(CONTENT_TYPE);
            let bytes = read_body(Request::from_parts(parts, body), limit).await?;
            match bytes.is_empty() {
                false if !has_type => return Err(not_json()),
                false => body::read(&path, &bytes)?,
                true if is_delete => parameters::read(&path, &query)?,
                true => parameters::read(&path, "")?,
            }
        };
        Ok(Taken { message, headers })
    }

    /// The headers that the call's `Meta` takes over, by their lower-case names; one that is there more than once is one
    /// list, as the standard has it. What is not UTF-8 is left out.
    fn copied(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let trace = trace::parent(headers).map(|parent| (trace::HEADER.to_owned(), parent.to_owned()));
        let copied = self.headers.iter().filter_map(|name| {
            let values = headers.get_all(name).iter().map(|value| std::str::from_utf8(value.as_bytes()).ok());
            let values: Vec<&str> = values.collect::<Option<_>>()?;
            (!values.is_empty()).then(|| (name.as_str().to_owned(), values.join(", ")))
        });
        trace.into_iter().chain(copied).collect()
    }
}

async fn path_parameters(parts: &mut Parts) -> Result<Vec<(String, String)>, ProblemDetails> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        // Mounted where there is no path to match, as a fallback.
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(Vec::new()),
        Err(rejection) => Err(ProblemDetails::new(rejection.status()).detail(rejection.body_text())),
    }
}

/// A content type that is not JSON is refused before the body is read. It is what makes a browser ask first before it
/// sends a body from another site.
fn refuse_other_types(headers: &HeaderMap) -> Result<(), ProblemDetails> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let is_json = essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || (subtype.len() > 5 && subtype.ends_with("+json")));
    if is_json { Ok(()) } else { Err(not_json()) }
}

fn not_json() -> ProblemDetails {
    ProblemDetails::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .detail("the body must be JSON, with the content type `application/json`")
}

/// Reads the body; what announces more than the limit is not read at all.
async fn read_body(mut request: Request<Body>, limit: usize) -> Result<Bytes, ProblemDetails> {
    let too_large = || {
        ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE)
            .detail(format!("the body is over the limit of {limit} bytes"))
    };
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    DefaultBodyLimit::max(limit).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => ProblemDetails::new(status).detail("the body could not be read to its end"),
    })
}
