//! The algorithms, chunk by chunk over a lane.
//!
//! In each chunk every member first puts what others need into its outbox, then takes what it needs from the outboxes of
//! all; the next chunk is put before the others' part of this one is awaited. An all-reduce then has every member reduce
//! its part of the chunk and collects the parts. Every element is reduced by one member in the order of the members:
//! results are bitwise the same on all, whatever the size of chunks.

use super::call::{Call, Kind, Reduction};
use super::lane::{Lane, Trouble};
use super::reduce::reduce;
use crate::memory::DataType;
use std::ops::Range;

/// A call with the memory that it works on. The pointers are valid for what `call` says until it is done, and nobody
/// else uses what is written.
#[derive(Clone, Copy)]
pub struct Work {
    /// What is called. The length of a reduce-scatter or all-gather is that of a part.
    pub call: Call,
    /// What is read; written too unless `out` is another.
    pub x: *mut u8,
    /// What is written.
    pub out: *mut u8,
}

unsafe impl Send for Work {}

/// Bytes that a call moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Put into outboxes.
    pub sent: u64,
    /// Taken from other members.
    pub received: u64,
}

/// Makes the call.
pub fn run(work: &Work, lane: &mut Lane) -> Result<Moved, Trouble> {
    let mut moved = Moved::default();
    if lane.members().len() == 1 {
        alone(work);
        return Ok(moved);
    }
    match work.call.kind {
        Kind::Send => send(work, lane, &mut moved)?,
        Kind::Receive => receive(work, lane, &mut moved)?,
        _ => exchange(work, lane, &mut moved)?,
    }
    Ok(moved)
}

/// With nobody else everything is there; only what is to lie elsewhere must be copied.
fn alone(work: &Work) {
    if work.x != work.out {
        let size = work.call.elements.map_or(0, DataType::size);
        // Safety: see `Work`.
        unsafe { std::ptr::copy(work.x, work.out, work.call.length * size) };
    }
}

/// A call of all members: also of those that only look on, so that calls that do not match are found.
fn exchange(work: &Work, lane: &mut Lane, moved: &mut Moved) -> Result<(), Trouble> {
    let part = Part::of(work, lane);
    let chunks = part.chunks();
    part.put(0, lane, moved)?;
    for index in 0..chunks {
        if index + 1 < chunks {
            part.put(index + 1, lane, moved)?;
        }
        let number = lane.number(index);
        for member in part.others() {
            lane.wait_written(member, number)?;
            lane.compare(member, number, &work.call)?;
        }
        part.take(index, lane, moved);
        lane.post_taken(number);
        if work.call.kind == Kind::AllReduce {
            for member in part.others() {
                lane.wait_taken(member, number)?;
            }
            part.collect(index, lane, moved);
        }
    }
    lane.advance(chunks);
    Ok(())
}

/// One member's part in a call of all.
struct Part<'a> {
    work: &'a Work,
    members: usize,
    me: usize,
    /// Index of the member that a broadcast comes from.
    root: usize,
    elements: DataType,
    /// Bytes of an element.
    size: usize,
    /// Elements of `work.call.length` in a chunk.
    step: usize,
}

impl<'a> Part<'a> {
    fn of(work: &'a Work, lane: &Lane) -> Self {
        let members = lane.members().len();
        let elements = work.call.elements.unwrap_or(DataType::I32);
        let size = elements.size();
        let room = lane.chunk() / size;
        // An outbox of a reduce-scatter has a piece for each member, each of whole vectors.
        let step = if work.call.kind == Kind::ReduceScatter { room / members / 16 * 16 } else { room };
        let root = lane.members().iter().position(|&rank| Some(rank) == work.call.peer).unwrap_or(0);
        Self { work, members, me: lane.me(), root, elements, size, step }
    }

    /// At least one: even calls of nothing meet.
    fn chunks(&self) -> usize {
        self.work.call.length.div_ceil(self.step).max(1)
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let me = self.me;
        (0..self.members).filter(move |&member| member != me)
    }

    /// The elements of `work.call.length` in chunk `index`.
    fn range(&self, index: usize) -> Range<usize> {
        let length = self.work.call.length;
        (index * self.step).min(length)..((index + 1) * self.step).min(length)
    }

    /// What `member` reduces of a chunk of `count` elements: whole vectors, so that only the last is not.
    fn share(&self, count: usize, member: usize) -> Range<usize> {
        let width = count.div_ceil(self.members).next_multiple_of(16);
        (member * width).min(count)..((member + 1) * width).min(count)
    }

    /// Element `at` of what is read.
    fn x(&self, at: usize) -> *mut u8 {
        self.work.x.wrapping_add(at * self.size)
    }

    /// Element `at` of what is written.
    fn out(&self, at: usize) -> *mut u8 {
        self.work.out.wrapping_add(at * self.size)
    }

    fn copy(&self, from: *const u8, to: *mut u8, count: usize) -> u64 {
        let bytes = count * self.size;
        // Safety: callers stay within tensors and outboxes, and tensors lie apart from shared memory.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
        bytes as u64
    }

