//! Reductions of several sources element by element, always in the order of the sources.

use super::call::Reduction;
use crate::memory::DataType;
use crate::simd::{Bf16, Element, LANES, Lanes, vectorized};

/// out[i] = source 0[i] ∘ source 1[i] ∘ … from the left for `length` elements; `out` may be one of the sources, which
/// are at least one. Sums of bf16 are taken in f32 and rounded once; integers wrap around.
pub unsafe fn reduce(
    out: *mut u8,
    sources: &[*const u8],
    length: usize,
    elements: DataType,
    reduction: Reduction,
) {
    match (elements, reduction) {
        (DataType::F32, Reduction::Sum) => sum_f32(out.cast(), sources, length),
        (DataType::Bf16, Reduction::Sum) => sum_bf16(out.cast(), sources, length),
        (DataType::I32, Reduction::Sum) => fold(out, sources, length, |a: i32, b| a.wrapping_add(b)),
        (DataType::F32, Reduction::Max) => {
            fold(out, sources, length, |a: f32, b| if greater(a, b) { a } else { b })
        }
        (DataType::Bf16, Reduction::Max) => {
            fold(out, sources, length, |a: Bf16, b| if greater(a.to_f32(), b.to_f32()) { a } else { b });
        }
        (DataType::I32, Reduction::Max) => fold(out, sources, length, i32::max),
    }
}

/// Whether `a` is the one to keep: what is not a number counts as greatest, so that no overflow is lost.
fn greater(a: f32, b: f32) -> bool {
    a > b || a.is_nan()
}

unsafe fn fold<T: Copy>(out: *mut u8, sources: &[*const u8], length: usize, combine: impl Fn(T, T) -> T) {
    let out: *mut T = out.cast();
    for i in 0..length {
        let value = |source: &*const u8| source.cast::<T>().add(i).read();
        let first = value(&sources[0]);
        out.add(i).write(sources[1..].iter().fold(first, |a, source| combine(a, value(source))));
    }
}

vectorized! { unsafe fn sum_f32(out: *mut f32, sources: &[*const u8], length: usize) = sum_body_f32 }
vectorized! { unsafe fn sum_bf16(out: *mut Bf16, sources: &[*const u8], length: usize) = sum_body_bf16 }

#[inline(always)]
unsafe fn sum_body_f32<S: Lanes>(out: *mut f32, sources: &[*const u8], length: usize) {
    sum::<S, f32>(out, sources, length);
}

#[inline(always)]
unsafe fn sum_body_bf16<S: Lanes>(out: *mut Bf16, sources: &[*const u8], length: usize) {
    sum::<S, Bf16>(out, sources, length);
}

#[inline(always)]
unsafe fn sum<S: Lanes, E: Element>(out: *mut E, sources: &[*const u8], length: usize) {
    let mut i = 0;
    while i + LANES <= length {
        let mut lanes: S = E::load(sources[0].cast::<E>().add(i));
        for source in &sources[1..] {
            lanes = lanes.add(E::load(source.cast::<E>().add(i)));
        }
        E::store_partial(lanes, out.add(i), LANES);
        i += LANES;
    }
    let rest = length - i;
    let mut lanes: S = E::load_partial(sources[0].cast::<E>().add(i), rest);
    for source in &sources[1..] {
        lanes = lanes.add(E::load_partial(source.cast::<E>().add(i), rest));
    }
    E::store_partial(lanes, out.add(i), rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    unsafe fn reduced<T: Copy>(sources: &[Vec<T>], elements: DataType, reduction: Reduction) -> Vec<T> {
        let pointers: Vec<*const u8> = sources.iter().map(|source| source.as_ptr().cast()).collect();
        // In place of the second source, which must come out the same.
        let mut out = sources[1].clone();
        let mut in_place = pointers.clone();
        in_place[1] = out.as_ptr().cast();
        reduce(out.as_mut_ptr().cast(), &in_place, out.len(), elements, reduction);
        out
    }

    #[test]
    fn sums_go_from_the_left_and_bf16_is_rounded_once() {
        let sources: Vec<Vec<f32>> = (0..4).map(|seed| numbers(1003, seed + 1)).collect();
        let sums = unsafe { reduced(&sources, DataType::F32, Reduction::Sum) };
        let narrow: Vec<Vec<Bf16>> =
            sources.iter().map(|source| source.iter().map(|&x| Bf16::from_f32(x)).collect()).collect();
        let narrow_sums = unsafe { reduced(&narrow, DataType::Bf16, Reduction::Sum) };
        for i in 0..1003 {
            assert_eq!(sums[i], ((sources[0][i] + sources[1][i]) + sources[2][i]) + sources[3][i]);
            let exact =
                narrow[1..].iter().fold(narrow[0][i].to_f32(), |sum, source| sum + source[i].to_f32());
            assert_eq!(narrow_sums[i], Bf16::from_f32(exact));
        }
    }

    #[test]
    fn integers_wrap_and_a_greatest_that_is_not_a_number_stays() {
        let integers = [vec![i32::MAX, 5, -7], vec![1, -9, -3]];
        unsafe {
            assert_eq!(reduced(&integers, DataType::I32, Reduction::Sum), [i32::MIN, -4, -10]);
            assert_eq!(reduced(&integers, DataType::I32, Reduction::Max), [i32::MAX, 5, -3]);
            let not = f32::NAN;
            let floats = [vec![not, 1.0, 2.0], vec![f32::INFINITY, not, -3.0], vec![4.0, 4.0, 4.0]];
            let greatest = reduced(&floats, DataType::F32, Reduction::Max);
            assert!(greatest[0].is_nan() && greatest[1].is_nan());
            assert_eq!(greatest[2], 4.0);
            let narrow = floats.map(|source| source.into_iter().map(Bf16::from_f32).collect::<Vec<_>>());
            let greatest = reduced(&narrow, DataType::Bf16, Reduction::Max);
            assert!(greatest[0].to_f32().is_nan() && greatest[1].to_f32().is_nan());
            assert_eq!(greatest[2].to_f32(), 4.0);
        }
    }
}
