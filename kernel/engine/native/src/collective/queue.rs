//! Queues of calls, each with a thread: one for every group, and one for each direction between two ranks of a group.

use super::call::{Call, Kind};
use super::lane::{Lane, Patience, Trouble};
use super::operations::{self, Moved, RECEIVER, SENDER, Work};
use super::segment::Segment;
use crate::event::{Event, Signal};
use crate::memory::Pin;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// One rank's end of a collective.
pub struct Collective {
    segment: Arc<Segment>,
    patience: Patience,
    common: Arc<Common>,
    /// By the key of their lanes; None once closed.
    queues: Mutex<Option<HashMap<u64, Queue>>>,
    /// How often a group of the same ranks has been made.
    made: Mutex<HashMap<u64, u64>>,
}

/// What all queues of a rank share.
struct Common {
    closing: Arc<AtomicBool>,
    /// The first; there is no going on after it.
    failure: Mutex<Option<String>>,
    counters: [Counters; Kind::ALL.len()],
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What the calls of a kind have moved so far.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// Which calls.
    pub kind: Kind,
    /// How many have ended.
    pub calls: u64,
    /// Bytes.
    pub moved: Moved,
    /// Time from the inputs being ready to the end, summed.
    pub seconds: f64,
}

/// Some ranks that call together, in a queue of their own.
#[derive(Clone)]
pub struct Group {
    /// World ranks, ascending.
    pub members: Vec<usize>,
    /// This rank's index among them.
    pub me: usize,
    key: u64,
}

struct Queue {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    current: Arc<Mutex<Option<(String, Instant)>>>,
}

enum Job {
    Run { work: Work, after: Event, signal: Signal, pins: Vec<Pin> },
    Mark(#[allow(dead_code)] Arc<Mark>),
}

/// Calls back when its last holder drops it.
struct Mark(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(call) = lock(&self.0).take() {
            call();
        }
    }
}

/// Data under these locks is whole after every statement, so a panic elsewhere is no reason to refuse it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CLOSED: &str = "The collective has been closed";

/// Bits of a lane's key: the members' set, which group of these members it is, and for a direction its two ends.
const WHICH: u32 = 32;
const DIRECTION: u32 = 48;
const USED: u64 = 1 << 63;

impl Collective {
    /// Joins with the memory that `segment` is.
    pub fn new(segment: Segment, patience: Patience) -> Self {
        let common = Common {
            closing: Arc::default(),
            failure: Mutex::default(),
            counters: std::array::from_fn(|_| Counters::default()),
        };
        let (queues, made) = (Mutex::new(Some(HashMap::new())), Mutex::default());
        Self { segment: Arc::new(segment), patience, common: Arc::new(common), queues, made }
    }

    /// The shared memory.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// A new group of ascending ranks, this one among them. Its n-th of the same members meets the others' n-th.
    pub fn group(&self, members: Vec<usize>) -> Result<Group, String> {
        let me = members.iter().position(|&rank| rank == self.segment.rank());
        let me = me.ok_or_else(|| format!("Rank {} is not in the group", self.segment.rank()))?;
        let set = members.iter().fold(0, |set, &rank| set | 1u64 << rank);
        let mut made = lock(&self.made);
        let which = made.entry(set).or_default();
        if *which >> (DIRECTION - WHICH) != 0 {
            return Err("A group of the same ranks has been made too often".into());
        }
        let key = USED | *which << WHICH | set;
        *which += 1;
        Ok(Group { members, me, key })
    }

