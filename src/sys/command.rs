//! Commands: started without a shell, read up to a size limit, and killed with all their children at the deadline.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::blocking;
use crate::collector::{Deadline, Error, ErrorKind};
use crate::lock::lock;

/// How much of what a command says on stderr is kept for the error.
const COMPLAINT_LIMIT: usize = 4096;

/// How often it is checked whether a command that has closed its output has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long a command that was killed may take to be gone.
const KILL_WAIT: Duration = Duration::from_millis(100);

/// What a finished command output.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Whether it ended with exit status 0.
    pub success: bool,
    /// Its exit status; absent where a signal ended it.
    pub code: Option<i32>,
    /// The first line of its standard error, trimmed; its exit status where it output nothing.
    pub complaint: String,
}

/// Runs a command to its end and reads its output, at most `limit` bytes.
///
/// The command gets its own process group, which is killed when the deadline is over, when
/// it prints too much, and when it leaves children behind that keep its output open. A command that can't be killed,
/// such as one of another user behind sudo, is abandoned, and not started again while it runs.
pub fn run(command: &[String], limit: usize, deadline: Deadline) -> Result<Output, Error> {
    let subject = command.join(" ");
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::new("empty command", ErrorKind::NotFound));
    };
    deadline.left(&subject)?;
    if let Some(process) = left_behind(&subject) {
        let why = format!("process {process}, which an earlier scrape started, still runs and can't be ended");
        return Err(Error::new(subject, ErrorKind::Refused { why }));
    }
    let (program, arguments, name) = (program.clone(), arguments.to_vec(), subject.clone());
    // The program may be on a file system that hangs, and exec(2) is waited for.
    let start = move || {
        let child = Command::new(&program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        child.map(|child| Running::new(child, name)).map_err(|error| Error::io(&program, &error))
    };
    blocking::run(&subject, deadline, start)?.read(limit, deadline)
}

/// The commands that did not end when they were killed.
static LEFT: Mutex<Vec<(String, Child)>> = Mutex::new(Vec::new());

/// The process of that command that did not end when it was killed, if it still runs.
fn left_behind(subject: &str) -> Option<u32> {
    let mut left = lock(&LEFT);
    left.retain_mut(|(_, child)| is_running(child));
    left.iter().find(|(command, _)| command == subject).map(|(_, child)| child.id())
}

fn is_running(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Kills all running commands, so that none of them outlives the exporter.
pub fn end_all() {
    for group in running().iter() {
        // The group may have ended already.
        let _ = killpg(*group, Signal::SIGKILL);
    }
}

/// The process groups of the commands that run now.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    lock(&RUNNING)
}

/// A running command; it is killed when this is dropped.
struct Running {
    /// Absent only while this is dropped.
    child: Option<Child>,
    group: Pid,
    subject: String,
}

impl Running {
    fn new(child: Child, subject: String) -> Self {
        // Process ids are positive and fit. A number that does not must not become 0, which means our own group.
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        running().push(group);
        Self { child: Some(child), group, subject }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A group keeps its number while a child of it is left; if none is, the number has been free only for a moment.
        let _ = killpg(self.group, Signal::SIGKILL);
        running().retain(|other| *other != self.group);
        let Some(mut child) = self.child.take() else { return };
        let killed = Instant::now();
        while is_running(&mut child) {
            if killed.elapsed() >= KILL_WAIT {
                let subject = std::mem::take(&mut self.subject);
                return lock(&LEFT).push((subject, child));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn read(&mut self, limit: usize, deadline: Deadline) -> Result<Output, Error> {
        let Self { child, subject, .. } = self;
        let subject = subject.as_str();
        let no_pipe = || Error::new(subject, ErrorKind::Io { why: "no pipe".into() });
        let child = child.as_mut().ok_or_else(no_pipe)?;
        let stdout = child.stdout.take().map(OwnedFd::from).ok_or_else(no_pipe)?;
        let stderr = child.stderr.take().map(OwnedFd::from).ok_or_else(no_pipe)?;
        let (mut output, mut errors) = (Pipe::new(stdout, subject)?, Pipe::new(stderr, subject)?);
        let mut status = None;
        // A child that has ended may leave children of its own that hold the pipes: what was
        // written before it ended is all that is waited for.
        while !(output.is_closed && errors.is_closed) && status.is_none() {
            wait([&output, &errors], deadline, subject)?;
            status = child.try_wait().map_err(|error| Error::io(subject, &error))?;
            output.drain(subject)?;
            errors.drain(subject)?;
            errors.bytes.truncate(COMPLAINT_LIMIT);
            if output.bytes.len() > limit {
                return Err(Error::new(subject, ErrorKind::TooLong { limit }));
            }
        }
        let status = end(child, status, deadline, subject)?;
        let complaint = complaint(&errors.bytes, status);
        Ok(Output { stdout: output.bytes, success: status.success(), code: status.code(), complaint })
    }
}

/// Waits for the end of a child that has closed its output.
fn end(child: &mut Child, status: Option<ExitStatus>, deadline: Deadline, subject: &str) -> Result<ExitStatus, Error> {
    if let Some(status) = status {
        return Ok(status);
    }
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Error::io(subject, &error))? {
            return Ok(status);
        }
        thread::sleep(deadline.left(subject)?.min(POLL_INTERVAL));
    }
}

/// A pipe from a child, and what was read from it.
struct Pipe {
    file: File,
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Pipe {
    fn new(pipe: OwnedFd, subject: &str) -> Result<Self, Error> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| Error::io(subject, &error.into()))?;
        Ok(Self { file: pipe.into(), bytes: Vec::new(), is_closed: false })
    }

