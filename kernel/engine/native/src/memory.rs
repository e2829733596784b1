//! Tensor memory: 64-byte aligned, zeroed, shared by all views of an allocation, freed in queue order.

use crate::product::Packed;
use crate::values::{Target, Values};
use std::alloc::{Layout, alloc_zeroed, dealloc};
#[cfg(target_os = "linux")]
use std::fs::OpenOptions;
use std::marker::PhantomData;
#[cfg(target_os = "linux")]
use std::os::{fd::AsRawFd, unix::fs::OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const ALIGNMENT: usize = 64;
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;
/// A page's size at most: of whole ones of these, all are whole.
#[cfg(target_os = "linux")]
const PAGE: usize = 64 << 10;

/// One allocation. Its contents belong to the engine's thread: only queued closures touch them.
pub struct Memory {
    /// The first element; null once freed.
    data: AtomicPtr<u8>,
    bytes: usize,
    /// What to give back.
    block: Block,
    /// Twice the number of [`Pin`]s, plus [`FREED`] once freed.
    pins: AtomicUsize,
}

/// Flag in `Memory::pins`.
const FREED: usize = 1;
const PIN: usize = 2;

/// Where an allocation came from.
enum Block {
    /// The allocator, whose address is kept.
    Heap(*mut u8, Layout),
    /// Pages of its own: address and bytes.
    #[cfg(target_os = "linux")]
    Pages(*mut u8, usize),
    /// Pages of a file that has no name any more.
    #[cfg(target_os = "linux")]
    File(*mut u8, usize),
}

unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed memory, or None when the system has no more. The system finds the pages when they are first touched.
    pub fn new(bytes: usize) -> Option<Self> {
        #[cfg(target_os = "linux")]
        if bytes >= 2 * HUGE_PAGE {
            return Self::pages(bytes);
        }
        // Aligned by hand: `alloc_zeroed` is lazy (calloc) only at the allocator's own alignment.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, 16).ok()?;
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        let data = AtomicPtr::new(base.wrapping_add(base.align_offset(ALIGNMENT)));
        Some(Self { data, bytes, block: Block::Heap(base, layout), pins: AtomicUsize::new(0) })
    }

    /// Huge pages where the system gives them: a tenth of the page faults' cost at first touch, fewer TLB misses after.
    #[cfg(target_os = "linux")]
    fn pages(bytes: usize) -> Option<Self> {
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
        let (data, pins) = (AtomicPtr::new(data), AtomicUsize::new(0));
        Some(Self { data, bytes, block: Block::Pages(base, size), pins })
    }

    /// Zeroed memory of a nameless file in `directory`: the system may write its pages there instead of keeping them. The
    /// disk's room is taken now, so that it cannot be missing later. No file is left, however the process ends.
    #[cfg(target_os = "linux")]
    pub fn on_disk(bytes: usize, directory: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(directory)?;
        let size = bytes.max(1);
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let base = unsafe {
            match libc::posix_fallocate(file.as_raw_fd(), 0, size as libc::off_t) {
                0 => libc::mmap(std::ptr::null_mut(), size, access, kind, file.as_raw_fd(), 0),
                error => return Err(std::io::Error::from_raw_os_error(error)),
            }
        };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let base = base.cast::<u8>();
        let (data, pins) = (AtomicPtr::new(base), AtomicUsize::new(0));
        Ok(Self { data, bytes, block: Block::File(base, size), pins })
    }

    /// Elsewhere there is none yet.
    #[cfg(not(target_os = "linux"))]
    pub fn on_disk(_bytes: usize, _directory: &Path) -> std::io::Result<Self> {
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "tensors on disk need Linux"))
    }

    /// Frees at once, or when the last [`Pin`] goes; every later access through a [`Region`] panics. Idempotent.
    pub fn free(&self) {
        let pins = self.pins.fetch_or(FREED, Ordering::AcqRel);
        if pins & FREED == 0 {
            self.data.store(std::ptr::null_mut(), Ordering::Release);
        }
        if pins == 0 {
            self.give_back();
        }
    }

    /// Once only: with [`FREED`] set and no pins.
    fn give_back(&self) {
        match self.block {
            Block::Heap(base, layout) => unsafe { dealloc(base, layout) },
            #[cfg(target_os = "linux")]
            Block::Pages(base, size) | Block::File(base, size) => unsafe {
                libc::munmap(base.cast(), size);
            },
        }
    }

    /// Gives back pages of a file that lie wholly within these bytes: they come back from it when they are used.
    #[cfg(target_os = "linux")]
    fn evict(&self, bytes: std::ops::Range<usize>) {
        if let Block::File(base, _) = self.block {
            let (start, end) = (bytes.start.next_multiple_of(PAGE), bytes.end / PAGE * PAGE);
            if start < end {
                // Advice only; a shared mapping of a file loses nothing.
                unsafe { libc::madvise(base.add(start).cast(), end - start, libc::MADV_DONTNEED) };
            }
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

/// Keeps a region's memory from being freed while a thread other than the engine's works on it.
pub struct Pin {
    region: Region,
    data: *mut u8,
}

// Who may touch the elements, and when, is for events to say.
unsafe impl Send for Pin {}

impl Pin {
    /// None when the memory has been freed.
    pub fn new(region: &Region) -> Option<Self> {
        let memory = region.memory();
        let pinned = |pins| (pins & FREED == 0).then_some(pins + PIN);
        memory.pins.fetch_update(Ordering::AcqRel, Ordering::Acquire, pinned).ok()?;
        // From here on dropping it undoes the pin.
        let mut pin = Self { region: region.clone(), data: std::ptr::null_mut() };
        let data = memory.data.load(Ordering::Acquire);
        if data.is_null() {
            return None;
        }
        pin.data = data.wrapping_add(region.offset * region.kind.size());
        Some(pin)
    }

    /// The first element.
    pub fn data(&self) -> *mut u8 {
        self.data
    }

    /// Type of the elements.
    pub fn kind(&self) -> DataType {
        self.region.kind
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.region.length
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let memory = self.region.memory();
        if memory.pins.fetch_sub(PIN, Ordering::AcqRel) == PIN | FREED {
            memory.give_back();
        }
    }
}

/// Memory that operations use while they run, kept from call to call; grows to the most that was asked for.
pub struct Buffer<T> {
    memory: Option<Memory>,
    kind: PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    /// No memory yet.
    pub const fn new() -> Self {
        Self { memory: None, kind: PhantomData }
    }

    /// `length` numbers of any content, aligned to a cache line. Panics when the system has no more memory.
    pub fn get(&mut self, length: usize) -> &mut [T] {
        let bytes = length * size_of::<T>();
        if self.memory.as_ref().is_none_or(|memory| memory.bytes < bytes) {
            self.memory = None;
            self.memory = Memory::new(bytes);
        }
        match &self.memory {
            Some(memory) => unsafe { std::slice::from_raw_parts_mut(memory.data().cast(), length) },
            None => panic!("out of memory: {bytes} bytes of working memory could not be allocated"),
        }
    }
}

/// The buffers of the engine's thread.
pub struct Scratch {
    /// The packed left-hand side of a product.
    pub packed: Packed,
    /// What an operation keeps beside it: statistics.
    pub floats: Buffer<f32>,
    /// The logits of some tokens.
    pub tile: Buffer<f32>,
    /// Sums over parts of a product's depth.
    pub sums: Buffer<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { packed: Packed::new(), floats: Buffer::new(), tile: Buffer::new(), sums: Buffer::new() }
    }
}

/// Types of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// f32
    F32,
    /// bf16
    Bf16,
    /// i32
    I32,
}

