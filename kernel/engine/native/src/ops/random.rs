//! Normally distributed numbers for initial weights.

use crate::ops::philox::{Key, blocks, uniform};
use crate::parallel::{Shared, for_ranges};
use crate::simd::{LANES, Lanes, vectorized};
use std::f64::consts::{LN_2, SQRT_2, TAU};

/// Elements of one task.
const CHUNK: usize = 16 * 1024;
/// Elements that sixteen blocks of random words make.
const GROUP: usize = 4 * LANES;

/// out ~ N(0, deviation²): Box-Muller in f64. Elements 2k and 2k+1 of the stream are r cos(2πu₂) and r sin(2πu₂)
/// with r = sqrt(-2 ln u₁), (u₁, u₂) being words (0, 1) or (2, 3) of their Philox block.
pub fn random_normal(out: &mut [f32], deviation: f64, key: Key) {
    let length = out.len();
    let out = Shared::new(out);
    for_ranges(length, CHUNK, |range| unsafe {
        let key = Key { offset: key.offset + range.start as u64, ..key };
        normal_range(out.at(range.start), range.len(), deviation, key);
    });
}

vectorized! {
    unsafe fn normal_range(out: *mut f32, length: usize, deviation: f64, key: Key) = normal_range_body
}

#[inline(always)]
unsafe fn normal_range_body<S: Lanes>(out: *mut f32, length: usize, deviation: f64, key: Key) {
    // Elements of the first block that lie before this range.
    let skip = (key.offset % 4) as usize;
    let first = key.offset / 4;
    for group in 0..(skip + length).div_ceil(GROUP) {
        let start = first + (group * LANES) as u64;
        let words = blocks(&key, std::array::from_fn(|lane| start + lane as u64));
        let pairs =
            [normal_pairs(words[0], words[1], deviation), normal_pairs(words[2], words[3], deviation)];
        let begin = (group * GROUP).max(skip);
        let end = ((group + 1) * GROUP).min(skip + length);
        for position in begin..end {
            let (lane, element) = (position / 4 % LANES, position % 4);
            *out.add(position - skip) = pairs[element / 2][element % 2][lane];
        }
    }
}

/// Sixteen pairs (cosine parts, sine parts) from sixteen pairs of words; plain loops that compilers make vectors of.
#[inline(always)]
fn normal_pairs(radius: [u32; LANES], angle: [u32; LANES], deviation: f64) -> [[f32; LANES]; 2] {
    let mut pairs = [[0.0f32; LANES]; 2];
    for lane in 0..LANES {
        let r = deviation * (-2.0 * ln(uniform(radius[lane]))).sqrt();
        let (sine, cosine) = sin_cos_of_turn(uniform(angle[lane]));
        pairs[0][lane] = (r * cosine) as f32;
        pairs[1][lane] = (r * sine) as f32;
    }
    pairs
}

/// ln x of a normal number to about 1e-15 of itself: x = m 2^e with m near 1, ln m = 2 artanh((m - 1) / (m + 1)).
#[inline(always)]
fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let m = f64::from_bits(bits & MANTISSA | 1023 << 52);
    let halve = m > SQRT_2;
    let m = if halve { 0.5 * m } else { m };
    let e = ((bits >> 52) as u32 as i32 - 1023 + i32::from(halve)) as f64;
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = series * z + 1.0 / odd;
    }
    e * LN_2 + 2.0 * s * (series * z + 1.0)
}

/// (sin 2πu, cos 2πu) for u in [0, 1] to about 1e-16: Taylor's series of the rest to the nearest quarter turn.
#[inline(always)]
fn sin_cos_of_turn(u: f64) -> (f64, f64) {
    let quarter = (4.0 * u + 0.5) as u32;
    let x = (u - 0.25 * f64::from(quarter)) * TAU;
    let z = -x * x;
    let (mut sine, mut cosine) = (1.0, 1.0);
    for n in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        sine = 1.0 + sine * z / (n * (n + 1.0));
        cosine = 1.0 + cosine * z / (n * (n - 1.0));
    }
    sine *= x;
    let (a, b) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let a = if quarter & 2 == 0 { a } else { -a };
    let b = if (quarter + 1) & 2 == 0 { b } else { -b };
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_their_position_in_the_stream_only() {
        let key = Key { seed: 42, stream: 7, offset: 0 };
        let mut all = vec![0.0; 10_000];
        random_normal(&mut all, 0.02, key);
        let mut part = vec![0.0; 5000];
        random_normal(&mut part, 0.02, Key { offset: 1237, ..key });
        assert_eq!(part, all[1237..6237]);
    }

    #[test]
    fn logarithms_and_turns_are_exact_to_the_last_digits() {
        for i in 0..100_000u32 {
            let u = uniform(i.wrapping_mul(2_654_435_761));
            assert!((ln(u) / u.ln() - 1.0).abs() < 1e-14, "ln {u}");
            let ((sine, cosine), (s, c)) = (sin_cos_of_turn(u), (TAU * u).sin_cos());
            assert!((sine - s).abs() < 1e-14 && (cosine - c).abs() < 1e-14, "turn {u}");
        }
    }

    #[test]
    fn numbers_have_the_mean_and_deviation_asked_for() {
        let mut x = vec![0.0; 200_000];
        random_normal(&mut x, 2.0, Key { seed: 1, stream: 0, offset: 3 });
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / x.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 4.0).abs() < 0.05, "{mean} {variance}");
    }
}