    /// Queues a call, to begin after `after`; the event is its end. `pins` keep the memory of `work`.
    pub fn call(&self, group: &Group, work: Work, after: Event, pins: Vec<Pin>) -> Result<Event, String> {
        let lane = self.lane_of(group, &work.call)?;
        let mut queues = lock(&self.queues);
        let queues = queues.as_mut().ok_or(CLOSED)?;
        let (event, signal) = Event::new();
        let queue = match queues.entry(lane.key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.start(lane)?),
        };
        // Sending fails only when the thread has ended, which takes the collective's own end.
        let _ = queue.jobs.send(Job::Run { work, after, signal, pins });
        Ok(event)
    }

    /// The lane that a call of a group goes through.
    fn lane_of(&self, group: &Group, call: &Call) -> Result<Group, String> {
        let own = self.segment.rank();
        let (from, to) = match (call.kind, call.peer) {
            (Kind::Send, Some(peer)) => (own, peer),
            (Kind::Receive, Some(peer)) => (peer, own),
            _ => return Ok(group.clone()),
        };
        let mut members = vec![0; 2];
        (members[SENDER], members[RECEIVER]) = (from, to);
        let me = if own == from { SENDER } else { RECEIVER };
        // Two different ends are never both 0, as which a lane of the whole group counts.
        let key = group.key | (from as u64 | (to as u64) << 5) << DIRECTION;
        Ok(Group { members, me, key })
    }

    fn start(&self, lane: Group) -> Result<Queue, String> {
        let (segment, closing) = (self.segment.clone(), self.common.closing.clone());
        let lane = Lane::open(segment, lane.key, lane.members, lane.me, self.patience, closing)?;
        let (jobs, queue) = channel();
        let current = Arc::default();
        let worker = Worker {
            lane,
            segment: self.segment.clone(),
            common: self.common.clone(),
            current: Arc::clone(&current),
        };
        let thread = std::thread::Builder::new()
            .name("collective".into())
            .spawn(move || worker.run(&queue))
            .map_err(|error| format!("A thread for a collective could not be started: {error}"))?;
        Ok(Queue { jobs, thread, current })
    }

    /// Calls `done` when everything queued so far has run, with the first failure of this or any other rank.
    pub fn finish(&self, done: impl FnOnce(Result<(), String>) + Send + 'static) {
        let (common, segment) = (self.common.clone(), self.segment.clone());
        let mark = Arc::new(Mark(Mutex::new(Some(Box::new(move || {
            let own = lock(&common.failure).clone();
            done(own.or_else(|| segment.failure()).map_or(Ok(()), Err));
        })))));
        for queue in lock(&self.queues).iter().flat_map(HashMap::values) {
            let _ = queue.jobs.send(Job::Mark(mark.clone()));
        }
    }

    /// What has been moved, by kind of call.
    pub fn statistics(&self) -> impl Iterator<Item = Statistics> {
        Kind::ALL.iter().map(|&kind| {
            let counters = &self.common.counters[kind as usize];
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Statistics {
                kind,
                calls: read(&counters.calls),
                moved: Moved { sent: read(&counters.sent), received: read(&counters.received) },
                seconds: read(&counters.nanoseconds) as f64 * 1e-9,
            }
        })
    }

    /// The calls that run or wait for other ranks now, and for how many seconds they have.
    pub fn current(&self) -> Vec<(String, f64)> {
        let queues = lock(&self.queues);
        let queues = queues.iter().flat_map(HashMap::values);
        let current = |queue: &Queue| lock(&queue.current).clone();
        queues.filter_map(current).map(|(call, since)| (call, since.elapsed().as_secs_f64())).collect()
    }

    /// Leaves: what is queued fails, here and for those who wait for it. Calls `done` when the threads have ended.
    pub fn close(&self, done: impl FnOnce() + Send + 'static) {
        let Some(queues) = lock(&self.queues).take() else { return done() };
        self.common.closing.store(true, Ordering::Relaxed);
        self.segment.close();
        let threads: Vec<_> = queues.into_values().map(|queue| queue.thread).collect();
        std::thread::spawn(move || {
            for thread in threads {
                // Panics in it have been caught.
                let _ = thread.join();
            }
            done();
        });
    }
}

impl Drop for Collective {
    fn drop(&mut self) {
        self.close(|| ());
    }
}

