//! Cases as data: every runtime reads the files of `cases/` and must come to the same results.

pub mod cache_model;
pub mod fuzz;
pub mod glob_model;
