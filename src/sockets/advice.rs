//! What a person does where a table, a process or a host name can't be read, or where a rule can never match.

use super::rule::RuleError;
use crate::advice::{Advice, Severity, quoted};
use crate::collector::Notice;
use crate::error::{Error, ErrorKind};
use crate::sys::environment::Environment;

/// Why something could not be read, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
    match &error.kind {
        ErrorKind::Denied => Some(Advice::new(
            format!("permission denied: {} may not see the processes of others", environment.user),
            "run it as root, or give it CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE",
        )),
        _ if target.starts_with('/') => None,
        _ => {
            let fix = format!("getent hosts {}", quoted(target));
            Some(Advice::of(error, "the rules with that host are not known", fix))
        }
    }
}

/// That a rule can never match.
pub(super) fn unmatchable(subject: String, error: RuleError) -> Notice {
    let advice = Advice::new(format!("this rule can never match: {}", error.why), error.fix);
    Notice { severity: Severity::Error, subject, advice, is_logged: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_can_never_match_is_noticed_with_what_to_write() {
        let notice = unmatchable("x".into(), RuleError { why: "it is never", fix: "write it well" });
        assert_eq!(notice.advice, Advice::new("this rule can never match: it is never", "write it well"));
        assert_eq!(notice.severity, Severity::Error);
    }
}
