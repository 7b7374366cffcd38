//! The list of the cases, each with its promise: the only one there is.

use super::{Bench, Case, outbox, work};

/// Hands the list of cases to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ($then:path, $($with:tt)*) => {
        $then! { [$($with)*]
            outbox::a_row_comes_back_as_it_was_stored =>
                "what `store` was given is what `claim_outbox` gives",
            outbox::rows_come_oldest_first_and_once =>
                "`claim_outbox` gives rows oldest first, up to the limit, and none twice",
            outbox::a_claim_holds_a_prefix_of_each_key =>
                "of one key within its topic `claim_outbox` gives rows in order, and none while an earlier one is claimed",
            outbox::a_row_that_waits_holds_back_its_key_only =>
                "a row that waits for its retry holds back the later ones of its key, and no others",
            outbox::a_row_that_is_due_again_comes_first_whatever_the_limit =>
                "a row that is due again comes before the later ones of its key",
            outbox::a_dead_row_holds_back_its_key =>
                "a dead row holds back the later ones of its key, and none of those is due",
            outbox::rows_handed_back_were_not_attempted =>
                "a row that is handed back goes back as it was, its attempts not counted",
            outbox::a_stalled_owner_settles_nothing =>
                "whoever comes back after its lease, and after another owner, neither settles nor renews",
            outbox::a_renewed_lease_lasts =>
                "`renew_outbox` gives the claims that are still held, and nobody is given those until their leases end",
            outbox::what_a_dead_process_held_is_taken_up =>
                "rows whose lease has run out go to whoever asks, within ten seconds of the claim",
            outbox::what_an_owner_hands_back_is_given_again =>
                "`release` hands back what an owner holds, not attempted, and what others hold stays theirs",
            outbox::a_claim_ends_once =>
                "a claim that was settled settles nothing more",
            outbox::thousands_are_stored_claimed_renewed_and_settled =>
                "thousands of rows go in one call",
            outbox::instances_never_share_a_row =>
                "several instances publish every row once, those of a key in order",
            outbox::what_is_behind_a_dead_row_comes_when_that_is_gone =>
                "what a dead row held back comes in order when that is replayed or discarded",
            work::a_lane_gives_one_at_a_time_in_order =>
                "of one lane `claim_work` gives only the oldest row, and none while that is claimed or waits",
            work::a_stalled_owner_ends_nothing =>
                "whoever comes back after its lease, and after another owner, ends nothing; a lost claim is an attempt",
        }
    };
}

macro_rules! table {
    ([] $($area:ident::$case:ident => $promise:literal,)*) => {
        /// Every case of the suite.
        pub fn cases() -> &'static [Case] {
            const CASES: &[Case] = &[$(
                Case::new(concat!(stringify!($area), "::", stringify!($case)), $promise, |fixture| {
                    Box::pin(async move {
                        $area::$case(Bench::open(fixture.clone()).await).await;
                        fixture.remove().await;
                    })
                }),
            )*];
            CASES
        }
    };
}

crate::__store_cases! { table, }

/// Makes a test of each case of the [suite for stores](crate::testing::conformance::store): give it how to make a
/// [`StoreFixture`](crate::testing::conformance::store::StoreFixture); it may `.await`.
///
/// ```
/// # mod place {
/// # use cqrs::store::driver::BoxFuture;
/// # pub struct Mine;
/// # impl cqrs::testing::conformance::store::StoreFixture for Mine {
/// #     fn store(&self) -> BoxFuture<'_, Result<cqrs::Store, cqrs::BoxError>> {
/// #         Box::pin(async { Ok(cqrs::Store::url("sqlite://mine.db")) })
/// #     }
/// # }
/// # }
/// #[cfg(test)]
/// mod conformance {
///     cqrs::testing::store_conformance!(crate::place::Mine);
/// }
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($fixture:expr) => {
        $crate::__store_cases! { $crate::__store_tests, $fixture }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    ([$fixture:expr] $($area:ident::$case:ident => $promise:literal,)*) => {
        $(
            #[test]
            fn $case() {
                let name = concat!(stringify!($area), "::", stringify!($case));
                $crate::testing::conformance::store::run(name, async { $fixture });
            }
        )*
    };
}
