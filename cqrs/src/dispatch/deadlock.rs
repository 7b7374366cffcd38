//! Notices a call that would wait for the transaction its own caller holds.
//!
//! A thread-local says whether a handler that holds a transaction is being polled on this thread right now. It does not
//! see a task the handler spawned: there the pool's and the database's timeouts are the backstop.

use std::cell::Cell;

thread_local! {
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a separate transaction may begin here.
pub(crate) fn check() -> Result<(), ()> {
    if HOLDS.get() { Err(()) } else { Ok(()) }
}

/// Notes that the handler being polled has begun a transaction.
pub(crate) fn hold() {
    HOLDS.set(true);
}

/// Runs one poll of a handler that holds a transaction or not; gives whether it holds one afterwards.
pub(crate) fn polling<R>(holds: bool, poll: impl FnOnce() -> R) -> (R, bool) {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            HOLDS.set(self.0);
        }
    }
    let before = HOLDS.get();
    let _restore = Restore(before);
    // A handler without a transaction that runs inside one that holds: still inside.
    HOLDS.set(holds || before);
    let result = poll();
    (result, HOLDS.get())
}
