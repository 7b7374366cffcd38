//! Faults: a whole app, in processes of its own on real servers, that are killed, stopped and cut off. What is left in the
//! database afterwards is counted: nothing lost, nothing doubled, each key in order.

mod backlog;
mod chaos;
mod clock;
mod cut;
mod gone;
mod input;
mod large;
mod missing;
mod named;
mod place;
mod points;
mod program;
mod saga_owners;
mod servers;
mod stopped;
mod timers;
mod walk;
mod world;
