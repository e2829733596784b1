//! Packing: vectors of a matrix (rows of a left-hand side, columns of a right-hand side) into panels of units.

use super::kernel::Kernel;
use crate::simd::{Bf16, Element, LANES, Lanes, prefetch, vectorized};
use crate::values::Values;

/// One side of a product: vectors of numbers, whose products are summed along the vectors' depth.
#[derive(Clone, Copy)]
pub struct Operand {
    pub(super) data: Data,
    /// Elements from one vector to the next.
    pub(super) vector_stride: usize,
    /// Elements from one number of a vector to the next. One of the strides is 1.
    pub(super) depth_stride: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Data {
    F32(*const f32),
    Bf16(*const Bf16),
}

unsafe impl Send for Operand {}
unsafe impl Sync for Operand {}

impl Operand {
    /// Vectors that lie along the rows (of `stride` elements) of a matrix.
    pub fn along_rows(values: Values, stride: usize) -> Self {
        Self { data: Data::of(values), vector_stride: stride, depth_stride: 1 }
    }

    /// Vectors that lie along the columns of a matrix with rows of `stride` elements.
    pub fn along_columns(values: Values, stride: usize) -> Self {
        Self { data: Data::of(values), vector_stride: 1, depth_stride: stride }
    }

    /// Without the first vectors, and without the first numbers of each.
    #[inline(always)]
    pub fn skip(self, vectors: usize, depth: usize) -> Self {
        let count = vectors * self.vector_stride + depth * self.depth_stride;
        let data = match self.data {
            Data::F32(at) => Data::F32(at.wrapping_add(count)),
            Data::Bf16(at) => Data::Bf16(at.wrapping_add(count)),
        };
        Self { data, ..self }
    }
}

impl Data {
    fn of(values: Values) -> Self {
        match values {
            Values::F32(x) => Data::F32(x.as_ptr()),
            Values::Bf16(x) => Data::Bf16(x.as_ptr()),
        }
    }
}

vectorized! {
    /// Packs the first `count` vectors of an operand, `depth` numbers of each, into panels `[units][width]`, one after
    /// the other; what is missing of the last is filled with zeros.
    pub unsafe fn pack(
        kernel: &Kernel, target: *mut u32, width: usize, operand: Operand, count: usize, depth: usize
    ) = pack_body
}

#[inline(always)]
unsafe fn pack_body<S: Lanes>(
    kernel: &Kernel,
    target: *mut u32,
    width: usize,
    operand: Operand,
    count: usize,
    depth: usize,
) {
    let job = Job { target: target.cast(), width, count, depth, units: kernel.units(depth) };
    match operand.data {
        Data::F32(data) => job.run::<S, f32>(kernel, data, operand),
        Data::Bf16(data) => job.run::<S, Bf16>(kernel, data, operand),
    }
}

/// Where to pack, and how much.
#[derive(Clone, Copy)]
struct Job {
    target: *mut f32,
    width: usize,
    count: usize,
    depth: usize,
    units: usize,
}

impl Job {
    #[inline(always)]
    unsafe fn run<S: Lanes, E: Element>(self, kernel: &Kernel, data: *const E, operand: Operand) {
        match (operand.depth_stride == 1, kernel.pairs, kernel.rounded) {
            (true, true, _) => self.transpose::<S>(|vector, unit| {
                units_of_pairs(data.add(vector * operand.vector_stride + 2 * unit), self.depth - 2 * unit)
            }),
            (true, false, false) => self.transpose::<S>(|vector, unit| {
                load(data.add(vector * operand.vector_stride + unit), self.depth - unit)
            }),
            (true, false, true) => self.transpose::<S>(|vector, unit| {
                load::<S, E>(data.add(vector * operand.vector_stride + unit), self.depth - unit)
                    .round_to_bf16()
            }),
            (false, true, _) => self.copy::<S>(|unit, vector, count| {
                let even = data.wrapping_add(2 * unit * operand.depth_stride + vector);
                prefetch(even.wrapping_add(AHEAD * operand.depth_stride));
                prefetch(even.wrapping_add((AHEAD + 1) * operand.depth_stride));
                let odd = if 2 * unit + 1 < self.depth {
                    load::<S, E>(even.add(operand.depth_stride), count)
                } else {
                    S::splat(0.0)
                };
                let even = load::<S, E>(even, count);
                if size_of::<E>() == 2 { S::pair(even, odd) } else { S::pair_rounded(even, odd) }
            }),
            (false, false, false) => self.copy::<S>(|unit, vector, count| {
                let source = data.wrapping_add(unit * operand.depth_stride + vector);
                prefetch(source.wrapping_add(AHEAD * operand.depth_stride));
                load(source, count)
            }),
            (false, false, true) => self.copy::<S>(|unit, vector, count| {
                load::<S, E>(data.add(unit * operand.depth_stride + vector), count).round_to_bf16()
            }),
        }
    }

    /// Vectors whose numbers lie side by side: sixteen by sixteen units are turned in registers.
    #[inline(always)]
    unsafe fn transpose<S: Lanes>(self, load: impl Fn(usize, usize) -> S) {
        for panel in (0..self.count).step_by(self.width) {
            for first in (0..self.width).step_by(LANES) {
                let lanes = (self.width - first).min(LANES);
                let live = self.count.saturating_sub(panel + first).min(lanes);
                for unit in (0..self.units).step_by(LANES) {
                    let mut rows = [S::splat(0.0); LANES];
                    for (i, row) in rows.iter_mut().enumerate().take(live) {
                        *row = load(panel + first + i, unit);
                    }
                    let columns = S::transpose(rows);
                    let at = self.target.add(panel * self.units + unit * self.width + first);
                    for (j, column) in columns.iter().enumerate().take(self.units - unit) {
                        store(*column, at.add(j * self.width), lanes);
                    }
                }
            }
        }
    }

    /// Vectors side by side: sixteen at a time are copied, unit by unit, all panels of a unit together because they
    /// follow each other in memory.
    #[inline(always)]
    unsafe fn copy<S: Lanes>(self, load: impl Fn(usize, usize, usize) -> S) {
        for unit in 0..self.units {
            for panel in (0..self.count).step_by(self.width) {
                let at = self.target.add(panel * self.units + unit * self.width);
                for first in (0..self.width).step_by(LANES) {
                    let lanes = (self.width - first).min(LANES);
                    let live = self.count.saturating_sub(panel + first).min(lanes);
                    store(load(unit, panel + first, live), at.add(first), lanes);
                }
            }
        }
    }
}

/// Up to sixteen elements of the `available` ones.
#[inline(always)]
unsafe fn load<S: Lanes, E: Element>(source: *const E, available: usize) -> S {
    if available >= LANES { E::load(source) } else { E::load_partial(source, available) }
}

/// Up to sixteen pairs of bf16 from the `available` elements.
#[inline(always)]
unsafe fn units_of_pairs<S: Lanes, E: Element>(source: *const E, available: usize) -> S {
    if size_of::<E>() == 2 && available >= 2 * LANES {
        // They lie in memory as they must lie in the lanes.
        return S::load(source.cast());
    }
    let high = if available > LANES { load(source.add(LANES), available - LANES) } else { S::splat(0.0) };
    S::narrow(load(source, available), high)
}

/// How many rows of a matrix ahead its elements are fetched: rows are too far apart for the processor to foresee.
const AHEAD: usize = 8;

#[inline(always)]
unsafe fn store<S: Lanes>(lanes: S, target: *mut f32, count: usize) {
    if count == LANES { lanes.store(target) } else { lanes.store_partial(target, count) }
}
