//! Products with few rows on the left, as decoding has them: each number of the right-hand side is used a few times only,
//! so it is read where it lies, once, and nothing is packed.

use super::kernel::Precision;
use super::pack::{Data, Operand};
use super::tile::Tile;
use crate::memory::Buffer;
use crate::parallel::{for_each, range, ranges};
use crate::simd::{Bf16, Element, LANES, Lanes, prefetch, vectorized};
use std::cell::RefCell;

/// Most rows of a product without packing: with more, the arithmetic takes longer than reading the right-hand side.
pub const FEW: usize = 12;
/// Most columns of a task, and fewest: pieces of memory should be long, and every thread should have some.
const MOST_COLUMNS: usize = 256;
const FEWEST_COLUMNS: usize = 128;
/// Tasks that a result is cut into where that leaves them wide enough.
const TASKS: usize = 12;
/// Numbers of the depth that are added to the sums at a time.
const DEPTH: usize = 4;
/// Columns ahead of which memory is asked for.
const AHEAD: usize = 2;

/// Columns of a task.
pub fn columns(n: usize) -> usize {
    n.div_ceil(TASKS).clamp(FEWEST_COLUMNS, MOST_COLUMNS).next_multiple_of(LANES)
}

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
    let width = columns(n);
    for_each(ranges(n, width), |task| unsafe {
        let columns = range(n, width, task);
        TILE.with_borrow_mut(|tile| {
            let tile = tile.get(m * width).as_mut_ptr();
            let right = b.skip(columns.start, 0);
            multiply_few(tile, width, left.as_ptr(), right, (m, columns.len(), k), rounded);
            finish(Tile::new(0..m, columns, tile, width));
        });
    });
}

vectorized! {
    /// out [m,k] = the operand's first m vectors in f32, rounded to bf16 if asked.
    unsafe fn unpack(out: *mut f32, operand: Operand, m: usize, k: usize, rounded: bool) = unpack_body
}
vectorized! {
    /// out [m, columns] (rows of `stride`) = a [m,k] · the first columns of b.
    unsafe fn multiply_few(
        out: *mut f32, stride: usize, a: *const f32, b: Operand, sizes: (usize, usize, usize), rounded: bool
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
    stride: usize,
    a: *const f32,
    b: Operand,
    sizes: (usize, usize, usize),
    rounded: bool,
) {
    match b.data {
        Data::F32(data) => few_rows::<S, f32>(out, stride, a, data, b, sizes, rounded),
        Data::Bf16(data) => few_rows::<S, Bf16>(out, stride, a, data, b, sizes, false),
    }
}

#[inline(always)]
unsafe fn few_rows<S: Lanes, E: Element>(
    out: *mut f32,
    stride: usize,
    a: *const f32,
    data: *const E,
    b: Operand,
    sizes: (usize, usize, usize),
    rounded: bool,
) {
    let job = Job { out, stride, a, data, b, sizes, rounded };
    match sizes.0 {
        1 => job.run::<S, 1>(),
        2 => job.run::<S, 2>(),
        3 => job.run::<S, 3>(),
        4 => job.run::<S, 4>(),
        5 => job.run::<S, 5>(),
        6 => job.run::<S, 6>(),
        7 => job.run::<S, 7>(),
        8 => job.run::<S, 8>(),
        9 => job.run::<S, 9>(),
        10 => job.run::<S, 10>(),
        11 => job.run::<S, 11>(),
        _ => job.run::<S, FEW>(),
    }
}

/// Products of a few rows with the first columns of `b`.
#[derive(Clone, Copy)]
struct Job<E> {
    /// Rows of `stride`, a multiple of LANES.
    out: *mut f32,
    stride: usize,
    a: *const f32,
    data: *const E,
    b: Operand,
    /// Rows, columns, depth.
    sizes: (usize, usize, usize),
    rounded: bool,
}

impl<E: Element> Job<E> {
    #[inline(always)]
    unsafe fn run<S: Lanes, const ROWS: usize>(self) {
        if self.b.depth_stride == 1 { self.along_rows::<S, ROWS>() } else { self.along_columns::<S, ROWS>() }
    }

    #[inline(always)]
    unsafe fn take<S: Lanes>(&self, at: *const E, count: usize) -> S {
        let lanes: S = if count == LANES { E::load(at) } else { E::load_partial(at, count) };
        if self.rounded { lanes.round_to_bf16() } else { lanes }
    }

    /// Each column is a row of memory: dot products.
    #[inline(always)]
    unsafe fn along_rows<S: Lanes, const ROWS: usize>(self) {
        let (_, n, k) = self.sizes;
        for column in 0..n {
            let vector = self.data.add(column * self.b.vector_stride);
            let ahead = vector.wrapping_add(AHEAD * self.b.vector_stride);
            let mut sums = [S::splat(0.0); ROWS];
            for depth in (0..k).step_by(LANES) {
                prefetch(ahead.wrapping_add(depth));
                let count = (k - depth).min(LANES);
                let right: S = self.take(vector.add(depth), count);
                for row in 0..ROWS {
                    let left = self.a.add(row * k + depth);
                    let left = if count == LANES { S::load(left) } else { S::load_partial(left, count) };
                    sums[row] = right.fma(left, sums[row]);
                }
            }
            for row in 0..ROWS {
                *self.out.add(row * self.stride + column) = sums[row].sum();
            }
        }
    }

    /// Each number of the depth is a row of memory: some rows at a time are added to sums that stay in L1.
    #[inline(always)]
    unsafe fn along_columns<S: Lanes, const ROWS: usize>(self) {
        let k = self.sizes.2;
        for row in 0..ROWS {
            std::slice::from_raw_parts_mut(self.out.add(row * self.stride), self.stride).fill(0.0);
        }
        let together = k / DEPTH * DEPTH;
        for depth in (0..together).step_by(DEPTH) {
            self.add_rows::<S, ROWS, DEPTH>(depth);
        }
        for depth in together..k {
            self.add_rows::<S, ROWS, 1>(depth);
        }
    }

    /// Adds the products of `COUNT` numbers of the depth.
    #[inline(always)]
    unsafe fn add_rows<S: Lanes, const ROWS: usize, const COUNT: usize>(self, depth: usize) {
        let (_, n, k) = self.sizes;
        let data = self.data.add(depth * self.b.depth_stride);
        for first in (0..n).step_by(LANES) {
            let count = (n - first).min(LANES);
            let mut right = [S::splat(0.0); COUNT];
            for i in 0..COUNT {
                let at = data.add(i * self.b.depth_stride + first);
                prefetch(at.wrapping_add(2 * DEPTH * self.b.depth_stride));
                right[i] = self.take(at, count);
            }
            for row in 0..ROWS {
                let at = self.out.add(row * self.stride + first);
                let mut sum = S::load(at);
                for i in 0..COUNT {
                    sum = right[i].fma(S::splat(*self.a.add(row * k + depth + i)), sum);
                }
                sum.store(at);
            }
        }
    }
}
