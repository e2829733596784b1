//! What a product hands to its caller.

use crate::parallel::Shared;
use crate::simd::{end_stream, prefetch_all};
use crate::values::{Values, stream};
use std::ops::Range;

/// Numbers of a result that is written past the caches, which could not hold it until it is read.
const LARGE: usize = 1 << 19;
/// Rows ahead of which an epilogue fetches what it reads or writes: rows are too far apart for the processor to foresee.
pub const AHEAD: usize = 4;

/// Whether a result replaces what is there or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// out = result
    Replace,
    /// out += result
    Add,
}

/// A finished part of a product.
pub struct Tile {
    /// Which rows of the result.
    pub rows: Range<usize>,
    /// Which columns.
    pub columns: Range<usize>,
    data: *mut f32,
    stride: usize,
}

impl Tile {
    /// Rows and columns of the result, whose sums are at `data` in rows of `stride`.
    pub fn new(rows: Range<usize>, columns: Range<usize>, data: *mut f32, stride: usize) -> Self {
        Self { rows, columns, data, stride }
    }

    /// The sums of a row (counted in the result), one for each of the tile's columns; the epilogue may change them.
    #[allow(clippy::mut_from_ref)]
    pub fn row(&self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row));
        // Safety: the tile belongs to its task alone.
        let start = unsafe { self.data.add((row - self.rows.start) * self.stride) };
        unsafe { std::slice::from_raw_parts_mut(start, self.columns.len()) }
    }

    /// Replaces or adds to the tile's part of `out` (rows of `stride`), which is this task's alone.
    pub unsafe fn put(&self, out: Shared<f32>, stride: usize, store: Store) {
        let past_caches = store == Store::Replace && out.len() >= LARGE;
        for row in self.rows.clone() {
            let at = row * stride + self.columns.start;
            let target = out.part(at..at + self.columns.len());
            match store {
                Store::Replace if past_caches => stream(target.as_mut_ptr(), self.row(row)),
                Store::Replace => target.copy_from_slice(self.row(row)),
                Store::Add => {
                    prefetch_all(target.as_ptr().wrapping_add(AHEAD * stride), target.len());
                    Values::F32(self.row(row)).add_to(0, target);
                }
            }
        }
        if past_caches {
            end_stream();
        }
    }
}
