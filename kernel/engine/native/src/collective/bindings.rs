//! What JavaScript sees of a collective: `SharedMemory`, one rank's end of it, and `SharedMemoryGroup`, whose methods
//! queue calls. Types, lengths and ranks are checked by the caller (shared-memory.ts).

#![cfg_attr(test, allow(dead_code))] // Exported to JavaScript only.

use super::call::{Call, Kind, Reduction};
use super::lane::Patience;
use super::operations::Work;
use super::queue::{Collective, Group};
use super::segment::{MAXIMUM_RANKS, Segment};
use crate::bindings::{QueueEvent, Region};
use crate::memory::Pin;
use napi::bindgen_prelude::{Env, Error, Object, Result};
use napi_derive::napi;
use std::sync::Arc;
use std::time::Duration;

/// How to join.
#[napi(object)]
pub struct SharedMemorySettings {
    /// This rank.
    pub rank: u32,
    /// Number of ranks.
    pub size: u32,
    /// Rank 0's; it has none itself.
    pub address: Option<String>,
    /// Bytes, a multiple of 64 of at least 4096; rank 0's counts.
    pub chunk_bytes: u32,
    /// Seconds to wait for others to join.
    pub join_seconds: f64,
    /// Seconds to wait for a rank that lives to do its part; none: for ever.
    pub stall_seconds: Option<f64>,
}

/// What the calls of one kind have moved.
#[napi(object, object_from_js = false)]
pub struct CallStatistics {
    /// "allReduce", …
    pub operation: &'static str,
    /// Calls that have ended.
    pub calls: f64,
    /// Bytes put where others take them.
    pub bytes_sent: f64,
    /// Bytes taken from others.
    pub bytes_received: f64,
    /// From inputs being ready to the end, summed.
    pub seconds: f64,
}

/// A call under way.
#[napi(object, object_from_js = false)]
pub struct CurrentCall {
    /// "allReduce of 5 f32"
    pub call: String,
    /// Since its inputs were ready.
    pub seconds: f64,
}

/// One rank's end of a collective.
#[napi]
pub struct SharedMemory(Arc<Collective>);

/// Most ranks.
#[napi]
pub fn maximum_shared_memory_ranks() -> u32 {
    MAXIMUM_RANKS as u32
}

#[napi]
impl SharedMemory {
    /// Joins: makes the memory as rank 0, opens it as another.
    #[napi(constructor)]
    pub fn new(settings: SharedMemorySettings) -> Result<Self> {
        let (rank, size) = (settings.rank as usize, settings.size as usize);
        let segment = match &settings.address {
            None => Segment::create(size, settings.chunk_bytes as usize),
            Some(address) => Segment::open(address, rank, size),
        };
        let patience = Patience {
            join: Duration::from_secs_f64(settings.join_seconds),
            stall: settings.stall_seconds.map(Duration::from_secs_f64),
        };
        Ok(Self(Arc::new(Collective::new(segment.map_err(Error::from_reason)?, patience))))
    }

    /// What the others join with.
    #[napi(getter)]
    pub fn address(&self) -> String {
        self.0.segment().address().into()
    }

    /// A group of ascending ranks, this one among them.
    #[napi]
    pub fn group(&self, ranks: Vec<u32>) -> Result<SharedMemoryGroup> {
        let members = ranks.into_iter().map(|rank| rank as usize).collect();
        let group = self.0.group(members).map_err(Error::from_reason)?;
        Ok(SharedMemoryGroup { collective: self.0.clone(), group })
    }

    /// Resolves after everything queued so far, rejects with the first failure.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn finish<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred()?;
        self.0.finish(move |result| match result {
            Ok(()) => deferred.resolve(|_| Ok(())),
            Err(error) => deferred.reject(Error::from_reason(error)),
        });
        Ok(promise)
    }

    /// Leaves at once; resolves when the threads have ended.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred()?;
        self.0.close(move || deferred.resolve(|_| Ok(())));
        Ok(promise)
    }

    /// What the calls that have ended moved, by operation.
    #[napi]
    pub fn statistics(&self) -> Vec<CallStatistics> {
        let statistics = self.0.statistics().map(|one| CallStatistics {
            operation: one.kind.name(),
            calls: one.calls as f64,
            bytes_sent: one.moved.sent as f64,
            bytes_received: one.moved.received as f64,
            seconds: one.seconds,
        });
        statistics.collect()
    }

    /// The calls under way.
    #[napi]
    pub fn current(&self) -> Vec<CurrentCall> {
        self.0.current().into_iter().map(|(call, seconds)| CurrentCall { call, seconds }).collect()
    }
}

