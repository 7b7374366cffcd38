//! Stores that store nothing, for tests of what is around one.

/// The methods of a store's driver that move or look at what is stored: nobody calls them where nothing is.
#[macro_export]
macro_rules! nothing_is_stored {
    () => {
        fn migrate(&self) -> cqrs::store::driver::BoxFuture<'_, Result<(), cqrs::StoreError>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn release(&self, _owner: &str) -> cqrs::store::driver::BoxFuture<'_, Result<(), cqrs::StoreError>> {
            Box::pin(std::future::ready(Ok(())))
        }

        $crate::never_called! {
            claim_outbox(request: cqrs::store::driver::ClaimRequest<'_>) -> Vec<cqrs::store::ClaimedOutbox>;
            settle_outbox(outcomes: Vec<(cqrs::store::Claim, cqrs::store::OutboxOutcome)>) -> u64;
            renew_outbox(claims: Vec<cqrs::store::Claim>, until: std::time::SystemTime) -> Vec<cqrs::store::Claim>;
            claim_work(shares: &[cqrs::store::driver::WorkShare<'_>], request: cqrs::store::driver::ClaimRequest<'_>) -> Vec<cqrs::store::ClaimedWork>;
            renew_work(claims: Vec<cqrs::store::Claim>, until: std::time::SystemTime) -> Vec<cqrs::store::Claim>;
            retry_work(claim: cqrs::store::Claim, due: std::time::SystemTime, error: &str) -> bool;
            bury_work(claim: cqrs::store::Claim, error: &str, skip: bool) -> bool;
            defer_work(claim: cqrs::store::Claim, now: std::time::SystemTime, due: std::time::SystemTime, error: &str) -> bool;
            next_outbox_due() -> Option<std::time::SystemTime>;
            next_work_due(queues: &[cqrs::store::WorkQueue]) -> Option<std::time::SystemTime>;
            work_by_queue(lease_now: std::time::SystemTime) -> Vec<(cqrs::store::WorkQueue, u64)>;
            standing(mark: &cqrs::store::InboxMark, lane: Option<&str>) -> cqrs::store::Standing;
            cancel_timer(name: &str, key: &str) -> bool;
            timers(limit: usize) -> Vec<cqrs::store::TimerRecord>;
            dead_letters(limit: usize) -> Vec<cqrs::store::DeadLetter>;
            replay(id: cqrs::store::DeadLetterId, now: std::time::SystemTime) -> bool;
            discard(id: cqrs::store::DeadLetterId) -> bool;
            counts() -> cqrs::store::Counts;
            purge_inbox(before: std::time::SystemTime) -> u64;
            claim_idempotent(request: cqrs::store::driver::IdempotentRequest) -> cqrs::store::IdempotentOutcome;
            renew_idempotent(claim: cqrs::store::IdempotentClaim, until: std::time::SystemTime) -> bool;
            free_idempotent(claim: cqrs::store::IdempotentClaim) -> bool;
            purge_idempotent(done: std::time::SystemTime, lease: std::time::SystemTime) -> u64;
            free_stranded() -> u64;
        }
    };
}

/// Methods of a driver that fail the test when they are called.
#[macro_export]
macro_rules! never_called {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(
            &self $(, $argument: $kind)*
        ) -> cqrs::store::driver::BoxFuture<'_, Result<$answer, cqrs::StoreError>> {
            $(let _ = $argument;)*
            unreachable!("nothing is stored")
        }
    )*};
}
