//! Events: points in one queue that another queue can wait for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A point in a queue. It happens once, well or with the error of the call that it stands for.
#[derive(Clone, Default)]
pub struct Event(Arc<Shared>);

#[derive(Default)]
struct Shared {
    result: Mutex<Option<Result<(), String>>>,
    happened: Condvar,
}

/// The queue's end of an event. Dropped without [`Signal::set`], it fails the event: nobody waits for a queue that is gone.
pub struct Signal(Option<Event>);

impl Event {
    /// An event that has not happened, and what makes it happen.
    pub fn new() -> (Self, Signal) {
        let event = Self::default();
        (event.clone(), Signal(Some(event)))
    }

    /// Whether it has happened.
    pub fn happened(&self) -> bool {
        self.result().is_some()
    }

    /// Blocks until it has happened; the error of a call that failed.
    pub fn wait(&self) -> Result<(), String> {
        let mut result = self.result();
        loop {
            match &*result {
                Some(result) => return result.clone(),
                None => result = self.0.happened.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn result(&self) -> MutexGuard<'_, Option<Result<(), String>>> {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, result: Result<(), String>) {
        *self.result() = Some(result);
        self.0.happened.notify_all();
    }
}

impl Signal {
    /// The event happens.
    pub fn set(mut self, result: Result<(), String>) {
        if let Some(event) = self.0.take() {
            event.set(result);
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(event) = self.0.take() {
            event.set(Err("What was waited for never came: its queue has ended".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_end_with_the_result_whether_it_came_before_or_comes_after() {
        let (event, signal) = Event::new();
        let waiting = std::thread::spawn({
            let event = event.clone();
            move || event.wait()
        });
        assert!(!event.happened());
        signal.set(Err("the product failed".into()));
        assert_eq!(waiting.join().unwrap(), Err("the product failed".into()));
        assert!(event.happened());
        assert_eq!(event.wait(), Err("the product failed".into()));
    }

    #[test]
    fn an_event_of_a_queue_that_is_gone_fails() {
        let (event, signal) = Event::new();
        drop(signal);
        assert!(event.wait().unwrap_err().contains("queue has ended"));
    }
}
