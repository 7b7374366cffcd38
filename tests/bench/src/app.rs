//! The one app of this program: everything linked, on a fresh SQLite file; nothing stored is run.

use std::sync::Arc;

use cqrs::App;
use cqrs::prelude::*;
use tempfile::TempDir;

use crate::dispatch::{Atomic, Counter};

const MIDDLEWARES: [&str; 3] = ["first", "second", "third"];

/// An app with the first so many of the middlewares. Lives as long as its directory.
pub(crate) async fn app(middlewares: usize) -> (App, TempDir) {
    match try_app(middlewares).await {
        Ok(app) => app,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

async fn try_app(middlewares: usize) -> Result<(App, TempDir), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}", directory.path().join("bench.db").display());
    let app = cqrs::bootstrap!()
        .retain_middlewares(|name| MIDDLEWARES[..middlewares].contains(&name))
        .provide_arc::<dyn Counter>(Arc::new(Atomic::default()))
        .store(Store::url(url))
        .broker(Broker::url("memory:"))
        .await?;
    Ok((app, directory))
}