    /// What the others need of chunk `index` goes into the outbox.
    fn put(&self, index: usize, lane: &Lane, moved: &mut Moved) -> Result<(), Trouble> {
        let number = lane.number(index);
        for member in self.others() {
            lane.wait_free(member, number)?;
        }
        let range = self.range(index);
        let (from, count) = (range.start, range.len());
        let outbox = lane.outbox(self.me, number);
        let mut put = |at: usize, slot: usize, count: usize| {
            moved.sent += self.copy(self.x(at), outbox.wrapping_add(slot * self.size), count);
        };
        match self.work.call.kind {
            Kind::AllReduce => {
                let own = self.share(count, self.me);
                put(from, 0, own.start);
                put(from + own.end, own.end, count - own.end);
            }
            Kind::ReduceScatter => {
                self.others().for_each(|m| put(m * self.work.call.length + from, m * self.step, count));
            }
            Kind::AllGather => put(from, 0, count),
            Kind::Broadcast if self.me == self.root => put(from, 0, count),
            _ => {}
        }
        lane.post_written(number, &self.work.call);
        Ok(())
    }

    /// What this member needs of chunk `index` comes out of the outboxes, which are all filled.
    fn take(&self, index: usize, lane: &Lane, moved: &mut Moved) {
        let number = lane.number(index);
        let range = self.range(index);
        let (from, count) = (range.start, range.len());
        let (me, length) = (self.me, self.work.call.length);
        match self.work.call.kind {
            Kind::AllReduce => {
                let own = self.share(count, me);
                let result = lane.result(me, number);
                self.reduce(lane, number, result, from + own.start, own.start, own.len(), moved);
                moved.sent += self.copy(result, self.x(from + own.start), own.len());
            }
            Kind::ReduceScatter => {
                let (mine, piece) = (me * length + from, me * self.step);
                self.reduce(lane, number, self.out(from), mine, piece, count, moved);
            }
            Kind::AllGather => {
                if self.out(me * length) != self.x(0) {
                    self.copy(self.x(from), self.out(me * length + from), count);
                }
                for member in self.others() {
                    let outbox = lane.outbox(member, number);
                    moved.received += self.copy(outbox, self.out(member * length + from), count);
                }
            }
            Kind::Broadcast if me != self.root => {
                moved.received += self.copy(lane.outbox(self.root, number), self.x(from), count);
            }
            _ => {}
        }
    }

    /// out = reduction of `count` elements: this member's from `mine` of x, the others' from `slot` of their outboxes.
    fn reduce(
        &self,
        lane: &Lane,
        number: u32,
        out: *mut u8,
        mine: usize,
        slot: usize,
        count: usize,
        moved: &mut Moved,
    ) {
        let source = |member: usize| match member == self.me {
            true => self.x(mine).cast_const(),
            false => lane.outbox(member, number).wrapping_add(slot * self.size).cast_const(),
        };
        let sources: Vec<*const u8> = (0..self.members).map(source).collect();
        let reduction = self.work.call.reduction.unwrap_or(Reduction::Sum);
        // Safety: as for `copy`.
        unsafe { reduce(out, &sources, count, self.elements, reduction) };
        moved.received += ((self.members - 1) * count * self.size) as u64;
    }

    /// The others' shares of the reduced chunk `index` come out of their results, which are all there.
    fn collect(&self, index: usize, lane: &Lane, moved: &mut Moved) {
        let number = lane.number(index);
        let range = self.range(index);
        for member in self.others() {
            let share = self.share(range.len(), member);
            let to = self.x(range.start + share.start);
            moved.received += self.copy(lane.result(member, number), to, share.len());
        }
    }
}

/// Index of the sender in a lane of two.
pub const SENDER: usize = 0;
/// Index of the receiver.
pub const RECEIVER: usize = 1;

/// Done when everything is in the outbox or beyond: the last chunks may still wait there for the receiver.
fn send(work: &Work, lane: &mut Lane, moved: &mut Moved) -> Result<(), Trouble> {
    let part = Part::of(work, lane);
    for index in 0..part.chunks() {
        let number = lane.number(index);
        lane.wait_free(RECEIVER, number)?;
        let range = part.range(index);
        moved.sent += part.copy(part.x(range.start), lane.outbox(SENDER, number), range.len());
        lane.post_written(number, &work.call);
    }
    let chunks = part.chunks();
    lane.advance(chunks);
    Ok(())
}

fn receive(work: &Work, lane: &mut Lane, moved: &mut Moved) -> Result<(), Trouble> {
    let part = Part::of(work, lane);
    for index in 0..part.chunks() {
        let number = lane.number(index);
        lane.wait_written(SENDER, number)?;
        lane.compare(SENDER, number, &work.call)?;
        let range = part.range(index);
        moved.received += part.copy(lane.outbox(SENDER, number), part.out(range.start), range.len());
        lane.post_taken(number);
    }
    let chunks = part.chunks();
    lane.advance(chunks);
    Ok(())
}
