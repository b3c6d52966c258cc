//! The protocol of the shared tier on a real server: case by case in `protocol`, and at random in `simulation`.

mod process;
mod protocol;
mod simulation;
mod wire;
