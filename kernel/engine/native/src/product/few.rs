//! Products with few rows on the left, as decoding has them: each number of the right-hand side is used a few times only,
//! so it is read where it lies, once, and nothing is packed.

use super::kernel::Precision;
use super::pack::{Data, Operand};
use super::tile::Tile;
use crate::memory::Buffer;
use crate::parallel::{for_each, range, ranges};
use crate::simd::{Bf16, Element, LANES, Lanes, prefetch, vectorized};
use std::cell::RefCell;

/// Most rows of a product without packing.
pub const FEW: usize = 4;
/// Columns of a task, and of one pass over the depth: their sums stay in registers.
pub const COLUMNS: usize = 256;
const VECTORS: usize = 4;

thread_local! {
    static TILE: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
}

/// As [`super::product`], for m up to [`FEW`].
pub fn product_of_few(
    precision: Precision,
    (m, n, k): (usize, usize, usize),
    a: Operand,
    b: Operand,
    rows: &mut Buffer<f32>,
    finish: impl Fn(Tile) + Sync,
) {
    let left = rows.get(m * k);
    let rounded = precision == Precision::Bf16;
    unsafe { unpack(left.as_mut_ptr(), a, m, k, rounded) };
    let left = &*left;
    for_each(ranges(n, COLUMNS), |task| unsafe {
        let columns = range(n, COLUMNS, task);
        TILE.with_borrow_mut(|tile| {
            let tile = tile.get(m * COLUMNS).as_mut_ptr();
            let right = b.skip(columns.start, 0);
            multiply_few(tile, left.as_ptr(), right, (m, columns.len(), k), rounded);
            finish(Tile::new(0..m, columns, tile, COLUMNS));
        });
    });
}

vectorized! {
    /// out [m,k] = the operand's first m vectors in f32, rounded to bf16 if asked.
    unsafe fn unpack(out: *mut f32, operand: Operand, m: usize, k: usize, rounded: bool) = unpack_body
}
vectorized! {
    /// out [m, columns] (rows of COLUMNS) = a [m,k] · the first columns of b.
    unsafe fn multiply_few(
        out: *mut f32, a: *const f32, b: Operand, sizes: (usize, usize, usize), rounded: bool
    ) = multiply_few_body
}

#[inline(always)]
unsafe fn unpack_body<S: Lanes>(out: *mut f32, operand: Operand, m: usize, k: usize, rounded: bool) {
    let number = |at: usize| match operand.data {
        Data::F32(data) => *data.add(at),
        Data::Bf16(data) => (*data.add(at)).to_f32(),
    };
    for row in 0..m {
        for depth in 0..k {
            let value = number(row * operand.vector_stride + depth * operand.depth_stride);
            *out.add(row * k + depth) = if rounded { Bf16::from_f32(value).to_f32() } else { value };
        }
    }
}

#[inline(always)]
unsafe fn multiply_few_body<S: Lanes>(
    out: *mut f32,
    a: *const f32,
    b: Operand,
    sizes: (usize, usize, usize),
    rounded: bool,
) {
    match b.data {
        Data::F32(data) => few_rows::<S, f32>(out, a, data, b, sizes, rounded),
        Data::Bf16(data) => few_rows::<S, Bf16>(out, a, data, b, sizes, false),
    }
}

#[inline(always)]
unsafe fn few_rows<S: Lanes, E: Element>(
    out: *mut f32,
    a: *const f32,
    data: *const E,
    b: Operand,
    sizes: (usize, usize, usize),
    rounded: bool,
) {
    match sizes.0 {
        1 => few::<S, E, 1>(out, a, data, b, sizes, rounded),
        2 => few::<S, E, 2>(out, a, data, b, sizes, rounded),
        3 => few::<S, E, 3>(out, a, data, b, sizes, rounded),
        _ => few::<S, E, FEW>(out, a, data, b, sizes, rounded),
    }
}

#[inline(always)]
unsafe fn few<S: Lanes, E: Element, const ROWS: usize>(
    out: *mut f32,
    a: *const f32,
    data: *const E,
    b: Operand,
    (_, n, k): (usize, usize, usize),
    rounded: bool,
) {
    let take = |at: *const E, count: usize| {
        let lanes: S = if count == LANES { E::load(at) } else { E::load_partial(at, count) };
        if rounded { lanes.round_to_bf16() } else { lanes }
    };
    if b.depth_stride == 1 {
        // Each column is a row of memory: dot products.
        for column in 0..n {
            let vector = data.add(column * b.vector_stride);
            prefetch(vector.wrapping_add(4 * b.vector_stride));
            let mut sums = [S::splat(0.0); ROWS];
            for depth in (0..k).step_by(LANES) {
                let count = (k - depth).min(LANES);
                let right = take(vector.add(depth), count);
                for row in 0..ROWS {
                    sums[row] = right.fma(S::load_partial(a.add(row * k + depth), count), sums[row]);
                }
            }
            for row in 0..ROWS {
                *out.add(row * COLUMNS + column) = sums[row].sum();
            }
        }
        return;
    }
    for first in (0..n).step_by(VECTORS * LANES) {
        let live = (n - first).min(VECTORS * LANES);
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        for depth in 0..k {
            let vector = data.add(depth * b.depth_stride + first);
            for j in 0..VECTORS {
                let ahead = vector.wrapping_add(16 * b.depth_stride + j * LANES);
                prefetch(ahead);
                let right = take(vector.wrapping_add(j * LANES), live.saturating_sub(j * LANES).min(LANES));
                for row in 0..ROWS {
                    sums[row][j] = right.fma(S::splat(*a.add(row * k + depth)), sums[row][j]);
                }
            }
        }
        for row in 0..ROWS {
            for j in 0..VECTORS {
                let count = live.saturating_sub(j * LANES).min(LANES);
                sums[row][j].store_partial(out.wrapping_add(row * COLUMNS + first + j * LANES), count);
            }
        }
    }
}
