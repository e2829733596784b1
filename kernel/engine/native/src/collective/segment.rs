//! The memory that the ranks of one machine share: a header that says who has joined and what has failed, then lanes.

use super::process::{Condition, Process};
use super::shared_file::{SharedFile, Window};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Most ranks of a segment: their sets must fit a lane's key.
pub const MAXIMUM_RANKS: usize = 32;
/// Most queues (groups and directions of pairs) of a segment.
const LANES: usize = 256;
/// Windows begin at multiples of this, a multiple of every system's page size.
const PAGE: usize = 64 << 10;
const MAGIC: u64 = u64::from_le_bytes(*b"gptlab-c");
/// Of the layout of header and lanes.
const VERSION: u32 = 1;
/// Longest failure that is passed on, in bytes.
const TEXT: usize = 4096;

const ABSENT: u32 = 0;
const JOINING: u32 = 1;
const JOINED: u32 = 2;
const CLOSED: u32 = 3;

const WRITING: u32 = 1;
const WRITTEN: u32 = 2;

#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    size: AtomicU32,
    chunk: AtomicU64,
    joined: AtomicU32,
    failure: AtomicU32,
    failure_length: AtomicU32,
    failure_text: [AtomicU8; TEXT],
    ranks: [Entry; MAXIMUM_RANKS],
    /// Keys of the lanes in use, from the first.
    lanes: [AtomicU64; LANES],
}

const _: () = assert!(size_of::<Header>() <= PAGE);

#[repr(C, align(64))]
struct Entry {
    state: AtomicU32,
    pid: AtomicU32,
    start: AtomicU64,
}

/// How a peer fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It has not joined yet.
    Absent,
    /// It has joined.
    Joined(Process, Condition),
    /// It has left in good order.
    Closed(Process),
}

/// The shared memory of a collective as one rank has it.
pub struct Segment {
    file: SharedFile,
    header: Window,
    rank: usize,
    size: usize,
    chunk: usize,
}

