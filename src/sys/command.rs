//! Commands: started without a shell, read up to a size limit, and killed with all their children at the deadline.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, pipe2};

use super::blocking;
use super::libc::try_wait;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
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
    let Some(program) = command.first().cloned() else {
        return Err(Error::new("empty command", ErrorKind::NotFound));
    };
    deadline.left(&subject)?;
    if let Some(process) = left_behind(&subject) {
        let why = format!("process {process}, which an earlier scrape started, still runs and can't be ended");
        return Err(Error::new(subject, ErrorKind::Refused { why }));
    }
    let (command, name) = (command.to_vec(), subject.clone());
    // The program may be on a file system that hangs, and exec(2) is waited for.
    let start = move || start(&command, name).map_err(|error| Error::io(&program, &error));
    blocking::run(&subject, deadline, start)?.read(limit, deadline)
}

/// Starts a command with an empty standard input, in a process group of its own.
///
/// `std::process::Command` could do it, too: with 21 KB more in the static MIPS binary.
fn start(command: &[String], subject: String) -> io::Result<Running> {
    let (stdout, to_stdout) = Pipe::new()?;
    let (stderr, to_stderr) = Pipe::new()?;
    let mut files = PosixSpawnFileActions::init()?;
    files.add_open(0, "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
    files.add_dup2(to_stdout.as_raw_fd(), 1)?;
    files.add_dup2(to_stderr.as_raw_fd(), 2)?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    // This process ignores SIGPIPE, and some of its threads block other signals.
    attributes.set_sigdefault(&Signal::SIGPIPE.into())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let flags = [
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    ];
    attributes.set_flags(flags.into_iter().collect())?;
    let mut arguments = Vec::new();
    for argument in command {
        arguments.push(CString::new(argument.as_bytes())?);
    }
    let program = arguments.first().ok_or(io::ErrorKind::NotFound)?;
    let child = posix_spawnp(program, &files, &attributes, &arguments, &environment()?)?;
    running().push(child);
    Ok(Running { child, status: None, subject, stdout, stderr })
}

/// This process's environment, except that messages are not translated.
fn environment() -> io::Result<Vec<CString>> {
    let mut variables = vec![c"LC_ALL=C".to_owned()];
    for (name, value) in env::vars_os().filter(|(name, _)| name != "LC_ALL") {
        let mut variable = name.into_encoded_bytes();
        variable.push(b'=');
        variable.extend(value.as_encoded_bytes());
        variables.push(CString::new(variable)?);
    }
    Ok(variables)
}

/// The commands that did not end when they were killed.
static LEFT: Mutex<Vec<(String, Pid)>> = Mutex::new(Vec::new());

/// The process of that command that did not end when it was killed, if it still runs.
fn left_behind(subject: &str) -> Option<Pid> {
    let mut left = lock(&LEFT);
    left.retain(|(_, child)| is_running(*child));
    left.iter().find(|(command, _)| command == subject).map(|(_, child)| *child)
}

fn is_running(child: Pid) -> bool {
    matches!(try_wait(child), Ok(None))
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
    /// Also the number of its process group.
    child: Pid,
    /// How it ended, once that was asked for: the system says it once.
    status: Option<ExitStatus>,
    subject: String,
    stdout: Pipe,
    stderr: Pipe,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A group keeps its number while a child of it is left; if none is, the number has been free only for a moment.
        let _ = killpg(self.child, Signal::SIGKILL);
        running().retain(|other| *other != self.child);
        let killed = Instant::now();
        while self.status.is_none() && is_running(self.child) {
            if killed.elapsed() >= KILL_WAIT {
                let subject = std::mem::take(&mut self.subject);
                return lock(&LEFT).push((subject, self.child));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn read(mut self, limit: usize, deadline: Deadline) -> Result<Output, Error> {
        // A child that has ended may leave children of its own that hold the pipes: what was
        // written before it ended is all that is waited for.
        while !(self.stdout.is_closed && self.stderr.is_closed) && self.status.is_none() {
            wait([&self.stdout, &self.stderr], deadline, &self.subject)?;
            self.look()?;
            self.stdout.drain(&self.subject)?;
            self.stderr.drain(&self.subject)?;
            self.stderr.bytes.truncate(COMPLAINT_LIMIT);
            if self.stdout.bytes.len() > limit {
                return Err(Error::new(self.subject.as_str(), ErrorKind::TooLong { limit }));
            }
        }
        let status = self.end(deadline)?;
        let complaint = complaint(&self.stderr.bytes, status);
        let stdout = std::mem::take(&mut self.stdout.bytes);
        Ok(Output { stdout, success: status.success(), code: status.code(), complaint })
    }

    /// Its status, if it has ended.
    fn look(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.status.is_none() {
            self.status = try_wait(self.child).map_err(|error| Error::io(&self.subject, &error))?;
        }
        Ok(self.status)
    }

    /// Waits for the end of a child that has closed its output.
    fn end(&mut self, deadline: Deadline) -> Result<ExitStatus, Error> {
        loop {
            if let Some(status) = self.look()? {
                return Ok(status);
            }
            thread::sleep(deadline.left(&self.subject)?.min(POLL_INTERVAL));
        }
    }
}

/// A pipe from a child, and what was read from it.
struct Pipe {
    file: File,
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Pipe {
    /// Both ends of a new one; this process reads its own without waiting.
    fn new() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self { file: reader.into(), bytes: Vec::new(), is_closed: false }, writer))
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
    fn a_command_reads_nothing_and_has_this_environment_but_the_language() {
        let script = "cat; echo $LC_ALL; echo \"$PATH\"; env | grep -c ^LC_ALL=";
        let output = shell(script, 10_000, 5000).expect("it ran");
        let expected = format!("C\n{}\n1\n", env::var("PATH").unwrap_or_default());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }

    #[test]
    fn signals_are_as_they_are_by_default() {
        let output = shell("(yes; echo $? >&2) | head -n 1", 100, 5000).expect("it ran");
        assert_eq!(output.complaint, "141", "yes is ended by SIGPIPE");
        let blocked = shell("grep ^SigBlk: /proc/self/status", 100, 5000).expect("it ran");
        assert_eq!(blocked.stdout, b"SigBlk:\t0000000000000000\n");
    }

    #[test]
    fn a_signal_is_how_it_ended() {
        let ended_by = |signal: &str| {
            let output = shell(&format!("kill -{signal} $$"), 100, 5000).expect("it ran");
            (output.success, output.code, output.complaint)
        };
        assert_eq!(ended_by("9"), (false, None, "signal: 9 (SIGKILL)".to_owned()));
        assert_eq!(ended_by("40"), (false, None, "signal: 40".to_owned()));
    }

    #[test]
    fn an_argument_with_a_nul_is_refused() {
        let command = ["echo", "\0"].map(str::to_owned);
        let error = run(&command, 100, Deadline::within(Duration::from_secs(5))).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Io { .. }), "{error}");
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
