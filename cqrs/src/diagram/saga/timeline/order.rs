//! In which order things happened: as the log has it, which is how they were stored. Times say only what overlapped, since the clocks of
//! processes differ.

use super::Run;
use crate::store::SagaLog;

/// What happens in a timeline.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment<'r> {
    Began(&'r SagaLog),
    Ended(&'r SagaLog),
    /// So many attempts are not drawn.
    LeftOut(usize),
}

/// What happened, in its order; of more than `most` attempts the first quarter and the last ones.
pub(super) fn ordered<'r>(run: &Run<'r>, most: usize) -> Vec<Moment<'r>> {
    let log = run.log;
    if log.len() <= most {
        return between(run, log);
    }
    let (first, last) = (&log[..most / 4], &log[log.len() - (most - most / 4)..]);
    let mut moments = between(run, first);
    moments.push(Moment::LeftOut(log.len() - most));
    moments.extend(between(run, last));
    moments
}

fn between<'r>(run: &Run<'r>, log: &'r [SagaLog]) -> Vec<Moment<'r>> {
    let mut moments: Vec<Moment<'r>> = Vec::new();
    for entry in log {
        let is_after = |moment: &Moment<'_>| match moment {
            Moment::Began(other) => other.began_at > entry.began_at && is_beside(run, other, entry),
            Moment::Ended(other) => other.ended_at > entry.began_at && is_beside(run, other, entry),
            Moment::LeftOut(_) => false,
        };
        let after = moments.iter().rev().take_while(|moment| is_after(moment)).count();
        moments.insert(moments.len() - after, Moment::Began(entry));
        moments.push(Moment::Ended(entry));
    }
    moments
}

/// Whether two attempts can have been under way at once: at two steps that stand side by side.
fn is_beside(run: &Run<'_>, one: &SagaLog, other: &SagaLog) -> bool {
    if one.is_undo || other.is_undo || one.step == other.step {
        return false;
    }
    let Some(plan) = run.plan else { return true };
    let steps = plan.step(&one.step).zip(plan.step(&other.step));
    steps.is_none_or(|(one, other)| plan.shape.beside(one).contains(&other))
}