/// Ranks that call together.
#[napi]
pub struct SharedMemoryGroup {
    collective: Arc<Collective>,
    group: Group,
}

#[napi]
impl SharedMemoryGroup {
    /// x = reduction of all members' x
    #[napi]
    pub fn all_reduce(&self, x: &Region, max: bool, after: &QueueEvent) -> Result<QueueEvent> {
        self.call(Kind::AllReduce, Some(reduction(max)), None, x, x, x, after)
    }

    /// out = this member's part of the reduction of all x
    #[napi]
    pub fn reduce_scatter(
        &self,
        out: &Region,
        x: &Region,
        max: bool,
        after: &QueueEvent,
    ) -> Result<QueueEvent> {
        self.call(Kind::ReduceScatter, Some(reduction(max)), None, out, x, out, after)
    }

    /// out = all members' x one after the other
    #[napi]
    pub fn all_gather(&self, out: &Region, x: &Region, after: &QueueEvent) -> Result<QueueEvent> {
        self.call(Kind::AllGather, None, None, out, x, x, after)
    }

    /// x = x of rank `root`
    #[napi]
    pub fn broadcast(&self, x: &Region, root: u32, after: &QueueEvent) -> Result<QueueEvent> {
        self.call(Kind::Broadcast, None, Some(root), x, x, x, after)
    }

    /// x to rank `to`
    #[napi]
    pub fn send(&self, x: &Region, to: u32, after: &QueueEvent) -> Result<QueueEvent> {
        self.call(Kind::Send, None, Some(to), x, x, x, after)
    }

    /// out = what rank `from` sends
    #[napi]
    pub fn receive(&self, out: &Region, from: u32, after: &QueueEvent) -> Result<QueueEvent> {
        self.call(Kind::Receive, None, Some(from), out, out, out, after)
    }

    /// Ends when all members have come to it.
    #[napi]
    pub fn barrier(&self, after: &QueueEvent) -> Result<QueueEvent> {
        let call = Call { kind: Kind::Barrier, reduction: None, elements: None, peer: None, length: 0 };
        let nothing = std::ptr::null_mut();
        self.queue(Work { call, x: nothing, out: nothing }, after, Vec::new())
    }

    fn call(
        &self,
        kind: Kind,
        reduction: Option<Reduction>,
        peer: Option<u32>,
        out: &Region,
        x: &Region,
        part: &Region,
        after: &QueueEvent,
    ) -> Result<QueueEvent> {
        let pin = |region: &Region| {
            Pin::new(&region.0)
                .ok_or_else(|| Error::from_reason("A tensor was used after its memory had been released"))
        };
        let (out, x, length) = (pin(out)?, pin(x)?, part.0.len());
        let peer = peer.map(|rank| rank as usize);
        let call = Call { kind, reduction, elements: Some(x.kind()), peer, length };
        let whole = length.checked_mul(self.group.members.len());
        let fits = match kind {
            Kind::ReduceScatter => Some(x.len()) == whole,
            Kind::AllGather => Some(out.len()) == whole,
            _ => true,
        };
        if !fits || out.kind() != x.kind() {
            return Err(Error::from_reason(format!("{call}: the tensors do not fit each other")));
        }
        self.queue(Work { call, x: x.data(), out: out.data() }, after, vec![out, x])
    }

    fn queue(&self, work: Work, after: &QueueEvent, pins: Vec<Pin>) -> Result<QueueEvent> {
        let event = self.collective.call(&self.group, work, after.0.clone(), pins);
        event.map(QueueEvent).map_err(Error::from_reason)
    }
}

fn reduction(max: bool) -> Reduction {
    if max { Reduction::Max } else { Reduction::Sum }
}