/// What a queue's thread has.
struct Worker {
    lane: Lane,
    segment: Arc<Segment>,
    common: Arc<Common>,
    current: Arc<Mutex<Option<(String, Instant)>>>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        for job in queue {
            // A mark is dropped here, after all before it.
            if let Job::Run { work, after, signal, pins } = job {
                let result = self.make(&work, &after);
                *lock(&self.current) = None;
                drop(pins);
                signal.set(result);
            }
        }
    }

    fn make(&mut self, work: &Work, after: &Event) -> Result<(), String> {
        let ready = after.wait();
        let failure = lock(&self.common.failure).clone();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let since = Instant::now();
        *lock(&self.current) = Some((work.call.to_string(), since));
        let result = match ready {
            Err(error) => Err(Trouble::Found(format!("what it waited for had failed: {error}"))),
            Ok(()) if self.common.closing.load(Ordering::Relaxed) => Err(Trouble::Closing),
            Ok(()) => catch_unwind(AssertUnwindSafe(|| operations::run(work, &mut self.lane)))
                .unwrap_or_else(|_| Err(Trouble::Found("internal error".into()))),
        };
        match result {
            Ok(moved) => {
                self.common.counters[work.call.kind as usize].count(moved, since);
                Ok(())
            }
            Err(trouble) => Err(self.fail(&work.call, trouble)),
        }
    }

    /// Remembers a failure, tells the others of one that was found here, and says it in words.
    fn fail(&self, call: &Call, trouble: Trouble) -> String {
        let rank = self.segment.rank();
        let members: Vec<String> = self.lane.members().iter().map(usize::to_string).collect();
        let among = if call.elements.is_some() && call.peer.is_some() && members.len() == 2 {
            String::new()
        } else {
            format!(" over ranks {}", members.join(", "))
        };
        let place = format!("Rank {rank} in {call}{among}");
        let text = match &trouble {
            Trouble::Closing => format!("{place}: this rank has closed the collective"),
            Trouble::Heard(failure) => format!("{place}: the collective had failed before: {failure}"),
            Trouble::Found(cause) => format!("{place}: {cause}"),
        };
        if let Trouble::Found(_) = trouble {
            self.segment.fail(&text);
        }
        lock(&self.common.failure).get_or_insert(text).clone()
    }
}

