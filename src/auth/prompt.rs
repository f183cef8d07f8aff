//! Asks for a password on the terminal, or reads it from a pipe.

use std::io::{self, BufRead as _, IsTerminal, Read as _};

use nix::sys::termios::{self, LocalFlags, SetArg};

/// What of a password bcrypt takes, in bytes.
const LONGEST_PASSWORD: usize = 72;

/// A new password: from a terminal it is asked for twice and not shown, otherwise it is one line.
pub fn new_password() -> io::Result<String> {
    let password = ask("Password: ")?;
    if io::stdin().is_terminal() && ask("Again: ")? != password {
        return Err(io::Error::other("the two are not the same"));
    }
    match password.len() {
        // bcrypt takes what is before it for the whole, and the server refuses it.
        _ if password.contains('\0') => Err(io::Error::other("there is a NUL in it")),
        0 => Err(io::Error::other("there is none")),
        1..=LONGEST_PASSWORD => Ok(password),
        _ => Err(io::Error::other("bcrypt takes 72 bytes at most")),
    }
}

/// One line of the standard input, which a terminal does not show.
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
