//! Reads a new password from the terminal or a pipe.

use std::io::{self, BufRead as _, IsTerminal, Read as _};

use nix::sys::termios::{self, LocalFlags, SetArg};

/// The longest password that bcrypt takes, in bytes.
const LONGEST_PASSWORD: usize = 72;

/// Reads a new password: on a terminal twice and without echo, otherwise one line.
pub fn new_password() -> io::Result<String> {
    let password = ask("Password: ")?;
    if io::stdin().is_terminal() && ask("Again: ")? != password {
        return Err(io::Error::other("the two passwords differ"));
    }
    match password.len() {
        // bcrypt ends a password at NUL, so the server refuses such passwords.
        _ if password.contains('\0') => Err(io::Error::other("it must not contain NUL")),
        0 => Err(io::Error::other("it must not be empty")),
        1..=LONGEST_PASSWORD => Ok(password),
        _ => Err(io::Error::other("it must not be longer than 72 bytes, which is the limit of bcrypt")),
    }
}

/// Reads one line of the standard input; a terminal does not echo it.
fn ask(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let before = stdin.is_terminal().then(|| termios::tcgetattr(&stdin)).transpose()?;
    if let Some(mut silent) = before.clone() {
        silent.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
        eprint!("{prompt}");
    }
    let mut line = String::new();
    let read = stdin.lock().take(4096).read_line(&mut line);
    if let Some(before) = before {
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &before)?;
        eprintln!();
    }
    read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}
