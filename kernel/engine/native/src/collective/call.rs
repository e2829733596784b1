//! What a rank calls, as the others see it: all members of a lane must call the same.

use crate::memory::DataType;
use std::fmt::{Display, Formatter, Result};

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every member gets the reduction of all.
    AllReduce,
    /// Member m gets part m of the reduction.
    ReduceScatter,
    /// Every member gets the parts of all.
    AllGather,
    /// Every member gets what the root has.
    Broadcast,
    /// Nobody goes on before all are there.
    Barrier,
    /// To one peer.
    Send,
    /// From one peer.
    Receive,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 7] = [
        Kind::AllReduce,
        Kind::ReduceScatter,
        Kind::AllGather,
        Kind::Broadcast,
        Kind::Barrier,
        Kind::Send,
        Kind::Receive,
    ];

    /// As collective.ts spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::AllReduce => "allReduce",
            Kind::ReduceScatter => "reduceScatter",
            Kind::AllGather => "allGather",
            Kind::Broadcast => "broadcast",
            Kind::Barrier => "barrier",
            Kind::Send => "send",
            Kind::Receive => "receive",
        }
    }
}

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum; of bf16 in f32, rounded once.
    Sum,
    /// Greatest; not a number when any is not.
    Max,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which operation.
    pub kind: Kind,
    /// How elements are combined, where they are.
    pub reduction: Option<Reduction>,
    /// Type of the elements; none of a barrier.
    pub elements: Option<DataType>,
    /// The rank that a broadcast comes from, that a send goes to, that a receive comes from.
    pub peer: Option<usize>,
    /// Elements: of the whole tensor, or of one member's part where a call has parts.
    pub length: usize,
}

const TYPES: [DataType; 3] = [DataType::F32, DataType::Bf16, DataType::I32];

impl Call {
    /// As it lies in shared memory.
    pub fn encode(&self) -> [u64; 2] {
        let reduction = match self.reduction {
            None => 0,
            Some(Reduction::Sum) => 1,
            Some(Reduction::Max) => 2,
        };
        let elements =
            TYPES.iter().position(|&kind| Some(kind) == self.elements).map_or(0, |at| at as u64 + 1);
        let peer = self.peer.map_or(0, |rank| rank as u64 + 1);
        [self.kind as u64 | reduction << 8 | elements << 16 | peer << 24, self.length as u64]
    }

    /// What `encode` wrote; None of what it never writes.
    pub fn decode([code, length]: [u64; 2]) -> Option<Self> {
        let byte = |at: u32| (code >> at & 0xff) as usize;
        Some(Self {
            kind: *Kind::ALL.get(byte(0))?,
            reduction: [None, Some(Reduction::Sum), Some(Reduction::Max)].get(byte(8)).copied()?,
            elements: byte(16).checked_sub(1).and_then(|at| TYPES.get(at).copied()),
            peer: byte(24).checked_sub(1),
            length: length as usize,
        })
    }

    /// Whether another member may call this at the same point.
    pub fn fits(&self, other: &Call) -> bool {
        match (self.kind, other.kind) {
            (Kind::Send, Kind::Receive) | (Kind::Receive, Kind::Send) => {
                self.elements == other.elements && self.length == other.length
            }
            _ => self == other,
        }
    }
}

impl Display for Call {
    /// "allReduce (max) of 5 f32"
    fn fmt(&self, to: &mut Formatter<'_>) -> Result {
        to.write_str(self.kind.name())?;
        if self.reduction == Some(Reduction::Max) {
            to.write_str(" (max)")?;
        }
        if let Some(elements) = self.elements {
            write!(to, " of {} {}", self.length, elements.name())?;
        }
        match (self.kind, self.peer) {
            (Kind::Send, Some(rank)) => write!(to, " to rank {rank}"),
            (_, Some(rank)) => write!(to, " from rank {rank}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_the_way_through_shared_memory_and_read_well() {
        let reduce = Call {
            kind: Kind::AllReduce,
            reduction: Some(Reduction::Max),
            elements: Some(DataType::Bf16),
            peer: None,
            length: 5,
        };
        let broadcast =
            Call { kind: Kind::Broadcast, reduction: None, peer: Some(31), length: 1 << 40, ..reduce };
        let barrier = Call { kind: Kind::Barrier, reduction: None, elements: None, peer: None, length: 0 };
        for call in [reduce, broadcast, barrier] {
            assert_eq!(Call::decode(call.encode()), Some(call));
        }
        assert_eq!(Call::decode([99, 0]), None);
        assert_eq!(reduce.to_string(), "allReduce (max) of 5 bf16");
        assert_eq!(broadcast.to_string(), "broadcast of 1099511627776 bf16 from rank 31");
        assert_eq!(barrier.to_string(), "barrier");
    }

    #[test]
    fn members_must_call_the_same_and_what_is_sent_must_be_received() {
        let send = Call {
            kind: Kind::Send,
            reduction: None,
            elements: Some(DataType::F32),
            peer: Some(1),
            length: 5,
        };
        let receive = Call { kind: Kind::Receive, peer: Some(0), ..send };
        assert!(send.fits(&receive) && receive.fits(&send) && send.fits(&send));
        assert!(!send.fits(&Call { length: 6, ..receive }));
        assert!(!send.fits(&Call { elements: Some(DataType::I32), ..receive }));
        assert!(!receive.fits(&Call { kind: Kind::Broadcast, ..receive }));
    }
}
