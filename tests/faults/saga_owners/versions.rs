//! Sagas of two versions: of an earlier program, which has the first, and of one that has both. They run side by side, and are killed.
//! Of `sided` each version goes on by itself; the second of `moved` takes over what is stored of the first.

use std::time::Duration;

use cqrs::SagaError;
use cqrs::prelude::*;
use cqrs_tests::services;

use super::ground::{Effect, Ground, RECOVERS, Started, mistake};
use super::program::{EARLIER, LINGERS};
use super::shapes::{Story, Variant, one, to_the_end};
use crate::chaos::Dice;
use crate::world::LOOK;

const SEED: u64 = 0x5eed_0020;
const SAGAS: usize = 60;

/// The sagas that an earlier program has no second version of.
pub const LATER: [&str; 2] = ["moved", "sided"];

/// A step of one version, and its compensation.
macro_rules! stored {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[saga_step(compensate = $undo)]
        async fn $step(cx: &mut $saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note(tx, &format!("{VERSION} {}", stringify!($step)), &key, meta).await?;
            cx.0.tell(stringify!($step))
        }

        #[compensation(retry(max = 3, first = "20ms"))]
        async fn $undo(cx: &mut $saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note(tx, &format!("{VERSION} {}", stringify!($step)), &key, meta).await?;
            cx.0.tell(concat!("undo ", stringify!($step)))
        }
    };
}

/// The same of one that calls somebody.
macro_rules! called {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[saga_step(compensate = $undo)]
        async fn $step(cx: &mut $saga, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note_elsewhere(&format!("{VERSION} {}", stringify!($step)), &key, meta).await?;
            cx.0.tell(stringify!($step))
        }

        #[compensation(retry(max = 3, first = "20ms"))]
        async fn $undo(cx: &mut $saga, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note_elsewhere(&format!("{VERSION} {}", stringify!($step)), &key, meta).await?;
            cx.0.tell(concat!("undo ", stringify!($step)))
        }
    };
}

mod first {
    use cqrs::BoxError;
    use cqrs::prelude::*;
    use cqrs::store::Any;
    use serde::{Deserialize, Serialize};

    use crate::saga_owners::shapes::{Story, note, note_elsewhere};

    const VERSION: u32 = 1;

    #[saga(name = "moved", version = 1, steps = [m_one, m_two, m_call, m_last])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Moved(pub Story);

    stored!(Moved, m_one, m_one_back);
    stored!(Moved, m_two, m_two_back);
    called!(Moved, m_call, m_call_back);
    stored!(Moved, m_last, m_last_back);

    #[saga(name = "sided", version = 1, steps = [s_one, s_call, s_last])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Sided(pub Story);

    stored!(Sided, s_one, s_one_back);
    called!(Sided, s_call, s_call_back);
    stored!(Sided, s_last, s_last_back);
}

mod second {
    use cqrs::BoxError;
    use cqrs::prelude::*;
    use cqrs::store::Any;
    use serde::{Deserialize, Serialize};

    use crate::saga_owners::shapes::{Story, note, note_elsewhere};

    const VERSION: u32 = 2;

    /// With a step before the last one, and a context that the first version cannot read.
    #[saga(name = "moved", version = 2, migrates = super::first::Moved, steps = [m_one, m_two, m_call, m_new, m_last])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Moved(pub Story);

    impl From<super::first::Moved> for Moved {
        fn from(old: super::first::Moved) -> Self {
            Self(old.0)
        }
    }

    stored!(Moved, m_one, m_one_back);
    stored!(Moved, m_two, m_two_back);
    called!(Moved, m_call, m_call_back);
    stored!(Moved, m_new, m_new_back);
    stored!(Moved, m_last, m_last_back);

    #[saga(name = "sided", version = 2, steps = [s_one, s_new, s_last])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Sided(pub Story);

    stored!(Sided, s_one, s_one_back);
    called!(Sided, s_new, s_new_back);
    stored!(Sided, s_last, s_last_back);
}

const MOVED_1: Variant =
    to_the_end("moved_1", &[&["m_one"], &["m_two"], &["m_call"], &["m_last"]], &["m_one", "m_two", "m_call", "m_last"]);

const MOVED_1_BACK: Variant = Variant {
    name: "moved_1_back",
    fails: "m_last",
    phase: "compensated",
    forward: &[&["m_one"], &["m_two"], &["m_call"]],
    back: &["m_call", "m_two", "m_one"],
    told: &["m_one", "m_two", "m_call"],
    ..MOVED_1
};

const MOVED_2: Variant = Variant {
    name: "moved_2",
    forward: &[&["m_one"], &["m_two"], &["m_call"], &["m_new"], &["m_last"]],
    told: &["m_one", "m_two", "m_call", "m_new", "m_last"],
    ..MOVED_1
};

const MOVED_2_BACK: Variant = Variant {
    name: "moved_2_back",
    forward: &[&["m_one"], &["m_two"], &["m_call"], &["m_new"]],
    back: &["m_new", "m_call", "m_two", "m_one"],
    told: &["m_one", "m_two", "m_call", "m_new"],
    ..MOVED_1_BACK
};

const SIDED_1: Variant = to_the_end("sided_1", &[&["s_one"], &["s_call"], &["s_last"]], &["s_one", "s_call", "s_last"]);

const SIDED_1_BACK: Variant = Variant {
    name: "sided_1_back",
    fails: "s_last",
    phase: "compensated",
    forward: &[&["s_one"], &["s_call"]],
    back: &["s_call", "s_one"],
    told: &["s_one", "s_call"],
    ..SIDED_1
};

const SIDED_2: Variant = to_the_end("sided_2", &[&["s_one"], &["s_new"], &["s_last"]], &["s_one", "s_new", "s_last"]);