impl DataType {
    /// As engine.ts spells it.
    pub fn name(self) -> &'static str {
        match self {
            DataType::F32 => "f32",
            DataType::Bf16 => "bf16",
            DataType::I32 => "i32",
        }
    }

    /// Bytes in one element.
    pub fn size(self) -> usize {
        match self {
            DataType::F32 | DataType::I32 => 4,
            DataType::Bf16 => 2,
        }
    }
}

/// `length` elements from `offset` of an allocation; keeps the allocation alive. What gives access to them is for the
/// engine's thread only; nobody else may hold the same elements mutably, nor at all when they are given mutably.
#[derive(Clone)]
pub struct Region {
    memory: Arc<Memory>,
    kind: DataType,
    offset: usize,
    length: usize,
}

impl Region {
    /// None when the range lies outside the allocation.
    pub fn new(memory: Arc<Memory>, kind: DataType, offset: usize, length: usize) -> Option<Self> {
        let end = offset.checked_add(length)?.checked_mul(kind.size())?;
        (end <= memory.bytes).then_some(Self { memory, kind, offset, length })
    }

    /// The allocation.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Type of the elements.
    pub fn kind(&self) -> DataType {
        self.kind
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Says that the elements are not needed for a while: memory on disk gives its pages back.
    pub fn evict(&self) {
        #[cfg(target_os = "linux")]
        self.memory.evict(self.offset * self.kind.size()..(self.offset + self.length) * self.kind.size());
    }

    /// Where the region lies in memory. Panics when it has been freed, or when its elements are not `T`s.
    fn data<T>(&self, kind: DataType) -> *mut T {
        assert!(self.kind == kind, "a tensor of {:?} where {kind:?} is needed", self.kind);
        self.memory.data().wrapping_add(self.offset * kind.size()).cast()
    }

    /// The elements as floats.
    pub unsafe fn floats(&self) -> &[f32] {
        std::slice::from_raw_parts(self.data(DataType::F32), self.length)
    }

    /// The elements as mutable floats.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn floats_mut(&self) -> &mut [f32] {
        std::slice::from_raw_parts_mut(self.data(DataType::F32), self.length)
    }