impl Segment {
    /// New memory for `size` ranks that exchange chunks of `chunk` bytes, joined as rank 0.
    pub fn create(size: usize, chunk: usize) -> Result<Self, String> {
        let bytes = PAGE as u64 + (LANES * lane_bytes(size, chunk)) as u64;
        let make = || {
            let file = SharedFile::create(bytes)?;
            let header = file.map(0, PAGE)?;
            Ok((file, header))
        };
        let (file, header) = make().map_err(|error: std::io::Error| {
            format!("Memory for a collective of {size} ranks could not be made: {error}")
        })?;
        let segment = Self { file, header, rank: 0, size, chunk };
        let header = segment.header();
        header.version.store(VERSION, Ordering::Relaxed);
        header.size.store(size as u32, Ordering::Relaxed);
        header.chunk.store(chunk as u64, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        segment.join()?;
        Ok(segment)
    }

    /// The memory that rank 0 has made for `size` ranks, joined as rank `rank`.
    pub fn open(address: &str, rank: usize, size: usize) -> Result<Self, String> {
        let open = || {
            let file = SharedFile::open(address)?;
            if file.bytes()? < PAGE as u64 {
                return Err(std::io::Error::other("it is too small"));
            }
            let header = file.map(0, PAGE)?;
            Ok((file, header))
        };
        let (file, header) = open().map_err(|error: std::io::Error| {
            format!(
                "Rank {rank} cannot join the collective at \"{address}\": {error}. Does rank 0 still run, on this machine?"
            )
        })?;
        let mut segment = Self { file, header, rank, size, chunk: 0 };
        let header = segment.header();
        let found = (header.magic.load(Ordering::Acquire), header.version.load(Ordering::Relaxed));
        if found != (MAGIC, VERSION) {
            return Err(format!(
                "Rank {rank} cannot join the collective at \"{address}\": it is none, or of another version; start all ranks from one installation"
            ));
        }
        let made_for = header.size.load(Ordering::Relaxed);
        if made_for as usize != size {
            return Err(format!(
                "Rank {rank} expects a collective of {size} ranks, but rank 0 made one of {made_for}"
            ));
        }
        segment.chunk = header.chunk.load(Ordering::Relaxed) as usize;
        segment.join()?;
        Ok(segment)
    }

    fn join(&self) -> Result<(), String> {
        let entry = &self.header().ranks[self.rank];
        let free = entry.state.compare_exchange(ABSENT, JOINING, Ordering::AcqRel, Ordering::Acquire);
        if free.is_err() {
            let pid = entry.pid.load(Ordering::Relaxed);
            return Err(format!("Rank {} has joined the collective before, as process {pid}", self.rank));
        }
        let own = Process::own();
        entry.pid.store(own.pid, Ordering::Relaxed);
        entry.start.store(own.start, Ordering::Relaxed);
        entry.state.store(JOINED, Ordering::Release);
        if self.header().joined.fetch_add(1, Ordering::AcqRel) as usize + 1 == self.size {
            self.file.forget_name();
        }
        Ok(())
    }

    fn header(&self) -> &Header {
        unsafe { &*self.header.at(0, size_of::<Header>()).cast() }
    }

    /// What the other ranks need to join.
    pub fn address(&self) -> &str {
        self.file.address()
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Bytes of a chunk.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// How rank `rank` fares now.
    pub fn peer(&self, rank: usize) -> Peer {
        let entry = &self.header().ranks[rank];
        let state = entry.state.load(Ordering::Acquire);
        let process =
            Process { pid: entry.pid.load(Ordering::Relaxed), start: entry.start.load(Ordering::Relaxed) };
        match state {
            JOINED => Peer::Joined(process, process.condition()),
            CLOSED => Peer::Closed(process),
            _ => Peer::Absent,
        }
    }

    /// This rank leaves: who waits for it from now on fails.
    pub fn close(&self) {
        self.header().ranks[self.rank].state.store(CLOSED, Ordering::Release);
    }

    /// Tells all ranks that the collective has failed. Only the first failure is kept.
    pub fn fail(&self, text: &str) {
        let header = self.header();
        if header.failure.compare_exchange(0, WRITING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let bytes = &text.as_bytes()[..text.len().min(TEXT)];
        for (cell, &byte) in header.failure_text.iter().zip(bytes) {
            cell.store(byte, Ordering::Relaxed);
        }
        header.failure_length.store(bytes.len() as u32, Ordering::Relaxed);
        header.failure.store(WRITTEN, Ordering::Release);
    }

    /// The first failure of any rank.
    pub fn failure(&self) -> Option<String> {
        let header = self.header();
        if header.failure.load(Ordering::Acquire) != WRITTEN {
            return None;
        }
        let length = (header.failure_length.load(Ordering::Relaxed) as usize).min(TEXT);
        let bytes: Vec<u8> =
            header.failure_text[..length].iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The memory of the lane `key`, which is not 0: the same for all ranks, whichever asks first.
    pub fn lane(&self, key: u64) -> Result<Window, String> {
        let claim =
            |cell: &AtomicU64| match cell.compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => true,
                Err(taken) => taken == key,
            };
        let index = self.header().lanes.iter().position(claim).ok_or_else(|| {
            format!("A collective has at most {LANES} queues (groups, and directions between two ranks)")
        })?;
        let bytes = lane_bytes(self.size, self.chunk);
        self.file
            .map((PAGE + index * bytes) as u64, bytes)
            .map_err(|error| format!("Memory of a collective's queue could not be mapped: {error}"))
    }
}

/// Room for a lane of as many members as there are ranks.
fn lane_bytes(size: usize, chunk: usize) -> usize {
    super::lane::Layout::new(size.max(2), chunk).bytes().next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_join_once_and_see_each_other() {
        let first = Segment::create(3, 4096).unwrap();
        assert_eq!(first.peer(1), Peer::Absent);
        let second = Segment::open(first.address(), 1, 3).unwrap();
        assert_eq!(second.chunk(), 4096);
        assert_eq!(first.peer(1), Peer::Joined(Process::own(), Condition::Alive));
        let again = Segment::open(first.address(), 1, 3).err().unwrap();
        assert_eq!(
            again,
            format!("Rank 1 has joined the collective before, as process {}", std::process::id())
        );
        let other = Segment::open(first.address(), 2, 4).err().unwrap();
        assert_eq!(other, "Rank 2 expects a collective of 4 ranks, but rank 0 made one of 3");
        second.close();
        assert_eq!(first.peer(1), Peer::Closed(Process::own()));
    }

    #[test]
    fn the_first_failure_reaches_everybody() {
        let first = Segment::create(2, 4096).unwrap();
        let second = Segment::open(first.address(), 1, 2).unwrap();
        assert_eq!(second.failure(), None);
        first.fail("rank 1 has died");
        second.fail("too late");
        assert_eq!(second.failure().unwrap(), "rank 1 has died");
        assert_eq!(first.failure(), second.failure());
    }

    #[test]
    fn lanes_are_found_by_key_in_any_order_until_there_are_no_more() {
        let first = Segment::create(2, 4096).unwrap();
        let second = Segment::open(first.address(), 1, 2).unwrap();
        let (a, b) = (first.lane(7).unwrap(), first.lane(8).unwrap());
        let (d, c) = (second.lane(8).unwrap(), second.lane(7).unwrap());
        unsafe {
            a.at(0, 1).write(1);
            b.at(0, 1).write(2);
            assert_eq!((c.at(0, 1).read(), d.at(0, 1).read()), (1, 2));
        }
        let last = (9..).map_while(|key| first.lane(key).err().is_none().then_some(key)).last();
        assert_eq!(last, Some(8 + LANES as u64 - 2));
    }
}