impl Counters {
    fn count(&self, moved: Moved, since: Instant) {
        let add = |counter: &AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
        add(&self.calls, 1);
        add(&self.sent, moved.sent);
        add(&self.received, moved.received);
        add(&self.nanoseconds, since.elapsed().as_nanos() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::call::Reduction;
    use crate::memory::DataType;
    use crate::testing::numbers;
    use std::time::Duration;

    const PATIENCE: Patience = Patience { join: Duration::from_millis(300), stall: None };

    /// All ranks of a collective in this process: calls return at once, so one thread can make those of all.
    fn ranks(size: usize, chunk: usize) -> Vec<Collective> {
        let first = Segment::create(size, chunk).unwrap();
        let address = first.address().to_owned();
        let others = (1..size).map(|rank| Segment::open(&address, rank, size).unwrap());
        std::iter::once(first).chain(others).map(|segment| Collective::new(segment, PATIENCE)).collect()
    }

    fn worlds(ranks: &[Collective]) -> Vec<Group> {
        ranks.iter().map(|rank| rank.group((0..ranks.len()).collect()).unwrap()).collect()
    }

    fn now() -> Event {
        let (event, signal) = Event::new();
        signal.set(Ok(()));
        event
    }

    fn call(kind: Kind, length: usize) -> Call {
        let reduction = matches!(kind, Kind::AllReduce | Kind::ReduceScatter).then_some(Reduction::Sum);
        Call { kind, reduction, elements: Some(DataType::F32), peer: None, length }
    }

    fn work(call: Call, x: &mut [f32], out: Option<&mut [f32]>) -> Work {
        let x: *mut u8 = x.as_mut_ptr().cast();
        Work { call, x, out: out.map_or(x, |out| out.as_mut_ptr().cast()) }
    }

    #[test]
    fn all_reduce_is_reduce_scatter_and_all_gather_bit_for_bit_whatever_the_chunks() {
        for size in 1..=4 {
            for part in [0, 1, 15, 256, 1000, 4099] {
                let inputs: Vec<Vec<f32>> =
                    (0..size).map(|rank| numbers(part * size, rank as u64 + 1)).collect();
                let sum = |i: usize| inputs[1..].iter().fold(inputs[0][i], |sum, x| sum + x[i]);
                let expected: Vec<f32> = (0..part * size).map(sum).collect();
                for chunk in [4096, 4160, 1 << 20] {
                    let ranks = ranks(size, chunk);
                    let groups = worlds(&ranks);
                    let (mut reduced, mut inputs) = (inputs.clone(), inputs.clone());
                    let (mut parts, mut gathered) =
                        (vec![vec![0.0; part]; size], vec![vec![0.0; part * size]; size]);
                    let mut events = Vec::new();
                    for rank in 0..size {
                        for work in [
                            work(call(Kind::AllReduce, part * size), &mut reduced[rank], None),
                            work(call(Kind::ReduceScatter, part), &mut inputs[rank], Some(&mut parts[rank])),
                            work(call(Kind::AllGather, part), &mut parts[rank], Some(&mut gathered[rank])),
                        ] {
                            events.push(ranks[rank].call(&groups[rank], work, now(), Vec::new()).unwrap());
                        }
                    }
                    events.iter().for_each(|event| event.wait().unwrap());
                    for rank in 0..size {
                        assert_eq!(
                            reduced[rank], expected,
                            "{size} ranks, {part} elements, chunks of {chunk}"
                        );
                        assert_eq!(gathered[rank], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_are_counted_as_the_least_that_must_move() {
        let ranks = ranks(4, 4096);
        let groups = worlds(&ranks);
        let mut x = vec![vec![1.0f32; 4096]; 4];
        for rank in 0..4 {
            let work = work(call(Kind::AllReduce, 4096), &mut x[rank], None);
            drop(ranks[rank].call(&groups[rank], work, now(), Vec::new()).unwrap());
        }
        for rank in &ranks {
            let (send, receive) = channel();
            rank.finish(move |result| send.send(result).unwrap());
            receive.recv().unwrap().unwrap();
            let statistics = rank.statistics().find(|one| one.kind == Kind::AllReduce).unwrap();
            assert_eq!(statistics.calls, 1);
            // Three quarters of the tensor from others to reduce, three quarters reduced by others.
            assert_eq!(statistics.moved.received, 2 * 3 * 4096);
            assert_eq!(statistics.moved.sent, 4 * 4096);
        }
    }

    #[test]
    fn both_may_send_first() {
        let ranks = ranks(2, 4096);
        let groups = worlds(&ranks);
        let length = 10_000;
        let mut sent = [numbers(length, 1), numbers(length, 2)];
        let mut received = vec![vec![0.0f32; length]; 2];
        let mut events = Vec::new();
        for rank in 0..2 {
            let to = |kind| Call { peer: Some(1 - rank), ..call(kind, length) };
            for work in [
                work(to(Kind::Send), &mut sent[rank], None),
                work(to(Kind::Receive), &mut received[rank], None),
            ] {
                events.push(ranks[rank].call(&groups[rank], work, now(), Vec::new()).unwrap());
            }
        }
        events.iter().for_each(|event| event.wait().unwrap());
        assert_eq!(received[0], sent[1]);
        assert_eq!(received[1], sent[0]);
    }

    #[test]
    fn calls_that_do_not_match_fail_on_both_sides_with_both_named() {
        let ranks = ranks(2, 4096);
        let groups = worlds(&ranks);
        let mut x = vec![vec![0.0f32; 100]; 2];
        let calls = [call(Kind::AllReduce, 100), call(Kind::AllReduce, 99)];
        let events: Vec<Event> = (0..2)
            .map(|rank| {
                let work = work(calls[rank], &mut x[rank], None);
                ranks[rank].call(&groups[rank], work, now(), Vec::new()).unwrap()
            })
            .collect();
        for event in events {
            let error = event.wait().unwrap_err();
            assert!(error.contains("calls do not match"), "{error}");
            assert!(
                error.contains("allReduce of 99 f32") && error.contains("allReduce of 100 f32"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_failure_in_one_group_ends_the_others_waits() {
        let ranks = ranks(3, 4096);
        let pair: Vec<Group> = [0, 1].map(|rank: usize| ranks[rank].group(vec![0, 1]).unwrap()).into();
        let others: Vec<Group> = [1, 2].map(|rank: usize| ranks[rank].group(vec![1, 2]).unwrap()).into();
        let barrier = Call { kind: Kind::Barrier, reduction: None, elements: None, peer: None, length: 0 };
        let nothing = Work { call: barrier, x: std::ptr::null_mut(), out: std::ptr::null_mut() };
        let waiting = ranks[2].call(&others[1], nothing, now(), Vec::new()).unwrap();
        let mut x = vec![0.0f32; 4];
        let reduce = work(call(Kind::AllReduce, 4), &mut x, None);
        ranks[0].call(&pair[0], reduce, now(), Vec::new()).unwrap();
        ranks[1].call(&pair[1], nothing, now(), Vec::new()).unwrap();
        let error = waiting.wait().unwrap_err();
        assert!(
            error.starts_with("Rank 2 in barrier over ranks 1, 2: the collective had failed before"),
            "{error}"
        );
        assert!(error.contains("called barrier") && error.contains("called allReduce of 4 f32"), "{error}");
    }

    #[test]
    fn a_rank_that_never_joins_and_one_that_leaves_are_errors() {
        let first = Collective::new(Segment::create(2, 4096).unwrap(), PATIENCE);
        let group = first.group(vec![0, 1]).unwrap();
        let mut x = vec![0.0f32; 4];
        let reduce = work(call(Kind::AllReduce, 4), &mut x, None);
        let error = first.call(&group, reduce, now(), Vec::new()).unwrap().wait().unwrap_err();
        assert_eq!(error, "Rank 0 in allReduce of 4 f32 over ranks 0, 1: rank 1 has not joined within 0.3 s");
        let ranks = ranks(2, 4096);
        let group = ranks[0].group(vec![0, 1]).unwrap();
        let waiting = ranks[0].call(&group, reduce, now(), Vec::new()).unwrap();
        ranks[1].close(|| ());
        let error = waiting.wait().unwrap_err();
        assert!(error.ends_with("has closed the collective"), "{error}");
        ranks[0].close(|| ());
        assert_eq!(ranks[0].call(&group, reduce, now(), Vec::new()).err().unwrap(), CLOSED);
    }

    #[test]
    fn memory_of_a_call_stays_until_its_end() {
        use crate::memory::{Memory, Region};
        let ranks = ranks(2, 4096);
        let groups = worlds(&ranks);
        let memory = Arc::new(Memory::new(64 << 20).unwrap());
        let region = Region::new(memory.clone(), DataType::F32, 0, 16 << 20).unwrap();
        let mut mine = vec![1.0f32; 16 << 20];
        let pin = Pin::new(&region).unwrap();
        let reduce = |x: *mut u8| Work { call: call(Kind::AllReduce, 16 << 20), x, out: x };
        let theirs = ranks[1].call(&groups[1], reduce(pin.data()), now(), vec![pin]).unwrap();
        memory.free();
        let own = ranks[0].call(&groups[0], reduce(mine.as_mut_ptr().cast()), now(), Vec::new()).unwrap();
        own.wait().unwrap();
        theirs.wait().unwrap();
        assert!(mine.iter().all(|&x| x == 1.0));
    }
}