    /// Takes what is there now, a bounded amount at a time.
    fn drain(&mut self, subject: &str) -> Result<(), Error> {
        const STEP: u64 = 256 * 1024;
        if self.is_closed {
            return Ok(());
        }
        let before = self.bytes.len();
        match (&self.file).take(STEP).read_to_end(&mut self.bytes) {
            Ok(_) => self.is_closed = (self.bytes.len().saturating_sub(before) as u64) < STEP,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(Error::io(subject, &error)),
        }
        Ok(())
    }
}

/// Waits until a pipe can be read or was closed, at most 50 ms, since a child can end while a grandchild keeps its
/// pipes open.
fn wait(pipes: [&Pipe; 2], deadline: Deadline, subject: &str) -> Result<(), Error> {
    let open = pipes.iter().filter(|pipe| !pipe.is_closed);
    let mut watched: Vec<_> = open.map(|pipe| PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN)).collect();
    let left = deadline.left(subject)?.min(Duration::from_millis(50));
    match poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(Error::io(subject, &error.into())),
    }
}

fn complaint(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => line.chars().take(200).collect(),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: usize, milliseconds: u64) -> Result<Output, Error> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, limit, Deadline::within(Duration::from_millis(milliseconds)))
    }

    #[test]
    fn output_and_status_are_the_commands() {
        let output = shell("echo out; echo ' wrong ' >&2; exit 3", 100, 5000).expect("it ran");
        assert_eq!(
            (output.stdout.as_slice(), output.success, output.complaint.as_str()),
            (&b"out\n"[..], false, "wrong")
        );
        let silent = shell("exit 3", 100, 5000).expect("it ran");
        assert_eq!(silent.complaint, "exit status: 3");
    }

    #[test]
    fn a_large_output_arrives_whole() {
        let output = shell("head -c 3000000 /dev/zero", 3_000_000, 5000).expect("it ran");
        assert_eq!(output.stdout.len(), 3_000_000);
    }

    #[test]
    fn a_missing_command_is_not_found() {
        let error = run(&["no-such-command".into()], 1, Deadline::within(Duration::from_secs(1))).unwrap_err();
        assert_eq!(error.to_string(), "no-such-command: not found");
    }

    #[test]
    fn a_hanging_command_is_ended_at_the_deadline() {
        let error = shell("sleep 60", 100, 200).unwrap_err();
        assert!(error.kind == ErrorKind::TimedOut, "{error}");
    }

    #[test]
    fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
        let output = shell("echo done; sleep 60 &", 100, 30_000).expect("the command itself ended");
        assert_eq!(output.stdout, b"done\n");
    }

    #[test]
    fn a_flood_is_cut() {
        let error = shell("cat /dev/zero", 1_000_000, 5000).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::TooLong { limit: 1_000_000, .. }), "{error}");
    }
}
