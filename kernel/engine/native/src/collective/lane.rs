//! One queue's part of the shared memory: every member's outbox, and how far each has come.

use super::call::Call;
use super::futex;
use super::process::Condition;
use super::segment::{Peer, Segment};
use super::shared_file::Window;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a rank that waits looks whether its peers still live.
const TICK: Duration = Duration::from_millis(100);
/// Looks at a word before going to sleep: some microseconds.
const SPINS: usize = 100;

/// Where things lie in a lane: controls of all members, then for each member two halves of an outbox and a result.
#[derive(Clone, Copy)]
pub struct Layout {
    members: usize,
    chunk: usize,
    result: usize,
}

/// Of one member. A line of the cache for each word that others wait for.
#[repr(C, align(64))]
struct Control {
    /// Chunks that this member has put into its outbox, counted from the lane's first, modulo 2³².
    written: Line,
    /// Chunks of which this member needs the others' outboxes no more.
    taken: Line,
    /// The call that the chunk in each half belongs to.
    calls: [[AtomicU64; 2]; 2],
}

#[repr(C, align(64))]
struct Line(AtomicU32);

impl Layout {
    /// For `members` that exchange chunks of `chunk` bytes, a multiple of 64.
    pub fn new(members: usize, chunk: usize) -> Self {
        // A member reduces its part of a chunk: an even share, rounded up to whole vectors of 4-byte elements.
        let result = (chunk / members + 64).next_multiple_of(64);
        Self { members, chunk, result }
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.outbox(self.members, 0)
    }

    fn outbox(&self, member: usize, half: usize) -> usize {
        self.members * size_of::<Control>() + (2 * member + half) * (self.chunk + self.result)
    }
}

/// Why a call does not go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This rank has closed the collective.
    Closing,
    /// Another rank has told of a failure.
    Heard(String),
    /// Found here, and the others are to be told.
    Found(String),
}

/// How long to wait for others.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a rank to join.
    pub join: Duration,
    /// For a rank that lives to do its part; None: as long as it lives.
    pub stall: Option<Duration>,
}

/// A lane as one member has it. Used by one thread.
pub struct Lane {
    segment: Arc<Segment>,
    window: Window,
    layout: Layout,
    members: Vec<usize>,
    me: usize,
    closing: Arc<AtomicBool>,
    patience: Patience,
    /// Chunks exchanged so far, modulo 2³².
    next: u32,
}

impl Lane {
    /// The lane `key` of the ranks `members`, of which `me` is the index of this one.
    pub fn open(
        segment: Arc<Segment>,
        key: u64,
        members: Vec<usize>,
        me: usize,
        patience: Patience,
        closing: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let window = segment.lane(key)?;
        let layout = Layout::new(members.len(), segment.chunk());
        Ok(Self { segment, window, layout, members, me, closing, patience, next: 0 })
    }

    /// The ranks that share the lane.
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// This rank's index among them.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Bytes of a chunk.
    pub fn chunk(&self) -> usize {
        self.layout.chunk
    }

    /// The chunk `index` of the call that is being made, counted over the lane's life.
    pub fn number(&self, index: usize) -> u32 {
        self.next.wrapping_add(index as u32)
    }

    /// The call's chunks are done with.
    pub fn advance(&mut self, chunks: usize) {
        self.next = self.number(chunks);
    }

    /// Where `member` puts chunk `number` for the others: `chunk()` bytes.
    pub fn outbox(&self, member: usize, number: u32) -> *mut u8 {
        self.window.at(self.layout.outbox(member, half(number)), self.layout.chunk)
    }

    /// Where `member` puts its part of the reduced chunk `number`.
    pub fn result(&self, member: usize, number: u32) -> *mut u8 {
        let at = self.layout.outbox(member, half(number)) + self.layout.chunk;
        self.window.at(at, self.layout.result)
    }

    fn control(&self, member: usize) -> &Control {
        let at = member * size_of::<Control>();
        unsafe { &*self.window.at(at, size_of::<Control>()).cast() }
    }

    /// This rank's outbox holds chunk `number`, of `call`.
    pub fn post_written(&self, number: u32, call: &Call) {
        let control = self.control(self.me);
        for (cell, word) in control.calls[half(number)].iter().zip(call.encode()) {
            cell.store(word, Ordering::Relaxed);
        }
        post(&control.written.0, number);
    }

    /// This rank needs the outboxes of chunk `number` no more.
    pub fn post_taken(&self, number: u32) {
        post(&self.control(self.me).taken.0, number);
    }

    /// Waits until `member` has put chunk `number` into its outbox.
    pub fn wait_written(&self, member: usize, number: u32) -> Result<(), Trouble> {
        self.wait(member, &self.control(member).written.0, number)
    }

