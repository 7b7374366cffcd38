//! The list of the cases, each with its promise: the only one there is.

use super::{Bench, Case, dead, idempotent, inbox, operations, outbox, sagas, texts, timers, unit, upkeep, work};

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
            outbox::a_backlog_that_is_held_back_hides_nothing =>
                "rows behind one that waits or is under way, however many, keep no claim from the rows of other keys",
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
            outbox::what_is_published_and_kept_is_out_of_the_way_until_it_is_purged =>
                "a row that is published and kept is in nobody's way, and goes with `purge_published`",
            outbox::what_is_behind_a_dead_row_comes_when_that_is_gone =>
                "what a dead row held back comes in order when that is replayed or discarded",
            work::work_comes_back_as_it_was_stored =>
                "what `store` was given is what `claim_work` gives, when it is due",
            work::queues_that_were_not_asked_for_stay =>
                "`claim_work` gives work of the queues that were asked for, and no other",
            work::the_limit_takes_the_oldest_of_all_queues =>
                "`claim_work` gives the oldest work of all its queues, up to the limit",
            work::a_lane_gives_one_at_a_time_in_order =>
                "of one lane `claim_work` gives only the oldest row, and none while that is claimed or waits",
            work::a_lane_does_one_at_a_time_though_an_earlier_row_comes_late =>
                "of one lane nothing is given while something of it is claimed, though an earlier row is committed later",
            work::a_lane_goes_over_queues =>
                "a lane keeps its order whatever queues its work stands in",
            work::later_work_of_a_lane_does_not_pass_earlier_work_that_waits =>
                "work that waits holds back the later work of its lane",
            work::dead_work_holds_its_lane_unless_it_is_skipped =>
                "`bury_work` makes a dead letter, which holds its lane unless `skip_lane`",
            work::a_lane_is_held_by_whatever_stands_in_it =>
                "`lane_is_held` counts work that is there, claimed, waiting or dead",
            work::work_can_be_stored_dead =>
                "work that is stored dead is a dead letter and holds its lane",
            work::a_stalled_owner_ends_nothing =>
                "whoever comes back after its lease, and after another owner, ends nothing; a lost claim is an attempt",
            work::work_of_a_dead_process_is_taken_up =>
                "work whose lease has run out goes to whoever asks, within ten seconds of the claim, in order",
            work::renewed_work_stays_its_owners =>
                "`renew_work` gives the claims that are still held, and nobody is given those until their leases end",
            work::work_ends_once =>
                "a claim that was given up ends nothing more",
            work::a_number_never_comes_back =>
                "no claim ever names two pieces of work",
            work::released_work_was_not_attempted =>
                "`release` hands back what an owner holds, not attempted, and what others hold stays theirs",
            work::finished_work_is_gone_only_with_the_unit =>
                "`finish_work` is undone with its transaction, and the work stays claimed meanwhile",
            work::thousands_of_pieces_are_claimed_and_renewed =>
                "thousands of pieces go in one call",
            work::instances_keep_the_order_of_every_lane =>
                "several instances do every piece once, those of a lane in order",
            work::work_of_a_handler_that_was_not_asked_for_is_nobodys_alarm =>
                "`next_work_due` and the taking back of lost claims leave other queues alone",
            work::work_that_is_put_off_was_not_attempted =>
                "`defer_work` counts no attempt, and remembers the first time until the work is done, tried or replayed",
            work::each_share_has_a_limit_of_its_own =>
                "`claim_work` gives of each share up to its limit, and up to the request's in all",
            work::how_much_there_is_room_for_is_asked_when_there_is_work =>
                "a share's limit is asked for once there is something to claim",
            work::many_rows_of_one_lane_do_not_hide_what_is_behind_them =>
                "work behind others of its lane keeps no claim from reaching what is free",
            work::a_crash_leaves_the_order_as_it_was =>
                "a process that ends in the middle of a unit leaves the order of a lane as it was",
            work::a_letter_in_the_middle_keeps_its_place =>
                "a dead letter keeps its place in its lane when it is replayed, and leaves it when it is discarded",
            unit::everything_commits_together =>
                "what a transaction stores, marks and ends is there with its commit, and not before",
            unit::a_unit_that_does_not_commit_leaves_nothing =>
                "a transaction that is dropped or rolled back leaves nothing",
            unit::units_begin_one_after_another_in_any_number =>
                "however a transaction ends, the next one begins",
            unit::a_transaction_goes_out_and_comes_back =>
                "`adopt` takes what `into_any` gives, and gives back what is none of the store's",
            unit::what_it_lends_to_handlers_is_what_it_says =>
                "a transaction's handle is of the type that the driver names",
            unit::a_savepoint_is_kept_or_undone =>
                "a savepoint's marks, rows and ends are kept with its release and undone with its rollback",
            unit::a_savepoint_is_undone_with_those_within_it =>
                "a savepoint is undone together with what was released within it",
            unit::there_is_no_ending_a_savepoint_that_was_not_begun =>
                "ending a savepoint where there is none is refused, and ends nothing else",
            unit::a_savepoint_given_up_while_it_begins_does_no_harm =>
                "a unit whose savepoint was given up while it began commits all it stored, or nothing",
            unit::a_savepoint_around_one_whose_release_was_given_up_is_undone_with_it =>
                "a savepoint takes along one within it whose release was given up, or the unit fails as a whole",
            unit::a_unit_dropped_within_savepoints_lets_others_write =>
                "a transaction that ends within savepoints keeps nobody from writing",
            inbox::a_message_is_marked_once =>
                "`mark_handled` says of each mark whether it is the first, by group, handler and event",
            inbox::of_two_units_at_once_one_marks_a_message =>
                "of two transactions that mark a message at once one is the first",
            inbox::where_a_message_stands_is_known_without_waiting =>
                "`standing` says what is committed, by mark and by lane, and waits for nobody who writes",
            inbox::thousands_are_marked_and_purged =>
                "`purge_inbox` deletes the marks that are older, and no others",
            sagas::a_saga_is_there_as_it_was_started =>
                "what `start` was given is what `saga` gives",
            sagas::an_id_is_started_once =>
                "of those that start a saga of one id one has started it, and the others are told what there is",
            sagas::a_saga_is_held_by_one =>
                "whoever comes back after its lease, and after another owner, stores nothing of a saga",
            sagas::a_renewed_saga_stays_its_owners =>
                "`renew` gives the sagas that are still held, and nobody is given those until their leases end",
            sagas::a_change_is_stored_as_a_whole =>
                "what `save` was given is what `saga` and `log` give",
            sagas::changes_together_are_as_each_by_itself =>
                "`save_many` stores of each change what `save` stores, or nothing where it gives `None`",
            sagas::a_change_commits_with_its_transaction =>
                "`save_saga` is undone with its transaction, and the saga stays held meanwhile",
            sagas::what_waits_is_due_in_its_time =>
                "sagas that wait are claimed when they are due, those first that are due first; those that ended never",
            sagas::a_claim_takes_those_of_the_names_that_are_meant =>
                "a claim of some names, or of all but some, takes those alone, and `next_due` tells of those alone",
            sagas::what_is_handed_back_is_due_at_once =>
                "`hand_back` lets go what an owner holds, who was not lost, and what others hold stays theirs",
            sagas::what_is_asked_is_heard =>
                "what is asked of a saga its owner hears with the next change, or whoever claims it, until it was heard",
            sagas::what_is_asked_of_a_saga_is_written_down =>
                "`operate` asks something of a saga and writes down who did, or does neither",
            sagas::an_event_wakes_what_waits_for_it =>
                "an event that was kept wakes the sagas that wait for it, and is there for those that wait later",
            sagas::sagas_are_found_page_by_page =>
                "`find` gives sagas by name, phase and place, those last started first, and `in_use` counts versions, phases and steps",
            sagas::what_has_ended_goes_when_it_is_purged =>
                "`purge` deletes sagas that ended before, with their logs, and events that came before",
            timers::the_same_name_and_key_moves_a_timer =>
                "storing a timer of the same name and key moves it, and it keeps its id",
            timers::storing_says_under_which_id_each_record_is_stored =>
                "`store` gives the id under which each record is stored",
            timers::a_timer_stored_twice_in_a_unit_is_one =>
                "a timer that was stored in the same transaction is moved as well",
            timers::of_one_key_the_last_counts_and_none_without_a_key =>
                "of the timers of one key the last one counts; those without a key are never the same",
            timers::a_timer_fires_when_it_is_due =>
                "a timer is given when it is due, and does not wait any more then",
            timers::overdue_timers_are_given_in_the_order_of_their_time =>
                "of timers that are overdue those that were due first are given first, whenever they were stored, and none twice",
            timers::a_timer_that_is_being_done_stays_beside_the_new_one =>
                "a timer that is being done is not moved: what is stored meanwhile is another",
            timers::a_timer_that_waits_for_its_retry_is_moved_too =>
                "a timer that waits for its retry is moved, and begins anew",
            timers::a_dead_timer_stays_a_dead_letter =>
                "a dead timer is neither moved nor cancelled",
            timers::a_timer_is_cancelled_unless_it_is_being_done =>
                "`cancel_timer` deletes the timer of that name and key, unless it is being done",
            timers::a_timer_moves_with_its_unit_only =>
                "a timer moves with the commit, and not before",
            timers::names_and_keys_of_timers_are_told_apart_byte_by_byte =>
                "names and keys of timers are told apart byte by byte",
            dead::both_kinds_are_listed_oldest_first =>
                "`dead_letters` lists both kinds, oldest first, with all that is known of them",
            dead::a_replayed_letter_takes_its_old_place =>
                "`replay` makes a dead letter due again in its place, its attempts forgotten",
            dead::a_discarded_letter_lets_the_later_ones_through =>
                "`discard` deletes a dead letter, and what it held back goes on",
            dead::what_is_not_dead_is_neither_replayed_nor_discarded =>
                "`replay` and `discard` touch nothing but dead letters",
            texts::keys_and_names_with_a_nul_come_back_as_they_were =>
                "keys, lanes and names are kept as they are, whatever characters they hold, and told apart",
            texts::lanes_with_a_nul_keep_their_order_and_no_other =>
                "of a key or a lane with a NUL the order is kept as of any other",
            texts::timers_with_a_nul_are_moved_and_cancelled =>
                "timers are found by name and key, whatever characters these hold",
            texts::errors_and_headers_with_a_nul_are_kept =>
                "headers come back as they were; of an error a NUL may come back as U+FFFD",
            texts::operations_with_a_nul_are_done_and_written_down =>
                "what is operated on is found and noted whatever its texts hold; of a name and a note of who did it a NUL \
                 may come back as U+FFFD",
            operations::the_outbox_is_told_by_states =>
                "`outbox_status` counts the rows of each state, and `outbox_rows` lists them",
            operations::rows_of_a_state_are_listed_page_by_page =>
                "`outbox_rows` lists in the order of storing, by topic, behind a row and up to the limit",
            operations::a_row_that_waits_is_due_when_it_is_requeued =>
                "`Requeue` makes a row that waits due in its place, its attempts still counted",
            operations::a_dead_row_is_requeued_as_it_is_replayed =>
                "`Requeue` replays a dead row, and touches none that is claimed",
            operations::dead_letters_are_found_by_all_that_is_said =>
                "`find_dead` finds the dead letters that are all of what a filter says, byte by byte",
            operations::dead_letters_are_found_page_by_page =>
                "`find_dead` goes on behind a letter, and finds each once",
            operations::a_dead_letter_is_shown_whole =>
                "`dead_letter` shows all that is known of a dead letter, and nothing else",
            operations::an_edited_letter_is_replayed_as_it_is_now =>
                "`Edit` gives a dead letter another payload and other headers, and replays it in its place",
            operations::timers_are_found_by_name_and_key =>
                "`find_timers` finds timers that wait, by name and by key, soonest first",
            operations::a_timer_is_moved_by_id_and_by_key =>
                "`Reschedule` moves a timer that is neither being done nor dead, and it keeps its id",
            operations::of_timers_under_one_key_the_last_is_moved =>
                "of several timers under one key `Reschedule` leaves the last one stored",
            operations::a_timer_is_cancelled_by_id_and_by_key =>
                "`Cancel` deletes a timer that is neither being done nor dead",
            operations::a_timer_that_a_unit_moves_is_not_cancelled_halfway =>
                "a timer that is moved and cancelled at once is one timer, or none",
            operations::what_was_done_is_written_down =>
                "`operate` writes down who did what to which row, when, and what was different before",
            operations::what_was_done_is_read_page_by_page_and_forgotten_in_time =>
                "`audit` reads latest first, and `purge_audit` forgets what is older, and nothing else",
            operations::of_two_at_once_one_does_it =>
                "of two operations on one row at once one is done and written down",
            idempotent::a_key_is_claimed_then_running_then_done =>
                "a key is claimed, then running, then done with its response; another payload is told so",
            idempotent::keys_are_told_apart_by_name_and_byte_by_byte =>
                "keys are told apart by name and byte by byte",
            idempotent::a_key_is_taken_over_and_its_first_owner_cannot_end_it =>
                "a key whose lease has run out is taken over, and whoever had it ends, renews and frees nothing",
            idempotent::a_key_is_renewed_for_as_long_as_the_call_runs =>
                "`renew_idempotent` keeps a key for as long as its call runs",
            idempotent::an_owner_that_was_late_and_alone_may_end_its_call =>
                "a lease that has run out without anybody else asking is no reason to refuse the call's end",
            idempotent::a_freed_key_is_as_if_it_had_never_been =>
                "`free_idempotent` frees the key of a call that is not done, and no other",
            idempotent::a_call_whose_unit_did_not_commit_is_not_done =>
                "a call is done with its commit, and until then others are told that it runs, without waiting",
            idempotent::freeing_a_key_waits_for_the_transaction_that_ends_its_call =>
                "`free_idempotent` waits for the transaction that has ended the call, and tells commit from rollback",
            idempotent::a_key_claimed_within_a_transaction_is_taken_by_its_commit =>
                "a key claimed within a transaction is undone with it, and taken with its commit",
            idempotent::a_key_claimed_in_an_open_transaction_is_waited_for =>
                "whoever asks for a key that an open transaction has claimed waits for that one's end",
            idempotent::a_key_that_was_waited_for_is_held_from_when_it_was_given =>
                "the lease of a key that had to be waited for counts from when it was claimed",
            idempotent::a_response_is_kept_as_long_as_asked_whether_it_is_swept_or_not =>
                "a response is given for as long as it is kept, and its key is free after that",
            idempotent::a_sweep_takes_what_nobody_asks_for_any_more =>
                "`purge_idempotent` deletes what was done before, and what was left behind, and nothing else",
            idempotent::of_many_at_once_one_has_the_key =>
                "of many calls at once one claims the key",
            upkeep::a_schema_that_is_up_to_date_stays_as_it_is =>
                "`migrate` may be called again, and by others, and keeps what is there",
            upkeep::everything_is_counted =>
                "`counts` counts everything once, where it belongs",
            upkeep::what_waits_is_counted_by_queue =>
                "`work_by_queue` counts what waits, and what nobody has taken back yet, and no dead letters",
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
