//! Work split over the engine's threads. Tasks are cut by size alone, never by the number of threads, and each
//! writes its own part of the result: sums come out bitwise the same however many threads there are.

use rayon::prelude::*;
use std::ops::Range;

/// Calls `task(0)`, …, `task(count - 1)`, spread over the threads of the pool this is called on.
pub fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    if count <= 1 || rayon::current_num_threads() == 1 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(&task);
    }
}

/// Number of ranges that [`for_ranges`] makes.
pub fn ranges(length: usize, size: usize) -> usize {
    length.div_ceil(size)
}

/// The `index`-th of the ranges of `size` elements (the last may be shorter) that make up `length`.
pub fn range(length: usize, size: usize, index: usize) -> Range<usize> {
    index * size..((index + 1) * size).min(length)
}

/// Calls `task` with each range of `size` elements of `length`, in parallel.
pub fn for_ranges(length: usize, size: usize, task: impl Fn(Range<usize>) + Sync) {
    for_each(ranges(length, size), |index| task(range(length, size, index)));
}

/// A slice whose parts several tasks write at once.
#[derive(Clone, Copy)]
pub struct Shared<T> {
    data: *mut T,
    length: usize,
}

unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `slice` for as long as the caller keeps it borrowed.
    pub fn new(slice: &mut [T]) -> Self {
        Self { data: slice.as_mut_ptr(), length: slice.len() }
    }

    /// Elements of the slice.
    pub fn len(&self) -> usize {
        self.length
    }

    /// A part of the slice. No two tasks may hold overlapping parts at a time.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        std::slice::from_raw_parts_mut(self.data.add(range.start), range.len())
    }

    /// Where element `index` is. Within the slice or one past it.
    pub unsafe fn at(&self, index: usize) -> *mut T {
        debug_assert!(index <= self.length);
        self.data.add(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_once() {
        let mut seen = vec![0u8; 1003];
        let shared = Shared::new(&mut seen);
        for_ranges(1003, 100, |range| unsafe {
            for cell in shared.part(range) {
                *cell += 1;
            }
        });
        assert!(seen.iter().all(|&n| n == 1));
    }
}