    /// Waits until `member` needs the outboxes of chunk `number` no more.
    pub fn wait_taken(&self, member: usize, number: u32) -> Result<(), Trouble> {
        self.wait(member, &self.control(member).taken.0, number)
    }

    /// Waits until the halves that chunk `number` uses are free of the chunk before in them.
    pub fn wait_free(&self, member: usize, number: u32) -> Result<(), Trouble> {
        // Chunks -2 and -1 never were: the counters begin at "all before 0", which is where these waits are satisfied.
        self.wait_taken(member, number.wrapping_sub(2))
    }

    /// Found, when `member`, which has written chunk `number`, did so in another call.
    pub fn compare(&self, member: usize, number: u32, call: &Call) -> Result<(), Trouble> {
        let cells = &self.control(member).calls[half(number)];
        let other = Call::decode([0, 1].map(|at| cells[at].load(Ordering::Relaxed)));
        match other {
            Some(other) if other.fits(call) => Ok(()),
            other => {
                let other = other.map_or("an unknown operation".into(), |other| other.to_string());
                let (mine, theirs) = (self.members[self.me], self.members[member]);
                Err(Trouble::Found(format!(
                    "calls do not match: rank {mine} called {call}, rank {theirs} called {other}"
                )))
            }
        }
    }

    fn wait(&self, member: usize, word: &AtomicU32, number: u32) -> Result<(), Trouble> {
        for _ in 0..SPINS {
            if beyond(word.load(Ordering::Acquire), number) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        let since = Instant::now();
        let mut look = since + TICK;
        loop {
            let seen = word.load(Ordering::Acquire);
            if beyond(seen, number) {
                return Ok(());
            }
            futex::wait(word, seen, TICK);
            if Instant::now() < look {
                continue;
            }
            look = Instant::now() + TICK;
            if let Err(trouble) = self.look(self.members[member], since) {
                // What it did before it went is done.
                return if beyond(word.load(Ordering::Acquire), number) { Ok(()) } else { Err(trouble) };
            }
        }
    }

    /// Whether waiting for `rank` since then still makes sense.
    fn look(&self, rank: usize, since: Instant) -> Result<(), Trouble> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Trouble::Closing);
        }
        if let Some(failure) = self.segment.failure() {
            return Err(Trouble::Heard(failure));
        }
        let found = |what: String| Err(Trouble::Found(format!("rank {rank} {what}")));
        match self.segment.peer(rank) {
            Peer::Absent if since.elapsed() > self.patience.join => {
                found(format!("has not joined within {} s", self.patience.join.as_secs_f32()))
            }
            Peer::Absent => Ok(()),
            Peer::Closed(process) => found(format!("(pid {}) has closed the collective", process.pid)),
            Peer::Joined(process, Condition::Dead) => found(format!("(pid {}) has died", process.pid)),
            Peer::Joined(process, condition) => match self.patience.stall {
                Some(stall) if since.elapsed() > stall => {
                    let stopped = if condition == Condition::Stopped { ", which is stopped," } else { "" };
                    let (pid, seconds) = (process.pid, stall.as_secs_f32());
                    found(format!("(pid {pid}){stopped} has not done its part within {seconds} s"))
                }
                _ => Ok(()),
            },
        }
    }
}

fn half(number: u32) -> usize {
    (number % 2) as usize
}

/// Counters hold the number of chunks passed: `number` is passed when they are above it, before and after they wrap.
fn beyond(count: u32, number: u32) -> bool {
    count.wrapping_sub(number.wrapping_add(1)) as i32 >= 0
}

fn post(word: &AtomicU32, number: u32) {
    word.store(number.wrapping_add(1), Ordering::Release);
    futex::wake(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap() {
        assert!(!beyond(0, 0) && beyond(1, 0) && beyond(2, 0));
        assert!(beyond(0, u32::MAX) && beyond(0, u32::MAX - 1) && !beyond(u32::MAX, u32::MAX));
        assert!(beyond(1, u32::MAX));
        assert_eq!(half(u32::MAX), half(0) ^ 1);
    }

    #[test]
    fn outboxes_and_results_lie_apart_and_on_lines_of_the_cache() {
        for members in 1..=9 {
            let layout = Layout::new(members, 4096);
            let share = (1024usize.div_ceil(members)).next_multiple_of(16) * 4;
            assert!(layout.result >= share, "{members}");
            assert_eq!(layout.outbox(1, 1) % 64, 0);
            assert!(layout.bytes() <= Layout::new(members.max(2) + 1, 4096).bytes() || members == 1);
        }
    }
}
