//! Dropout by counter-based random numbers: nothing is kept for backward, the mask is made again.

use crate::ops::PASS;
use crate::ops::philox::Key;
use crate::parallel::for_ranges;

/// A dropout: which random numbers, and how many elements fall.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Where the random numbers come from.
    pub key: Key,
    /// Share of elements dropped, in [0, 1).
    pub probability: f64,
}

impl Dropout {
    /// What survivors are multiplied by.
    pub fn factor(&self) -> f32 {
        (1.0 / (1.0 - self.probability)) as f32
    }

    /// The least word that survives: uniform(word) >= probability exactly when word >= threshold.
    pub fn threshold(&self) -> u64 {
        (self.probability * 4_294_967_296.0 - 0.5).ceil().max(0.0) as u64
    }
}

/// out = dropout(x) for `length` elements; `out` may be `x`, but not overlap it otherwise.
pub unsafe fn dropout(out: *mut f32, x: *const f32, length: usize, dropout: Dropout) {
    let pointers = (out as usize, x as usize);
    let (factor, threshold) = (dropout.factor(), dropout.threshold());
    for_ranges(length, PASS, |range| unsafe {
        let (out, x) = (pointers.0 as *mut f32, pointers.1 as *const f32);
        let mut i = range.start;
        while i < range.end {
            let position = dropout.key.offset + i as u64;
            let words = dropout.key.block(position / 4);
            for word in &words[(position % 4) as usize..] {
                if i == range.end {
                    break;
                }
                *out.add(i) = if u64::from(*word) >= threshold { *x.add(i) * factor } else { 0.0 };
                i += 1;
            }
        }
    });
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
