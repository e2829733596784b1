//! Tensor memory: 64-byte aligned, zeroed, shared by all views of an allocation, freed in queue order.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes in one element; both data types (f32, i32) have four.
pub const ELEMENT: usize = 4;
const ALIGNMENT: usize = 64;
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// One allocation. Its contents belong to the engine's thread: only queued closures touch them.
pub struct Memory {
    /// The first element; null once freed.
    data: AtomicPtr<u8>,
    /// Elements.
    length: usize,
    /// What to give back.
    block: Block,
}

/// Where an allocation came from.
enum Block {
    /// The allocator, whose address is kept.
    Heap(*mut u8, Layout),
    /// Pages of its own: address and bytes.
    #[cfg(target_os = "linux")]
    Pages(*mut u8, usize),
}

unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed memory for `length` elements, or None when the system has no more. The system finds the pages when they
    /// are first touched.
    pub fn new(length: usize) -> Option<Self> {
        let bytes = length.checked_mul(ELEMENT)?;
        #[cfg(target_os = "linux")]
        if bytes >= 2 * HUGE_PAGE {
            return Self::pages(length, bytes);
        }
        // Aligned by hand: `alloc_zeroed` is lazy (calloc) only at the allocator's own alignment.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, 16).ok()?;
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        let data = AtomicPtr::new(base.wrapping_add(base.align_offset(ALIGNMENT)));
        Some(Self { data, length, block: Block::Heap(base, layout) })
    }

    /// Huge pages where the system gives them: a tenth of the page faults' cost at first touch, fewer TLB misses after.
    #[cfg(target_os = "linux")]
    fn pages(length: usize, bytes: usize) -> Option<Self> {
        let size = bytes.checked_add(HUGE_PAGE)?;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = base.cast::<u8>();
        let data = base.wrapping_add(base.align_offset(HUGE_PAGE));
        // Advice only: where it is refused there are small pages.
        unsafe { libc::madvise(data.cast(), bytes, libc::MADV_HUGEPAGE) };
        Some(Self { data: AtomicPtr::new(data), length, block: Block::Pages(base, size) })
    }

    /// Frees at once; every later access through a [`Region`] panics. Idempotent.
    pub fn free(&self) {
        if self.data.swap(std::ptr::null_mut(), Ordering::AcqRel).is_null() {
            return;
        }
        match self.block {
            Block::Heap(base, layout) => unsafe { dealloc(base, layout) },
            #[cfg(target_os = "linux")]
            Block::Pages(base, size) => unsafe {
                libc::munmap(base.cast(), size);
            },
        }
    }

    fn data(&self) -> *mut u8 {
        let data = self.data.load(Ordering::Acquire);
        assert!(!data.is_null(), "A tensor was used after its memory had been released");
        data
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.free();
    }
}

/// Memory that operations use while they run, kept from call to call; grows to the most that was asked for.
#[derive(Default)]
pub struct Scratch(Option<Memory>);

impl Scratch {
    /// `length` floats of any content. Panics when the system has no more memory.
    pub fn floats(&mut self, length: usize) -> &mut [f32] {
        if self.0.as_ref().is_none_or(|memory| memory.length < length) {
            self.0 = None;
            self.0 = Memory::new(length);
        }
        match &self.0 {
            Some(memory) => unsafe { std::slice::from_raw_parts_mut(memory.data().cast(), length) },
            None => panic!("out of memory: {length} numbers of working memory could not be allocated"),
        }
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
    fn large_allocations_are_zeroed_to_their_ends_and_freed_once() {
        let length = 3 << 20;
        let memory = Arc::new(Memory::new(length).unwrap());
        let all = Region::new(memory.clone(), 0, length).unwrap();
        unsafe {
            assert!(all.floats().iter().all(|&x| x == 0.0));
            all.floats_mut().fill(1.0);
        }
        memory.free();
        memory.free();
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
