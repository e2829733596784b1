//! The engine's thread: runs queued calls in order, on a thread pool of its own, and remembers the first error.

use crate::memory::Scratch;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What queued calls share.
#[derive(Default)]
pub struct State {
    /// Of the first call that failed since the last time someone asked.
    error: Option<String>,
    /// Memory that operations use while they run (transposed weights, logits); kept from call to call.
    pub scratch: Scratch,
}

impl State {
    /// The first error since the last call of this.
    pub fn take_error(&mut self) -> Result<(), String> {
        self.error.take().map_or(Ok(()), Err)
    }
}

type Call = Box<dyn FnOnce(&mut State) -> Result<(), String> + Send>;

/// Sends calls to the engine's thread.
pub struct Engine {
    calls: Sender<Call>,
    pool: rayon::ThreadPool,
}

impl Engine {
    /// Starts `threads` threads, one of which takes calls from the queue and works along.
    pub fn start(threads: usize) -> Result<Self, String> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("engine-{index}"))
            .build()
            .map_err(|error| format!("The engine's {threads} threads could not be started: {error}"))?;
        let (calls, queue) = channel();
        pool.spawn(move || run(&queue));
        Ok(Self { calls, pool })
    }

    /// Threads that work on a call.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Queues a call; its error is kept for the next that asks. Calls after [`Engine::stop`]'s are lost.
    pub fn queue(&self, call: impl FnOnce(&mut State) -> Result<(), String> + Send + 'static) {
        // Sending fails only when the thread is gone, which takes this engine's own end.
        let _ = self.calls.send(Box::new(call));
    }

    /// Runs what is queued, then `last`, and ends the threads. Returns at once.
    pub fn stop(self, last: impl FnOnce() + Send + 'static) {
        self.queue(move |_| {
            last();
            Ok(())
        });
    }
}

fn run(queue: &Receiver<Call>) {
    let mut state = State::default();
    for call in queue {
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut state)))
            .unwrap_or_else(|panic| Err(format!("Internal error in the engine: {}", text_of(&*panic))));
        if let (Err(error), None) = (result, &state.error) {
            state.error = Some(error);
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_run_in_order_and_the_first_error_is_kept_until_asked_for() {
        let engine = Engine::start(2).unwrap();
        let (send, receive) = channel();
        engine.queue(|_| Err("first".into()));
        engine.queue(|_| panic!("second"));
        for _ in 0..2 {
            let send = send.clone();
            engine.queue(move |state| {
                send.send(state.take_error()).unwrap();
                Ok(())
            });
        }
        assert_eq!(receive.recv().unwrap(), Err("first".into()));
        assert_eq!(receive.recv().unwrap(), Ok(()));
        let send = send.clone();
        engine.stop(move || send.send(Ok(())).unwrap());
        assert_eq!(receive.recv().unwrap(), Ok(()));
    }
}
