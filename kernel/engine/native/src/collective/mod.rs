//! Collectives between the processes of one machine, through memory that they share.
//!
//! `segment` is that memory and who has joined it; a `lane` is one queue's part of it: an outbox for every member, in
//! two halves so that filling one overlaps with reading the other. `operations` are the algorithms over a lane, chunk by
//! chunk, so that memory does not grow with tensors. `queue` gives every group a thread of its own, and every pair that
//! sends one for each direction: calls return at once, and no order of calls of different groups can block.

pub mod bindings;
mod call;
mod futex;
mod lane;
mod operations;
mod process;
mod queue;
mod reduce;
mod segment;
mod shared_file;
