//! Dropout by counter-based random numbers: nothing is kept for backward, the mask is made again.

use crate::ops::PASS;
use crate::ops::philox::{Key, blocks};
use crate::parallel::for_ranges;
use crate::simd::{LANES, Lanes, vectorized};

/// A dropout: which random numbers, and how many elements fall.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Where the random numbers come from.
    pub key: Key,
    /// Share of elements dropped, in [0, 1).
    pub probability: f64,
}

impl Dropout {
    /// What elements are multiplied by.
    pub fn factors(&self) -> Factors {
        // uniform(word) >= probability exactly when word >= probability * 2^32 - 0.5; below 2^32 as probability < 1.
        let threshold = (self.probability * 4_294_967_296.0 - 0.5).ceil().max(0.0);
        Factors { threshold: threshold as u32, keep: (1.0 / (1.0 - self.probability)) as f32 }
    }
}

/// What elements are multiplied by, from their random words.
#[derive(Clone, Copy)]
pub struct Factors {
    /// The least word that survives.
    threshold: u32,
    /// Of survivors.
    keep: f32,
}

impl Factors {
    /// The factor of the element whose random word is `word`.
    #[inline(always)]
    pub fn of(&self, word: u32) -> f32 {
        if word >= self.threshold { self.keep } else { 0.0 }
    }
}

/// out = dropout(x) for `length` elements; `out` may be `x`, but not overlap it otherwise.
pub unsafe fn dropout(out: *mut f32, x: *const f32, length: usize, dropout: Dropout) {
    let pointers = (out as usize, x as usize);
    for_ranges(length, PASS, |range| unsafe {
        let (out, x) = (pointers.0 as *mut f32, pointers.1 as *const f32);
        let key = Key { offset: dropout.key.offset + range.start as u64, ..dropout.key };
        drop_range(out.add(range.start), x.add(range.start), range.len(), Dropout { key, ..dropout });
    });
}

vectorized! {
    /// The same on one thread.
    pub unsafe fn drop_range(out: *mut f32, x: *const f32, length: usize, dropout: Dropout) = drop_range_body
}

#[inline(always)]
unsafe fn drop_range_body<S: Lanes>(out: *mut f32, x: *const f32, length: usize, dropout: Dropout) {
    let factors = dropout.factors();
    // Elements of the first block that lie before this range.
    let skip = (dropout.key.offset % 4) as usize;
    let first = dropout.key.offset / 4;
    for group in 0..(skip + length).div_ceil(4 * LANES) {
        let start = first + (group * LANES) as u64;
        let words = blocks(&dropout.key, std::array::from_fn(|lane| start + lane as u64));
        let mut mask = [0.0f32; 4 * LANES];
        for lane in 0..LANES {
            for j in 0..4 {
                mask[4 * lane + j] = factors.of(words[j][lane]);
            }
        }
        let begin = (group * 4 * LANES).max(skip);
        let end = ((group + 1) * 4 * LANES).min(skip + length);
        for position in begin..end {
            let at = position - skip;
            *out.add(at) = *x.add(at) * mask[position - group * 4 * LANES];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::philox::uniform;

    #[test]
    fn elements_survive_when_their_uniform_number_reaches_the_probability() {
        let settings = Dropout { key: Key { seed: 9, stream: 1 << 40, offset: 6 }, probability: 0.3 };
        let x = vec![2.0f32; 50_001];
        let mut out = x.clone();
        unsafe { dropout(out.as_mut_ptr(), out.as_ptr(), out.len(), settings) };
        for (i, &value) in out.iter().enumerate() {
            let position = i as u64 + 6;
            let u = uniform(settings.key.block(position / 4)[(position % 4) as usize]);
            assert_eq!(value, if u >= 0.3 { 2.0 * (1.0 / 0.7f64) as f32 } else { 0.0 });
        }
    }
}
