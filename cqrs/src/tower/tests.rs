//! What a layer costs calls that it is not around.

use tower::layer::util::Identity;

use super::around;
use crate::Builder;
use crate::middleware::CallKind;

#[tokio::test]
async fn calls_of_other_kinds_have_nothing_around_them() {
    let layer = || around([CallKind::Command, CallKind::Step], Identity::new());
    // The store is for the sagas of other tests.
    let app = Builder::linked(&[])
        .store(crate::Store::url("memory:"))
        .layer(layer())
        .layer(layer())
        .await
        .expect("it starts");
    let bare: Vec<_> = CallKind::ALL.into_iter().filter(|kind| app.plan().middleware(*kind).is_empty()).collect();
    assert_eq!(bare, [CallKind::Query, CallKind::Stream, CallKind::Event]);
}
