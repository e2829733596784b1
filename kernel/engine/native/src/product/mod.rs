//! Matrix products with f32 sums, of f32 numbers or of numbers rounded to bf16.
//!
//! The left-hand side is packed once, by all threads; then each task takes some columns of the result: it packs them
//! block by block of the depth, multiplies them with every panel of rows, and hands each finished tile to the caller's
//! epilogue while the tile is in its cache. Tasks are cut by the sizes alone: the number of threads changes no bit.

mod few;
mod kernel;
mod pack;
mod peak;
mod tile;

pub use kernel::{Kernel, Precision};
pub use pack::{Operand, pack};
pub use peak::peak;
pub use tile::{AHEAD, Store, Tile};

use few::{FEW, product_of_few};

use crate::memory::Buffer;
use crate::parallel::{Shared, for_each, range, ranges};
use std::cell::RefCell;
use std::ops::Range;

/// Units of a block of the depth: a panel of it (14 KB) stays in L1, a strip (32 KB) in L2.
const DEPTH: usize = 256;
/// Rows of a tile at most, up to whole panels, and numbers in it: with its strips it stays in L2.
const TILE_ROWS: usize = 1024;
const TILE: usize = 64 * 1024;
/// Most columns of a tile, and tiles a result is cut into at least where it has the columns.
const TILE_COLUMNS: usize = 256;
const TILES: usize = 12;

thread_local! {
    /// The strips and the tile of a thread's task, kept from call to call.
    static TASK: RefCell<(Buffer<u32>, Buffer<f32>)> = const { RefCell::new((Buffer::new(), Buffer::new())) };
}

/// The left-hand side of a product, kept from call to call.
pub struct Packed {
    panels: Buffer<u32>,
    few: Buffer<f32>,
}

impl Packed {
    /// No memory yet.
    pub const fn new() -> Self {
        Self { panels: Buffer::new(), few: Buffer::new() }
    }
}

/// Products a [m,k] · b [k,n]: `finish` gets every tile of the result once. `a` has m vectors of k numbers, `b` n.
pub fn product(
    precision: Precision,
    (m, n, k): (usize, usize, usize),
    a: Operand,
    b: Operand,
    packed: &mut Packed,
    finish: impl Fn(Tile) + Sync,
) {
    if m <= FEW {
        return product_of_few(precision, (m, n, k), a, b, &mut packed.few, finish);
    }
    let kernel = Kernel::of(precision);
    let units = kernel.units(k);
    let panels = Panels { count: ranges(m, kernel.rows), rows: m };
    let left = Shared::new(packed.panels.get(m * units));
    for_each(panels.count, |panel| unsafe {
        let rows = panels.rows(panel..panel + 1);
        pack(&kernel, left.at(rows.start * units), rows.len(), a.skip(rows.start, 0), rows.len(), k);
    });

    let blocks = ranges(panels.count, TILE_ROWS.div_ceil(kernel.rows));
    let panels_of = |block: usize| block * panels.count / blocks..(block + 1) * panels.count / blocks;
    let width = tile_columns(precision, m, n);
    for_each(blocks * ranges(n, width), |task| unsafe {
        let panels_of_tile = panels_of(task % blocks);
        let columns = range(n, width, task / blocks);
        let rows = panels.rows(panels_of_tile.clone());
        let strips = ranges(columns.len(), kernel.columns);
        let stride = strips * kernel.columns;
        TASK.with_borrow_mut(|(right, tile)| {
            let right = right.get(DEPTH * stride).as_mut_ptr();
            let tile = tile.get(rows.len() * stride).as_mut_ptr();
            for block in 0..ranges(units, DEPTH).max(1) {
                let depth = range(units, DEPTH, block);
                let first = depth.start * kernel.unit();
                let numbers = (k - first).min(depth.len() * kernel.unit());
                let source = b.skip(columns.start, first);
                pack(&kernel, right, kernel.columns, source, columns.len(), numbers);
                for panel in panels_of_tile.clone() {
                    let panel_rows = panels.rows(panel..panel + 1);
                    let from = left.at(panel_rows.start * units + depth.start * panel_rows.len());
                    let to = tile.add((panel_rows.start - rows.start) * stride);
                    for strip in 0..strips {
                        let start = strip * kernel.columns;
                        kernel.run(
                            panel_rows.len(),
                            depth.len(),
                            from,
                            right.add(start * depth.len()),
                            to.add(start),
                            stride,
                            block > 0,
                        );
                    }
                }
            }
            finish(Tile::new(rows, columns, tile, stride));
        });
    });
}

/// Packs the first `rows` vectors of an operand, `depth` numbers of each, as panels: `rows * units` places.
pub unsafe fn pack_rows(kernel: &Kernel, target: *mut u32, operand: Operand, rows: usize, depth: usize) {
    let panels = Panels { count: ranges(rows, kernel.rows), rows };
    for panel in 0..panels.count {
        let part = panels.rows(panel..panel + 1);
        let to = target.add(part.start * kernel.units(depth));
        pack(kernel, to, part.len(), operand.skip(part.start, 0), part.len(), depth);
    }
}

