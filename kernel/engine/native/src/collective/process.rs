//! Who a process is, beyond its number (which the system gives to others later), and how it fares.

/// A process: its number and when it started, in the system's own unit; 0 where that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process number.
    pub pid: u32,
    /// Start time.
    pub start: u64,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs, sleeps or waits.
    Alive,
    /// It is stopped by a signal or a debugger.
    Stopped,
    /// It has ended, though its parent may not have noticed.
    Dead,
}

impl Process {
    /// The calling process.
    pub fn own() -> Self {
        let pid = std::process::id();
        Self { pid, start: look(pid).map_or(0, |(start, _)| start) }
    }

    /// What it does now.
    pub fn condition(&self) -> Condition {
        match look(self.pid) {
            Some((start, condition)) if start == self.start => condition,
            _ => Condition::Dead,
        }
    }
}

/// Start time and condition of process `pid`; None when there is none.
#[cfg(target_os = "linux")]
fn look(pid: u32) -> Option<(u64, Condition)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything; the third and the 22nd are wanted.
    let mut fields = status[status.rfind(')')? + 1..].split_ascii_whitespace();
    let condition = match fields.next()? {
        "Z" | "X" | "x" => Condition::Dead,
        "T" | "t" => Condition::Stopped,
        _ => Condition::Alive,
    };
    Some((fields.nth(18)?.parse().ok()?, condition))
}

/// Where there is no /proc: a signal of number 0 tells whether the process is there.
#[cfg(not(target_os = "linux"))]
fn look(pid: u32) -> Option<(u64, Condition)> {
    let there = unsafe { libc::kill(pid as libc::pid_t, 0) } == 0
        || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
    there.then_some((0, Condition::Alive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_alive_until_it_ends_even_if_nobody_collects_it() {
        let own = Process::own();
        assert_eq!(own.condition(), Condition::Alive);
        assert_eq!(Process { start: own.start + 1, ..own }.condition(), Condition::Dead);

        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let start = look(child.id()).unwrap().0;
        let process = Process { pid: child.id(), start };
        assert_eq!(process.condition(), Condition::Alive);
        let mut output = child.stdout.take().unwrap();
        child.kill().unwrap();
        // Its end of the pipe closes while it ends; then it is a zombie until `wait`.
        std::io::Read::read_to_end(&mut output, &mut Vec::new()).unwrap();
        while cfg!(target_os = "linux") && process.condition() != Condition::Dead {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process.condition(), Condition::Dead);
    }
}
