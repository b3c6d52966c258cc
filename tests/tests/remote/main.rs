//! The protocol of the shared tier on a real server, case by case. `tests/simulation` draws cases at random.

mod process;
mod protocol;
mod wire;
