//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! Layout, shared with the reference engine: key = (seed low 32 bits, seed high 32 bits); element i of a stream lies in
//! block i / 4 with counter = (block low 32, block high 32, stream low 32, stream high 32) and uses word i % 4;
//! uniform(i) = (word + 0.5) / 2^32.

use crate::simd::LANES;

/// A key of random numbers as the engine interface names it: element i of a tensor is element offset + i.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Seed of the run.
    pub seed: u64,
    /// Which of the seed's streams.
    pub stream: u64,
    /// Position of the tensor's first element.
    pub offset: u64,
}

const MULTIPLIER_0: u32 = 0xD251_1F53;
const MULTIPLIER_1: u32 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;

#[inline(always)]
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let wide = u64::from(a) * u64::from(b);
    ((wide >> 32) as u32, wide as u32)
}

/// The four words of one counter: the plain version that the tests hold [`blocks`] against.
#[cfg(test)]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL_0), key[1].wrapping_add(WEYL_1)];
        }
        let (high0, low0) = multiply(MULTIPLIER_0, counter[0]);
        let (high1, low1) = multiply(MULTIPLIER_1, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
    }
    counter
}

#[cfg(test)]
impl Key {
    /// The four words of block `block` (elements 4*block to 4*block + 3 of the stream, whatever the offset).
    pub fn block(&self, block: u64) -> [u32; 4] {
        let counter = [block as u32, (block >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32];
        philox(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }
}

/// The number that (word + 0.5) / 2^32 stands for.
#[inline(always)]
pub fn uniform(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// `words[j][lane]` is word j of the block `blocks[lane]`: sixteen counters at a time, in plain loops that compilers
/// turn into vectors where the caller's instruction set has them (see `vectorized!`).
#[inline(always)]
pub fn blocks(key: &Key, blocks: [u64; LANES]) -> [[u32; LANES]; 4] {
    let mut counter = [
        blocks.map(|block| block as u32),
        blocks.map(|block| (block >> 32) as u32),
        [key.stream as u32; LANES],
        [(key.stream >> 32) as u32; LANES],
    ];
    let mut round_key = [key.seed as u32, (key.seed >> 32) as u32];
    for round in 0..10 {
        if round > 0 {
            round_key = [round_key[0].wrapping_add(WEYL_0), round_key[1].wrapping_add(WEYL_1)];
        }
        let previous = counter;
        for lane in 0..LANES {
            let (high0, low0) = multiply(MULTIPLIER_0, previous[0][lane]);
            let (high1, low1) = multiply(MULTIPLIER_1, previous[2][lane]);
            counter[0][lane] = high1 ^ previous[1][lane] ^ round_key[0];
            counter[1][lane] = low1;
            counter[2][lane] = high0 ^ previous[3][lane] ^ round_key[1];
            counter[3][lane] = low0;
        }
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn sixteen_blocks_at_a_time_equal_single_ones() {
        let key = Key { seed: 0x1234_5678_9abc, stream: 77 << 33, offset: 0 };
        let numbers = std::array::from_fn(|lane| (lane as u64) << (2 * lane));
        let words = blocks(&key, numbers);
        for lane in 0..LANES {
            assert_eq!(key.block(numbers[lane]), [0, 1, 2, 3].map(|j| words[j][lane]));
        }
    }
}