    /// The elements as integers.
    pub unsafe fn integers(&self) -> &[i32] {
        std::slice::from_raw_parts(self.data(DataType::I32), self.length)
    }

    /// The elements as real numbers to read.
    pub unsafe fn values(&self) -> Values<'_> {
        match self.kind {
            DataType::Bf16 => {
                Values::Bf16(std::slice::from_raw_parts(self.data(DataType::Bf16), self.length))
            }
            _ => Values::F32(self.floats()),
        }
    }

    /// The elements as real numbers to write.
    pub unsafe fn target(&self) -> Target {
        match self.kind {
            DataType::Bf16 => Target::Bf16(self.data(DataType::Bf16), self.length),
            _ => Target::F32(self.data(DataType::F32), self.length),
        }
    }

    /// The elements as bytes.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self) -> &mut [u8] {
        std::slice::from_raw_parts_mut(self.data::<u8>(self.kind), self.length * self.kind.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_aligned_zeroed_and_bounded() {
        let memory = Arc::new(Memory::new(400).unwrap());
        let all = Region::new(memory.clone(), DataType::F32, 0, 100).unwrap();
        unsafe {
            assert_eq!(all.floats().as_ptr() as usize % ALIGNMENT, 0);
            assert!(all.floats().iter().all(|&x| x == 0.0));
            all.floats_mut()[99] = 3.0;
            let last = Region::new(memory.clone(), DataType::F32, 99, 1).unwrap();
            assert_eq!(last.floats(), [3.0]);
            assert_eq!(last.bytes_mut(), 3.0f32.to_ne_bytes());
        }
        assert!(Region::new(memory.clone(), DataType::F32, 99, 2).is_none());
        assert!(Region::new(memory, DataType::Bf16, usize::MAX, 2).is_none());
    }

    #[test]
    fn large_allocations_are_zeroed_to_their_ends_and_freed_once() {
        let length = 3 << 20;
        let memory = Arc::new(Memory::new(4 * length).unwrap());
        let all = Region::new(memory.clone(), DataType::F32, 0, length).unwrap();
        unsafe {
            assert!(all.floats().iter().all(|&x| x == 0.0));
            all.floats_mut().fill(1.0);
        }
        memory.free();
        memory.free();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_on_disk_keeps_its_numbers_when_its_pages_go_and_leaves_no_file() {
        let directory = std::env::temp_dir().join(format!("gpt-lab-memory-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let length = 1 << 20;
        let memory = Arc::new(Memory::on_disk(4 * length, &directory).unwrap());
        let all = Region::new(memory.clone(), DataType::F32, 0, length).unwrap();
        unsafe {
            assert!(all.floats().iter().all(|&x| x == 0.0));
            all.floats_mut().iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            Region::new(memory.clone(), DataType::F32, 100, length - 200).unwrap().evict();
            assert!(all.floats().iter().enumerate().all(|(i, &x)| x == i as f32));
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
        assert!(Memory::on_disk(4, &directory).is_err());
        assert!(Memory::on_disk(usize::MAX / 2, &std::env::temp_dir()).is_err());
    }

    #[test]
    fn pinned_memory_stays_until_the_last_pin_goes_whoever_freed_it() {
        let memory = Arc::new(Memory::new(400).unwrap());
        let region = Region::new(memory.clone(), DataType::Bf16, 100, 50).unwrap();
        let pins = [Pin::new(&region).unwrap(), Pin::new(&region).unwrap()];
        assert_eq!((pins[0].kind(), pins[0].len()), (DataType::Bf16, 50));
        memory.free();
        memory.free();
        assert!(Pin::new(&region).is_none());
        let [first, second] = pins;
        drop(first);
        unsafe {
            second.data().write_bytes(7, 100);
            assert_eq!(second.data().add(99).read(), 7);
        }
        drop(second);
        assert!(Pin::new(&region).is_none());
    }

    #[test]
    #[should_panic(expected = "released")]
    fn use_after_free_panics_instead_of_reading_freed_memory() {
        let memory = Arc::new(Memory::new(4).unwrap());
        let region = Region::new(memory.clone(), DataType::F32, 0, 1).unwrap();
        memory.free();
        unsafe { region.floats() };
    }
}
