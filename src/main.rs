//! The `sluicegate` program.
fn main() {}
