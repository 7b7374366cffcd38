//! Every pair of state and input, and many sagas of random shapes against a world that counts what happened to it.

use super::*;

const PLAIN: Step = Step { attempts: 1, has_tx: true, undo: Some(3), is_pivot: false, awaits: false };

fn line(steps: Vec<Step>) -> Shape {
    let places = (1..=steps.len()).collect();
    Shape { steps, places }
}

fn follow(shape: &Shape, inputs: &[Input]) -> (State, Vec<Effect>) {
    let mut state = shape.begin();
    let mut effects = Vec::new();
    for input in inputs {
        (state, effects) = shape.next(&state, *input).unwrap();
    }
    (state, effects)
}

/// The inputs that an effect may lead to.
fn inputs() -> Vec<Input> {
    let mut all = vec![Input::Start, Input::Cut, Input::Cancel, Input::Resume];
    for step in 0..3 {
        all.extend([Input::Came(step), Input::Late(step), Input::Due(step)]);
        all.extend([Ended::Well, Ended::Failed, Ended::Broke, Ended::Hopeless].map(|ended| Input::Ended(step, ended)));
    }
    all
}

/// From every state that can be reached, every input either leads on or is refused, and what is refused changes nothing.
#[test]
fn every_pair_of_state_and_input_is_answered() {
    let waits = Step { awaits: true, ..PLAIN };
    let pivot = Step { is_pivot: true, undo: None, ..PLAIN };
    let shapes = [
        line(vec![PLAIN, Step { attempts: 2, has_tx: false, ..PLAIN }, Step { undo: None, ..PLAIN }]),
        line(vec![waits, pivot, Step { attempts: 2, undo: None, ..PLAIN }]),
        Shape { steps: vec![PLAIN, PLAIN, waits], places: vec![1, 3] },
    ];
    for shape in shapes {
        let (mut seen, mut open) = (Vec::new(), vec![shape.begin()]);
        while let Some(state) = open.pop() {
            if seen.contains(&state) || state.cuts > 1 {
                continue;
            }
            seen.push(state.clone());
            for input in inputs() {
                match shape.next(&state, input) {
                    Ok((next, effects)) => {
                        let is_going = matches!(next.phase, Phase::Forward | Phase::Compensating);
                        assert_eq!(is_going, is_under_way(&next), "{state:?} {input:?} {next:?}");
                        assert!(is_going || effects.is_empty());
                        open.push(next);
                    }
                    Err(illegal) => assert_eq!(illegal, Illegal { state: state.clone(), input }),
                }
            }
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }
}

/// Whether there is something that will lead to an input.
fn is_under_way(state: &State) -> bool {
    state.steps.iter().any(|progress| {
        matches!(
            progress,
            Progress::Awaiting
                | Progress::Running { .. }
                | Progress::Pausing { .. }
                | Progress::Undoing { .. }
                | Progress::UndoPausing { .. }
        ) && matches!(state.phase, Phase::Forward | Phase::Compensating)
    })
}

#[test]
fn a_step_that_may_have_happened_is_undone_and_one_that_did_not_is_not() {
    let open = Step { has_tx: false, ..PLAIN };
    for (step, ended, undone) in
        [(PLAIN, Ended::Failed, 0), (PLAIN, Ended::Broke, 0), (open, Ended::Failed, 0), (open, Ended::Broke, 1)]
    {
        let shape = line(vec![PLAIN, step]);
        let first = [Input::Start, Input::Ended(0, Ended::Well), Input::Ended(1, ended)];
        let (state, effects) = follow(&shape, &first);
        assert_eq!((state.phase, effects), (Phase::Compensating, vec![Effect::Undo { step: undone, attempt: 1 }]));
    }
    // It returned an error, but the attempt before was cut off.
    let (_, effects) = follow(
        &line(vec![PLAIN, open]),
        &[Input::Start, Input::Ended(0, Ended::Well), Input::Cut, Input::Ended(1, Ended::Failed)],
    );
    assert_eq!(effects, [Effect::Undo { step: 1, attempt: 1 }]);
}

#[test]
fn a_compensation_that_gives_up_does_not_stop_the_earlier_ones_and_can_be_resumed() {
    let shape = line(vec![PLAIN, Step { undo: Some(1), ..PLAIN }, PLAIN]);
    let mut inputs = vec![Input::Start, Input::Ended(0, Ended::Well), Input::Ended(1, Ended::Well)];
    inputs.extend([Input::Ended(2, Ended::Failed), Input::Ended(1, Ended::Broke)]);
    let (_, effects) = follow(&shape, &inputs);
    assert_eq!(effects, [Effect::Undo { step: 0, attempt: 1 }]);
    inputs.push(Input::Ended(0, Ended::Well));
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Stuck(Stuck::Undoing));
    inputs.push(Input::Resume);
    let (state, effects) = follow(&shape, &inputs);
    assert_eq!((state.phase, effects), (Phase::Compensating, vec![Effect::Undo { step: 1, attempt: 1 }]));
    inputs.push(Input::Ended(1, Ended::Well));
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Compensated);
}

