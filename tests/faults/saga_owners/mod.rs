//! Faults of who holds sagas, of each shape that there is: their processes are killed, stopped and cut off, and what their steps wrote is
//! read afterwards. Each saga is broken by itself, at each of its steps.
//!
//! `shapes` are the sagas, and what each must have left behind, `awaited` those that wait for events; `program` is the process that runs them; `ground` starts such processes
//! on a database of a test's own, and reads what is there in the end. The others break something each; some have sagas of their own for
//! that.

mod awaited;
mod broken;
mod cancelled;
mod ground;
mod heard;
mod killed;
mod limited;
mod outages;
mod program;
mod random;
mod recovered;
mod shapes;
mod stopped;
mod versions;