const OF_EARLIER: [&Variant; 4] = [&MOVED_1, &SIDED_1, &MOVED_1_BACK, &SIDED_1_BACK];
const OF_LATER: [&Variant; 3] = [&MOVED_2, &SIDED_2, &MOVED_2_BACK];

pub const ALL: [&Variant; 7] = [&MOVED_1, &MOVED_1_BACK, &MOVED_2, &MOVED_2_BACK, &SIDED_1, &SIDED_1_BACK, &SIDED_2];

pub async fn start(
    app: &App,
    variant: &Variant,
    story: Story,
    id: &str,
    waits: Option<Duration>,
) -> Result<(), SagaError> {
    match variant.name {
        "moved_1" | "moved_1_back" => one(app.saga(first::Moved(story)).id(id), waits).await,
        "moved_2" | "moved_2_back" => one(app.saga(second::Moved(story)).id(id), waits).await,
        "sided_1" | "sided_1_back" => one(app.saga(first::Sided(story)).id(id), waits).await,
        _ => one(app.saga(second::Sided(story)).id(id), waits).await,
    }
}

fn some(name: &str, variants: &[&'static Variant]) -> Vec<Started> {
    (0..SAGAS).map(|number| (variants[number % variants.len()], format!("{name}-{number}"))).collect()
}

/// What a saga did by which version; its steps without that.
fn by_version(effects: &[Effect]) -> (String, Vec<Effect>) {
    let split = effects.iter().map(|effect| {
        let (version, step) = effect.step.split_once(' ').unwrap();
        (version, Effect { step: step.to_owned(), ..effect.clone() })
    });
    split.unzip()
}

/// It goes on by the version that it began with, or from some step on by one that takes it over, with every step that this has.
fn mistake_of_versions((variant, _): &Started, saga: Option<&(String, Vec<u8>)>, effects: &[Effect]) -> Option<String> {
    let (versions, effects) = by_version(effects);
    let is_first = versions.bytes().all(|version| version == b'1');
    let is_second = versions.bytes().all(|version| version == b'2');
    let has_new = effects.iter().any(|effect| effect.step == "m_new");
    let (is_so, expected) = match variant.name {
        // The last step that is begun by the first version ends by it.
        "moved_1" if has_new => (!versions.contains("21"), &MOVED_2),
        "moved_1" => (is_first, &MOVED_1),
        "moved_1_back" if has_new => (!versions.contains("21"), &MOVED_2_BACK),
        "moved_1_back" => (!versions.contains("21"), &MOVED_1_BACK),
        "sided_1" | "sided_1_back" => (is_first, *variant),
        _ => (is_second, *variant),
    };
    if !is_so {
        return Some(format!("it went on by {versions}"));
    }
    mistake(expected, saga, &effects)
}

async fn run_side_by_side(store: &str, lingers: u32) {
    let mut ground = Ground::new(store).await;
    ground.tell(LINGERS, &lingers.to_string());
    let (of_earlier, of_later) = (some("first", &OF_EARLIER), some("second", &OF_LATER));
    let (earlier, later) = of_earlier.split_at(SAGAS / 2);
    let shares: [(bool, &[Started]); 4] = [(true, earlier), (true, later), (false, &of_later), (false, &[])];
    let start = |(is_earlier, share): &(bool, &[Started])| {
        let told: &[(&str, &str)] = if *is_earlier { &[(EARLIER, "yes")] } else { &[] };
        ground.start_told(RECOVERS, share, told)
    };
    let mut dice = Dice(SEED);
    let processes = tokio::select! {
        processes = ground.come_and_go_as(&shares, 6, &mut dice, start) => processes,
        () = look_again(&ground) => unreachable!("it looks for ever"),
    };
    // The earlier program goes.
    let mut processes = processes.into_iter();
    for process in processes.by_ref().take(2) {
        ground.stop(process).await;
    }
    let started = [of_earlier, of_later].concat();
    tokio::select! {
        () = ground.ended(started.len()) => {}
        () = look_again(&ground) => {}
    }
    for process in processes {
        ground.stop(process).await;
    }
    let effects = ground.effects().await;
    ground.assert_all(&started, effects.clone(), mistake_of_versions).await;
    let moved = started.iter().filter(|(_, id)| {
        let (versions, _) =
            by_version(&effects.iter().filter(|effect| effect.saga == *id).cloned().collect::<Vec<_>>());
        versions.contains("12")
    });
    assert!(moved.count() > 0, "none was taken over by a later version");
    ground.end().await;
}

/// What a program cannot go on with it leaves alone for a minute. Nobody waits so long here.
async fn look_again(ground: &Ground) {
    const LEFT: &str = "UPDATE cqrs_sagas SET due_at = 0 WHERE owner IS NULL AND phase IN ('forward', 'compensating')";
    loop {
        tokio::time::sleep(2 * LOOK).await;
        // There may be no table yet, or somebody else who writes.
        if let Err(error) = ground.try_to(LEFT).await {
            tracing::info!(%error, "it is looked again later");
        }
    }
}

#[tokio::test]
async fn g16_g20_sagas_of_two_programs_side_by_side_that_are_killed_end_by_a_version_that_may_run_them_on_postgresql() {
    run_side_by_side(&services::postgres_url(), 120).await;
}

#[tokio::test]
async fn g16_g20_sagas_of_two_programs_side_by_side_that_are_killed_end_by_a_version_that_may_run_them_on_mariadb() {
    run_side_by_side(&services::mysql_url(), 120).await;
}

#[tokio::test]
async fn g16_g20_sagas_of_two_programs_side_by_side_that_are_killed_end_by_a_version_that_may_run_them_on_sqlite() {
    run_side_by_side("sqlite", 5).await;
}
