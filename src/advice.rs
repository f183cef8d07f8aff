//! Texts that say what is wrong and what to do: the types and texts that all sources share.
//!
//! Each source has its own `advice.rs` for its errors.

use std::borrow::Cow;

use crate::error::Error;
use crate::sys::environment::{AccessProblem, Environment};

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works.
    #[default]
    Ok,
    /// It is not on this machine, and not configured.
    Absent,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    /// The word for it on pages and in `--doctor`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "none",
            Self::Warning => "check",
            Self::Error => "down",
        }
    }
}

/// A text, usually a constant.
pub type Phrase = Cow<'static, str>;

/// What happened, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// What happened, without the subject.
    pub message: Phrase,
    /// What to do; empty if nothing.
    pub fix: Phrase,
}

impl Advice {
    /// Advice with these texts.
    pub fn new(message: impl Into<Phrase>, fix: impl Into<Phrase>) -> Self {
        Self { message: message.into(), fix: fix.into() }
    }

    /// Advice about an error: its text, an optional addition, and what to do.
    pub fn of(error: &Error, more: &str, fix: impl Into<Phrase>) -> Self {
        Self { message: joined(error.kind.to_string(), more), fix: fix.into() }
    }
}

/// Joins two parts of a message; the second may be empty.
pub fn joined(message: String, more: &str) -> Phrase {
    if more.is_empty() { message.into() } else { format!("{message}: {more}").into() }
}

/// Advice about denied access to a path: which permission is missing, and the command that grants it; `lasting` is added and
/// says how to make that permanent.
pub fn denied(target: &str, environment: &Environment, lasting: &str) -> Advice {
    let Environment { user, group, access_problem, .. } = environment;
    let Some(AccessProblem { path, owner, group: path_group, mode, needed }) = access_problem else {
        return Advice::new(format!("permission denied to {user}"), "");
    };
    let what = if path == target { "it" } else { path };
    let message =
        format!("permission denied to {user}: {what} belongs to {owner} and group {path_group}, mode {mode:04o}");
    let letters = match needed {
        1 => "x",
        6 => "rw",
        _ => "r",
    };
    let fix = if user == "root" {
        "root is kept out by something else: a sandbox, AppArmor or SELinux (dmesg says)".to_owned()
    } else if path_group != "root" && (mode >> 3) & needed == *needed {
        format!("usermod -aG {path_group} {user}, and start it again")
    } else {
        let path = quoted(path);
        format!("chgrp {group} {path} && chmod g+{letters} {path}{lasting}")
    };
    Advice::new(message, fix)
}

/// Quotes a word for a shell, if necessary.
pub fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A duration in its largest suitable unit, such as `3 hours`.
pub fn span(seconds: i64) -> String {
    let units = [("days", 86_400), ("hours", 3600), ("minutes", 60)];
    let (unit, length) = units.into_iter().find(|(_, length)| seconds / length > 1).unwrap_or(("seconds", 1));
    format!("{} {unit}", seconds / length)
}