#[test]
fn one_failure_in_a_group_lets_the_others_end() {
    let shape = Shape { steps: vec![PLAIN; 3], places: vec![3] };
    let (state, effects) =
        follow(&shape, &[Input::Start, Input::Ended(1, Ended::Failed), Input::Ended(2, Ended::Well)]);
    assert_eq!((state.phase, effects), (Phase::Forward, vec![]));
    let (state, effects) = shape.next(&state, Input::Ended(0, Ended::Well)).unwrap();
    assert_eq!((state.phase, effects), (Phase::Compensating, vec![Effect::Undo { step: 2, attempt: 1 }]));
}

#[test]
fn behind_the_pivot_it_is_stuck_and_goes_on_when_it_is_resumed() {
    let shape =
        line(vec![PLAIN, Step { is_pivot: true, undo: None, ..PLAIN }, Step { attempts: 2, undo: None, ..PLAIN }]);
    let mut inputs = vec![Input::Start, Input::Ended(0, Ended::Well), Input::Ended(1, Ended::Well)];
    assert!(shape.next(&follow(&shape, &inputs).0, Input::Cancel).is_err(), "there is no way back");
    inputs.extend([Input::Ended(2, Ended::Failed), Input::Due(2), Input::Ended(2, Ended::Failed)]);
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Stuck(Stuck::Forward));
    inputs.extend([Input::Resume, Input::Ended(2, Ended::Well)]);
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Completed);
}

/// The pivot was let end. Nobody gets it back from there: what fails behind it is tried again as ever.
#[test]
fn what_is_cancelled_while_its_pivot_runs_goes_on_behind_it() {
    let shape = line(vec![Step { is_pivot: true, undo: None, ..PLAIN }, Step { attempts: 2, undo: None, ..PLAIN }]);
    let inputs = [Input::Start, Input::Cancel, Input::Ended(0, Ended::Well), Input::Ended(1, Ended::Failed)];
    let (state, effects) = follow(&shape, &inputs);
    assert!(state.is_cancelled);
    assert_eq!((state.phase, effects), (Phase::Forward, vec![Effect::Pause { step: 1, attempt: 2 }]));
}

#[test]
fn whoever_cancels_what_waits_gets_it_back_at_once() {
    let shape = line(vec![PLAIN, Step { awaits: true, undo: None, ..PLAIN }]);
    let (state, effects) = follow(&shape, &[Input::Start, Input::Ended(0, Ended::Well), Input::Cancel]);
    assert_eq!((state.phase, effects), (Phase::Compensating, vec![Effect::Undo { step: 0, attempt: 1 }]));
}

#[test]
fn what_loses_its_owners_again_and_again_is_stuck() {
    let shape = line(vec![PLAIN]);
    let mut inputs = vec![Input::Start];
    inputs.extend([Input::Cut; MOST_CUTS as usize]);
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Forward);
    inputs.push(Input::Cut);
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Stuck(Stuck::Lost));
    inputs.extend([Input::Resume, Input::Ended(0, Ended::Well)]);
    assert_eq!(follow(&shape, &inputs).0.phase, Phase::Completed);
}

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(sides)).unwrap()
    }

    /// A place among so many.
    fn pick(&mut self, count: usize) -> usize {
        self.roll(u32::try_from(count).unwrap()) as usize
    }

    fn shape(&mut self) -> Shape {
        let count = 1 + self.pick(8);
        let pivot = self.pick(2 * count);
        let (mut steps, mut places) = (Vec::new(), Vec::new());
        while steps.len() < count {
            let members = if self.roll(4) == 0 { 2 + self.pick(2) } else { 1 };
            for _ in 0..members {
                let is_pivot = members == 1 && steps.len() == pivot;
                let is_beyond = steps.iter().any(|step: &Step| step.is_pivot) || is_pivot;
                steps.push(Step {
                    attempts: 1 + self.roll(3),
                    has_tx: self.roll(2) == 0,
                    undo: (!is_beyond && self.roll(5) > 0).then_some(1 + self.roll(3)),
                    is_pivot,
                    awaits: members == 1 && self.roll(5) == 0,
                });
            }
            places.push(steps.len());
        }
        Shape { steps, places }
    }
}