/// Packs the first `columns` vectors of an operand, `depth` numbers of each, as strips: `padded(columns) * units` places.
pub unsafe fn pack_columns(
    kernel: &Kernel,
    target: *mut u32,
    operand: Operand,
    columns: usize,
    depth: usize,
) {
    pack(kernel, target, kernel.columns, operand, columns, depth);
}

/// c [rows, padded(columns)] (rows of `stride`) = or, when `add`, += packed rows times packed columns, on this thread.
/// The rows have `units` units; strips are `strip_units` apart, and their first `units` are taken.
pub unsafe fn multiply(
    kernel: &Kernel,
    (rows, columns, units): (usize, usize, usize),
    a: *const u32,
    b: *const u32,
    strip_units: usize,
    c: *mut f32,
    stride: usize,
    add: bool,
) {
    let panels = Panels { count: ranges(rows, kernel.rows), rows };
    for block in 0..ranges(units, DEPTH) {
        let depth = range(units, DEPTH, block);
        for panel in 0..panels.count {
            let part = panels.rows(panel..panel + 1);
            let from = a.add(part.start * units + depth.start * part.len());
            for start in (0..columns).step_by(kernel.columns) {
                let strip = b.add(start * strip_units + depth.start * kernel.columns);
                let to = c.add(part.start * stride + start);
                kernel.run(part.len(), depth.len(), from, strip, to, stride, add || block > 0);
            }
        }
    }
}

/// Columns of the tiles that a product [m,n] is cut into (the last have fewer): as many as a tile's cache holds, few
/// enough that there is a tile for every thread.
pub fn tile_columns(precision: Precision, m: usize, n: usize) -> usize {
    if m <= FEW {
        return few::columns(n);
    }
    let kernel = Kernel::of(precision);
    let fits = TILE / m.clamp(1, TILE_ROWS);
    let shared = n.div_ceil(TILES).next_multiple_of(kernel.columns);
    fits.min(TILE_COLUMNS).min(shared).next_multiple_of(kernel.columns)
}

/// Rows in panels that differ by at most one row: none is left with a few rows that would waste its columns' loads.
#[derive(Clone, Copy)]
struct Panels {
    count: usize,
    rows: usize,
}

impl Panels {
    fn rows(&self, panels: Range<usize>) -> Range<usize> {
        let start = |panel: usize| panel * self.rows / self.count.max(1);
        start(panels.start)..start(panels.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Bf16;
    use crate::testing::{assert_close, numbers};
    use crate::values::Values;

    /// Numbers as f32 and as the bf16 nearest to them, with their exact values.
    fn both(count: usize, seed: u64) -> (Vec<f32>, Vec<Bf16>, Vec<f64>) {
        let x = numbers(count, seed);
        let narrow: Vec<Bf16> = x.iter().map(|&x| Bf16::from_f32(x)).collect();
        let exact = narrow.iter().map(|x| f64::from(x.to_f32())).collect();
        (x, narrow, exact)
    }

    #[test]
    fn products_match_the_definition_in_every_layout_and_precision() {
        let mut packed = Packed::new();
        for (m, n, k) in [
            (1, 1, 1),
            (1, 37, 70),
            (2, 300, 5),
            (3, 70, 20),
            (4, 33, 70),
            (5, 1, 9),
            (8, 300, 71),
            (12, 129, 34),
            (13, 40, 19),
            (17, 33, 65),
            (64, 130, 48),
            (29, 71, 1031),
            (1500, 40, 3),
        ] {
            let (a, a_narrow, a_exact) = both(m * k, 1);
            let (b, b_narrow, b_exact) = both(k * n, 2);
            for case in 0..16 {
                let (a_columns, b_columns) = (case & 1 > 0, case & 2 > 0);
                let (narrow, precision) =
                    (case & 4 > 0, if case & 8 > 0 { Precision::Bf16 } else { Precision::F32 });
                let operand = |values: Values, along_columns: bool, vectors: usize| {
                    if along_columns {
                        Operand::along_columns(values, vectors)
                    } else {
                        Operand::along_rows(values, k)
                    }
                };
                let left = if narrow { Values::Bf16(&a_narrow) } else { Values::F32(&a) };
                let right = if narrow { Values::Bf16(&b_narrow) } else { Values::F32(&b) };
                let rounded = narrow || precision == Precision::Bf16;
                let value =
                    |exact: &[f64], x: &[f32], vector: usize, l: usize, columns: bool, vectors: usize| {
                        let at = if columns { l * vectors + vector } else { vector * k + l };
                        if rounded { exact[at] } else { f64::from(x[at]) }
                    };
                let expected: Vec<f64> = (0..m * n)
                    .map(|at| {
                        let (i, j) = (at / n, at % n);
                        (0..k)
                            .map(|l| {
                                value(&a_exact, &a, i, l, a_columns, m)
                                    * value(&b_exact, &b, j, l, b_columns, n)
                            })
                            .sum()
                    })
                    .collect();
                let mut out = vec![9.0f32; m * n];
                let shared = Shared::new(&mut out);
                let (left, right) = (operand(left, a_columns, m), operand(right, b_columns, n));
                product(precision, (m, n, k), left, right, &mut packed, |tile| {
                    unsafe { tile.put(shared, n, Store::Replace) };
                });
                assert_close(&out, &expected, 3e-5);
            }
        }
    }
}
