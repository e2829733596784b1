//! GPT Lab's native tensor engine: the operations of kernel/engine/engine.ts on CPUs, as a Node-API addon.
//!
//! `bindings` is what JavaScript sees; `engine` owns the thread that runs queued calls; `ops` has one file per
//! operation on plain slices; `product`, `values`, `simd`, `parallel` and `memory` are what they are made of.
//! `collective` moves tensors between processes in queues of its own, which wait for the engine's and it for them
//! through `event`.

mod bindings;
#[cfg(unix)]
mod collective;
mod engine;
mod event;
mod memory;
mod ops;
mod parallel;
mod product;
mod simd;
#[cfg(test)]
mod testing;
mod transpose;
mod values;