/// What happened outside: how often each step was done and undone.
#[derive(Default, Clone)]
struct World {
    done: [u32; 16],
    undone: [u32; 16],
}

/// Does what an effect asks for. Gives what is told of it.
fn happen(shape: &Shape, world: &mut World, dice: &mut Dice, effect: Effect) -> Input {
    let ended = [Ended::Well, Ended::Well, Ended::Well, Ended::Failed, Ended::Broke][dice.pick(5)];
    match effect {
        Effect::Await { step } if dice.roll(4) == 0 => Input::Late(step),
        Effect::Await { step } => Input::Came(step),
        Effect::Pause { step, .. } | Effect::UndoPause { step, .. } => Input::Due(step),
        Effect::Run { step, .. } => {
            let has_happened =
                ended == Ended::Well || (ended == Ended::Broke && !shape.steps[step].has_tx && dice.roll(2) == 0);
            world.done[step] += u32::from(has_happened);
            Input::Ended(step, ended)
        }
        Effect::Undo { step, .. } => {
            world.undone[step] += u32::from(ended == Ended::Well);
            Input::Ended(step, ended)
        }
    }
}

fn check_end(shape: &Shape, state: &State, world: &World, seed: u64) {
    for (at, step) in shape.steps.iter().enumerate() {
        let (done, undone) = (world.done[at], world.undone[at]);
        match state.phase {
            Phase::Completed => assert!(done >= 1 && undone == 0, "seed {seed}: step {at} {done} {undone}"),
            Phase::Compensated if step.undo.is_some() => {
                assert!(done == 0 || undone >= 1, "seed {seed}: step {at} was done and not undone");
                assert!(undone == 0 || done >= 1 || !step.has_tx, "seed {seed}: step {at} was undone and never done");
            }
            _ => {}
        }
        if step.has_tx {
            assert!(done <= 1, "seed {seed}: step {at} happened {done} times");
            assert!(undone <= 1, "seed {seed}: step {at} was undone {undone} times");
        }
    }
}

/// Whatever happens to a saga, it ends, goes back only once and in reverse order, and nothing that happened is forgotten.
#[test]
fn g15_g16_g17_sagas_of_any_shape_end_and_leave_the_world_in_order() {
    let mut ends = [0_u32; 3];
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let shape = dice.shape();
        let mut world = World::default();
        let (mut state, mut open) = shape.next(&shape.begin(), Input::Start).unwrap();
        let mut last_undo = usize::MAX;
        for turn in 0.. {
            assert!(turn < 500, "seed {seed}: it does not end: {state:?}");
            if !matches!(state.phase, Phase::Forward | Phase::Compensating) {
                break;
            }
            let was = state.phase;
            let input = match dice.roll(20) {
                // A process dies: what it was doing may have happened, where that is in no transaction.
                0 => {
                    for effect in std::mem::take(&mut open) {
                        if let Effect::Run { step, .. } = effect {
                            world.done[step] += u32::from(!shape.steps[step].has_tx && dice.roll(2) == 0);
                        }
                    }
                    Input::Cut
                }
                1 => Input::Cancel,
                _ => {
                    let at = dice.pick(open.len());
                    let effect = open.swap_remove(at);
                    happen(&shape, &mut world, &mut dice, effect)
                }
            };
            match shape.next(&state, input) {
                Ok((next, effects)) => {
                    for effect in &effects {
                        if was == Phase::Compensating {
                            assert!(
                                !matches!(effect, Effect::Run { .. } | Effect::Await { .. }),
                                "seed {seed}: forward again"
                            );
                        }
                        if let Effect::Undo { step, .. } = effect {
                            assert!(*step <= last_undo, "seed {seed}: {step} after {last_undo}");
                            last_undo = *step;
                        }
                    }
                    if input == Input::Cancel {
                        open.retain(|effect| !is_stale(&next, *effect));
                    }
                    state = next;
                    open.extend(effects);
                }
                Err(_) => assert_eq!(input, Input::Cancel, "seed {seed}"),
            }
        }
        check_end(&shape, &state, &world, seed);
        ends[match state.phase {
            Phase::Completed => 0,
            Phase::Compensated => 1,
            _ => 2,
        }] += 1;
    }
    assert!(ends.iter().all(|count| *count > 500), "{ends:?}");
}

/// Whether a saga does not wait any more for what it waited for.
fn is_stale(state: &State, effect: Effect) -> bool {
    match effect {
        Effect::Await { step } => state.steps[step] != Progress::Awaiting,
        Effect::Pause { step, .. } => !matches!(state.steps[step], Progress::Pausing { .. }),
        _ => false,
    }
}
