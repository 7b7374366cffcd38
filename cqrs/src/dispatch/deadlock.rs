//! Notices a call that would wait for the transaction its own caller holds.
//!
//! A thread-local says whether a handler that holds a transaction is being polled on this thread right now. It does not
//! see a task the handler spawned: there the pool's and the database's timeouts are the backstop.

use std::cell::Cell;
use std::future::Future;

thread_local! {
    /// Whether the handler being polled holds a transaction, or one that it runs inside of.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
    /// Whether the handler being polled holds one itself.
    static OWNS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a separate transaction may begin here.
pub(crate) fn check() -> Result<(), ()> {
    if HOLDS.get() { Err(()) } else { Ok(()) }
}

/// Whether the handler being polled holds a transaction of its own.
pub(crate) fn owns() -> bool {
    OWNS.get()
}

/// Notes that the handler being polled has begun a transaction.
pub(crate) fn hold() {
    HOLDS.set(true);
    OWNS.set(true);
}

/// Notes that the transaction of the handler being polled is gone: another may begin.
pub(crate) fn let_go() {
    HOLDS.set(false);
    OWNS.set(false);
}

/// Puts back what was so before, in a panic too.
struct Restore(bool, bool);

impl Restore {
    fn later() -> Self {
        Self(HOLDS.get(), OWNS.get())
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        HOLDS.set(self.0);
        OWNS.set(self.1);
    }
}

/// Runs one poll of a handler that holds a transaction or not; gives whether it holds one afterwards.
pub(crate) fn polling<R>(holds: bool, poll: impl FnOnce() -> R) -> (R, bool) {
    let before = Restore::later();
    // A handler without a transaction that runs inside one that holds: still inside.
    HOLDS.set(holds || before.0);
    OWNS.set(holds);
    let result = poll();
    (result, OWNS.get())
}

/// Waits for something while the handler's transaction is not open: what runs meanwhile may begin one.
pub(crate) async fn released<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _before = Restore::later();
        HOLDS.set(false);
        OWNS.set(false);
        future.as_mut().poll(cx)
    })
    .await
}
