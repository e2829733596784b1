//! Normally distributed numbers for initial weights.

use crate::ops::philox::{Key, uniform};
use crate::parallel::{Shared, for_ranges};
use std::f64::consts::TAU;

/// Elements of one task: a multiple of four, so that tasks seldom share a Philox block.
const CHUNK: usize = 4096;

/// out ~ N(0, deviation²): Box-Muller in f64. Elements 2k and 2k+1 of the stream are r cos(2πu₂) and r sin(2πu₂)
/// with r = sqrt(-2 ln u₁), (u₁, u₂) being words (0, 1) or (2, 3) of their Philox block.
pub fn random_normal(out: &mut [f32], deviation: f64, key: Key) {
    let length = out.len();
    let out = Shared::new(out);
    for_ranges(length, CHUNK, |range| {
        let part = unsafe { out.part(range.clone()) };
        let first = key.offset + range.start as u64;
        let last = first + part.len() as u64;
        for pair in first / 2..last.div_ceil(2) {
            let words = key.block(pair / 2);
            let half = (pair % 2) as usize * 2;
            let r = deviation * (-2.0 * uniform(words[half]).ln()).sqrt();
            let (sine, cosine) = (TAU * uniform(words[half + 1])).sin_cos();
            for (element, value) in [(2 * pair, r * cosine), (2 * pair + 1, r * sine)] {
                if (first..last).contains(&element) {
                    part[(element - first) as usize] = value as f32;
                }
            }
        }
    });
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
    fn numbers_have_the_mean_and_deviation_asked_for() {
        let mut x = vec![0.0; 200_000];
        random_normal(&mut x, 2.0, Key { seed: 1, stream: 0, offset: 3 });
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / x.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 4.0).abs() < 0.05, "{mean} {variance}");
    }
}
