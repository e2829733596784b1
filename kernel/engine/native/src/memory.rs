//! Tensor memory: 64-byte aligned, zeroed, shared by all views of an allocation, freed in queue order.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes in one element; both data types (f32, i32) have four.
pub const ELEMENT: usize = 4;
const ALIGNMENT: usize = 64;

/// One allocation. Its contents belong to the engine's thread: only queued closures touch them.
pub struct Memory {
    /// As given by the allocator; null once freed.
    base: AtomicPtr<u8>,
    /// Elements.
    length: usize,
    layout: Layout,
}

impl Memory {
    /// Zeroed memory for `length` elements, or None when the system has no more.
    pub fn new(length: usize) -> Option<Self> {
        // Aligned by hand: `alloc_zeroed` is lazy (calloc) only at the allocator's own alignment.
        let bytes = length.checked_mul(ELEMENT)?.checked_add(ALIGNMENT)?;
        let layout = Layout::from_size_align(bytes, 16).ok()?;
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        Some(Self { base: AtomicPtr::new(base), length, layout })
    }

    /// Frees at once; every later access through a [`Region`] panics. Idempotent.
    pub fn free(&self) {
        let base = self.base.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !base.is_null() {
            unsafe { dealloc(base, self.layout) };
        }
    }

    fn data(&self) -> *mut u8 {
        let base = self.base.load(Ordering::Acquire);
        assert!(!base.is_null(), "A tensor was used after its memory had been released");
        base.wrapping_add(base.align_offset(ALIGNMENT))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.free();
    }
}

/// `length` elements from `offset` of an allocation; keeps the allocation alive.
#[derive(Clone)]
pub struct Region {
    memory: Arc<Memory>,
    offset: usize,
    length: usize,
}

impl Region {
    /// None when the range lies outside the allocation.
    pub fn new(memory: Arc<Memory>, offset: usize, length: usize) -> Option<Self> {
        (offset.checked_add(length)? <= memory.length).then_some(Self { memory, offset, length })
    }

    /// The allocation.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Where the region lies in memory. Panics when it has been freed.
    fn data<T>(&self) -> *mut T {
        self.memory.data().wrapping_add(self.offset * ELEMENT).cast()
    }

    /// The elements as floats. Engine thread only, and not while the same elements are borrowed mutably.
    pub unsafe fn floats(&self) -> &[f32] {
        std::slice::from_raw_parts(self.data(), self.length)
    }

    /// The elements as mutable floats. Engine thread only; no other borrow of the same elements may live.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn floats_mut(&self) -> &mut [f32] {
        std::slice::from_raw_parts_mut(self.data(), self.length)
    }

    /// The elements as integers. Engine thread only, and not while the same elements are borrowed mutably.
    pub unsafe fn integers(&self) -> &[i32] {
        std::slice::from_raw_parts(self.data(), self.length)
    }

    /// The elements as bytes. Engine thread only; no other borrow of the same elements may live.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self) -> &mut [u8] {
        std::slice::from_raw_parts_mut(self.data(), self.length * ELEMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_aligned_zeroed_and_bounded() {
        let memory = Arc::new(Memory::new(100).unwrap());
        let all = Region::new(memory.clone(), 0, 100).unwrap();
        unsafe {
            assert_eq!(all.floats().as_ptr() as usize % ALIGNMENT, 0);
            assert!(all.floats().iter().all(|&x| x == 0.0));
            all.floats_mut()[99] = 3.0;
            let last = Region::new(memory.clone(), 99, 1).unwrap();
            assert_eq!(last.floats(), [3.0]);
            assert_eq!(last.bytes_mut(), 3.0f32.to_ne_bytes());
        }
        assert!(Region::new(memory.clone(), 99, 2).is_none());
        assert!(Region::new(memory, usize::MAX, 2).is_none());
    }

    #[test]
    #[should_panic(expected = "released")]
    fn use_after_free_panics_instead_of_reading_freed_memory() {
        let memory = Arc::new(Memory::new(1).unwrap());
        let region = Region::new(memory.clone(), 0, 1).unwrap();
        memory.free();
        unsafe { region.floats() };
    }
}
