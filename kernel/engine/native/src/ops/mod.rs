//! The operations of the engine interface (kernel/engine/engine.ts), one file each. Shape letters as there:
//! B sequences, T tokens each, N = B*T, C width, H heads, V vocabulary, I inputs and O outputs of a linear layer.

pub mod adamw;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod norm;
pub mod philox;
pub mod random;
pub mod vocabulary_part;

/// Elements that one task of a memory-bound pass handles: large enough to hide the hand-over, a multiple of a page.
pub const PASS: usize = 16 * 1024;
