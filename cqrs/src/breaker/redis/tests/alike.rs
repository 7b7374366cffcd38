//! The script does what the machine does: every short sequence of inputs, on both, with a clock that the test sets.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use super::{Redis, connection};
use crate::breaker::machine::{Effect, Input, Machine, State, Ticket};
use crate::breaker::policy::BreakerPolicy;
use crate::breaker::redis::script::{Answered, Breaking, Step, read};
use crate::breaker::state::BreakerPhase;

/// How many steps a sequence has.
const DEPTH: usize = 5;
/// When it begins: a server's clock does not begin at zero.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);

const fn ticks(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A machine, the hash that is to be the same, and the calls that were let in: the ticket of either.
struct Pair<'a> {
    machine: Machine,
    calls: Vec<(Ticket, Ticket)>,
    path: Vec<String>,
    policy: BreakerPolicy,
    redis: &'a MultiplexedConnection,
    script: &'a Breaking,
    prefix: &'a str,
}

impl Pair<'_> {
    fn key(&self, depth: usize) -> String {
        format!("{{{}}}:{depth}", self.prefix)
    }

    /// Takes a step on both, from the hash of this depth to that of the next.
    async fn step(&self, kind: Kind, call: usize, now: Duration) -> Self {
        let mut next =
            Pair { machine: self.machine.clone(), calls: self.calls.clone(), path: self.path.clone(), ..*self };
        next.path.push(format!("{kind:?} {call} at {:?}", now.saturating_sub(BEGIN)));
        let (ours, theirs) = match kind {
            Kind::Admit => (Input::Admit, Input::Admit),
            Kind::Ended(input) => {
                let (ours, theirs) = next.calls.remove(call);
                (input(ours), input(theirs))
            }
        };
        let effect = next.machine.apply(ours, now);
        let said = self.say(theirs, now).await;
        let admitted = match said.phase {
            BreakerPhase::Closed => Some(Ticket::closed(said.period)),
            BreakerPhase::Open | BreakerPhase::HalfOpen => said.granted,
        };
        let told = next.path.join(", ");
        if let (Input::Admit, Effect::Admitted(ticket)) = (ours, effect) {
            let theirs = admitted.unwrap_or_else(|| panic!("{told}: not let in: {said:?}"));
            assert_eq!(theirs.is_trial(), ticket.is_trial(), "{told}");
            next.calls.push((ticket, theirs));
        } else if let Effect::Refused(left) = effect {
            assert_eq!((admitted, said.trial_in), (None, left), "{told}");
        }
        let phase = match next.machine.state() {
            State::Closed(_) => BreakerPhase::Closed,
            State::Open { .. } => BreakerPhase::Open,
            State::HalfOpen { .. } => BreakerPhase::HalfOpen,
        };
        assert_eq!((said.phase, said.failures), (phase, next.machine.failures(now)), "{told}");
        assert!(!said.mended, "{told}: the script does not understand itself");
        next
    }

    async fn say(&self, input: Input, now: Duration) -> crate::breaker::redis::script::Answer {
        let depth = self.path.len();
        let (from, to) = (self.key(depth), self.key(depth + 1));
        let mut pipeline = redis::pipe();
        pipeline.del(&to).ignore().cmd("COPY").arg(&from).arg(&to).ignore();
        pipeline.set(format!("{{{}}}:now", self.prefix), u64::try_from(now.as_millis()).unwrap()).ignore();
        pipeline.add_command(self.script.by_text(&to, &self.policy, Step::Take(input)));
        let (answer,): (redis::Value,) = pipeline.query_async(&mut self.redis.clone()).await.unwrap();
        match read(answer) {
            Some(Answered::Breaker(answer)) => answer,
            other => panic!("{:?}: {other:?}", self.path),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Admit,
    Ended(fn(Ticket) -> Input),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admit => f.write_str("admit"),
            Self::Ended(input) => write!(f, "{:?}", input(Ticket::closed(0))),
        }
    }
}

/// What may come next, each at each time.
fn steps(calls: usize, pauses: &[Duration]) -> Vec<(Kind, usize, Duration)> {
    let mut kinds = vec![(Kind::Admit, 0)];
    let ends = if calls > 1 { vec![0, calls - 1] } else { (0..calls).collect() };
    for call in ends {
        let inputs: [fn(Ticket) -> Input; 3] = [Input::Success, Input::Failure, Input::Release];
        kinds.extend(inputs.map(|input| (Kind::Ended(input), call)));
    }
    kinds.into_iter().flat_map(|(kind, call)| pauses.iter().map(move |pause| (kind, call, *pause))).collect()
}

async fn explore(policy: BreakerPolicy, pauses: &[Duration]) -> usize {
    let redis = Redis::any();
    let connection = connection(redis.url()).await;
    let prefix = Uuid::now_v7().to_string();
    let clock = format!("local function clock() return tonumber(redis.call('GET', '{{{prefix}}}:now')) end");
    let script = Breaking::with_clock(&clock);
    let machine = Machine::new(policy);
    let (redis, script, prefix) = (&connection, &script, prefix.as_str());
    let first = Pair { machine, calls: Vec::new(), path: Vec::new(), policy, redis, script, prefix };
    let mut explored = 0;
    let mut left = vec![(first, BEGIN, steps(0, pauses))];
    // Depth first, since the hash of each depth is written over by its next neighbour.
    while let Some((pair, now, todo)) = left.last_mut() {
        let Some((kind, call, pause)) = todo.pop() else {
            left.pop();
            continue;
        };
        let now = *now + pause;
        let pair = pair.step(kind, call, now).await;
        explored += 1;
        if pair.path.len() < DEPTH {
            let todo = steps(pair.calls.len(), pauses);
            left.push((pair, now, todo));
        }
    }
    explored
}

#[tokio::test]
async fn the_script_goes_as_the_machine_does() {
    let in_a_row = BreakerPolicy { failures: 2, open_for: ticks(10), window: None };
    let in_window = BreakerPolicy { window: Some(ticks(5)), ..in_a_row };
    let at_once = BreakerPolicy { failures: 1, ..in_a_row };
    // Past the window, and when the breaker is due.
    for (policy, pause) in [(in_a_row, ticks(10)), (in_window, ticks(6)), (at_once, ticks(10))] {
        let explored = explore(policy, &[Duration::ZERO, pause]).await;
        assert!(explored > 4_000, "only {explored} steps");
    }
}
