//! Faults of sagas: the processes that hold them are killed, stopped and cut off, and what their steps wrote is read afterwards.
//!
//! `shapes` are the sagas, and what each must have left behind; `program` is the process that runs them; `ground` starts such processes
//! on a database of a test's own, and reads what is there in the end. The others break something each.

mod broken;
mod ground;
mod killed;
mod outages;
mod program;
mod random;
mod shapes;
mod stopped;
