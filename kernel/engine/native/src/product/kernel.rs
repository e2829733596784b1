//! Micro-kernels: the product of one panel of rows and one strip of columns, both packed, kept in registers.
//!
//! A unit is what one multiply-add of a lane takes from each side: a number of f32, or a pair of bf16 numbers where the
//! processor has dot products of pairs (AVX512-BF16). Panels are `[unit][row]`, strips `[unit][column]`, 4 bytes each.

#[cfg(target_arch = "x86_64")]
use crate::simd::Level;
use crate::simd::{LANES, Lanes, Portable, level, prefetch_all};
use crate::values::Values;

/// What the factors of a product are rounded to. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Not at all.
    F32,
    /// bf16
    Bf16,
}

impl Precision {
    /// Products of which a factor is kept in bf16 are bf16 products.
    pub fn of(factors: &[Values]) -> Self {
        let narrow = factors.iter().any(|values| matches!(values, Values::Bf16(_)));
        if narrow { Precision::Bf16 } else { Precision::F32 }
    }
}

/// Product of `rows` rows and one strip over `units`: c (rows of `stride`) = or, when `add`, += the product.
type Run =
    unsafe fn(rows: usize, units: usize, a: *const u32, b: *const u32, c: *mut f32, stride: usize, add: bool);

/// A micro-kernel and the shape of what it multiplies.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// Most rows of a panel.
    pub rows: usize,
    /// Columns of a strip.
    pub columns: usize,
    /// Units are pairs of bf16.
    pub pairs: bool,
    /// Units are f32 numbers that packing rounds to bf16.
    pub rounded: bool,
    run: Run,
}

impl Kernel {
    /// The kernel of this processor (or of the level that is forced) for a precision.
    pub fn of(precision: Precision) -> Self {
        let rounded = precision == Precision::Bf16;
        let shape = |rows, columns, run| Self { rows, columns, pairs: false, rounded, run };
        match level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 if rounded => {
                Self { rows: 14, columns: 32, pairs: true, rounded: false, run: x86::avx512_bf16 }
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 | Level::Avx512 => shape(14, 32, x86::avx512),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => shape(6, 16, x86::avx2),
            _ => shape(PORTABLE_ROWS, 16, portable),
        }
    }

    /// Units in `depth` numbers; a pair may be half empty.
    pub fn units(&self, depth: usize) -> usize {
        if self.pairs { depth.div_ceil(2) } else { depth }
    }

    /// `count` columns as whole strips.
    pub fn padded(&self, count: usize) -> usize {
        count.next_multiple_of(self.columns)
    }

    /// Numbers in one unit.
    pub fn unit(&self) -> usize {
        if self.pairs { 2 } else { 1 }
    }

    /// Panel times strip; see [`Run`]. `rows` is from 1 to `self.rows`, c has `self.columns` columns.
    #[inline(always)]
    pub unsafe fn run(
        &self,
        rows: usize,
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        stride: usize,
        add: bool,
    ) {
        (self.run)(rows, units, a, b, c, stride, add);
    }
}

/// Rows whose sums the registers hold: NEON has 32 (4 a vector of [`Lanes`]), SSE 16.
const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 3 };

/// Evaluates a call in which `$rows` is a constant: one of the counts, that which `$value` has.
macro_rules! for_rows {
    ($value:expr, [$($count:literal)*], $rows:ident => $call:expr) => {
        match $value {
            $($count => {
                const $rows: usize = $count;
                $call
            })*
            rows => unreachable!("a panel of {rows} rows"),
        }
    };
}

unsafe fn portable(
    rows: usize,
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    stride: usize,
    add: bool,
) {
    for_rows!(rows, [1 2 3 4 5 6], ROWS => multiply::<Portable, 1, ROWS>(units, a, b, c, stride, add))
}

/// ROWS x (VECTORS * 16) sums of products of f32.
#[inline(always)]
unsafe fn multiply<S: Lanes, const VECTORS: usize, const ROWS: usize>(
    units: usize,
    a: *const u32,
    b: *const u32,
    c: *mut f32,
    stride: usize,
    add: bool,
) {
    let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
    for i in 0..ROWS {
        prefetch_all(c.add(i * stride), LANES * VECTORS);
    }
    let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
    for _ in 0..units {
        let mut columns = [S::splat(0.0); VECTORS];
        for j in 0..VECTORS {
            columns[j] = S::load(b.add(j * LANES));
        }
        for i in 0..ROWS {
            let factor = S::splat(*a.add(i));
            for j in 0..VECTORS {
                sums[i][j] = columns[j].fma(factor, sums[i][j]);
            }
        }
        a = a.add(ROWS);
        b = b.add(VECTORS * LANES);
    }
    for i in 0..ROWS {
        for j in 0..VECTORS {
            let at = c.add(i * stride + j * LANES);
            if add { S::load(at).add(sums[i][j]).store(at) } else { sums[i][j].store(at) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::multiply;
    use crate::simd::{Avx2, Avx512, prefetch_all};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(
        rows: usize,
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        stride: usize,
        add: bool,
    ) {
        for_rows!(rows, [1 2 3 4 5 6], ROWS => multiply::<Avx2, 1, ROWS>(units, a, b, c, stride, add))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn avx512(
        rows: usize,
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        stride: usize,
        add: bool,
    ) {
        for_rows!(
            rows, [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
            ROWS => multiply::<Avx512<false>, 2, ROWS>(units, a, b, c, stride, add)
        )
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub unsafe fn avx512_bf16(
        rows: usize,
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        stride: usize,
        add: bool,
    ) {
        for_rows!(
            rows, [1 2 3 4 5 6 7 8 9 10 11 12 13 14],
            ROWS => multiply_pairs::<2, ROWS>(units, a, b, c, stride, add)
        )
    }

    /// ROWS x (VECTORS * 16) sums of dot products of pairs of bf16.
    #[inline(always)]
    unsafe fn multiply_pairs<const VECTORS: usize, const ROWS: usize>(
        units: usize,
        a: *const u32,
        b: *const u32,
        c: *mut f32,
        stride: usize,
        add: bool,
    ) {
        let pairs = |bits: __m512i| std::mem::transmute::<__m512i, __m512bh>(bits);
        let (mut a, mut b) = (a, b);
        for i in 0..ROWS {
            prefetch_all(c.add(i * stride), 16 * VECTORS);
        }
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        for _ in 0..units {
            let mut columns = [pairs(_mm512_setzero_si512()); VECTORS];
            for j in 0..VECTORS {
                columns[j] = pairs(_mm512_loadu_si512(b.add(16 * j).cast()));
            }
            for i in 0..ROWS {
                let factors = pairs(_mm512_set1_epi32(*a.add(i) as i32));
                for j in 0..VECTORS {
                    sums[i][j] = _mm512_dpbf16_ps(sums[i][j], columns[j], factors);
                }
            }
            a = a.add(ROWS);
            b = b.add(16 * VECTORS);
        }
        for i in 0..ROWS {
            for j in 0..VECTORS {
                let at = c.add(i * stride + 16 * j);
                let sum = if add { _mm512_add_ps(_mm512_loadu_ps(at), sums[i][j]) } else { sums[i][j] };
                _mm512_storeu_ps(at, sum);
            }
        }
    }
}
