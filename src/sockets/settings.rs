//! The rules of the list `sockets`.

use super::Settings;
use super::rule::{Rule, Spec};
use crate::settings::{ConfigError, Input, Section, UciWord};

/// The section of OpenWrt's configuration for a rule; one without a name has the section's.
pub(super) const UCI: &[UciWord] =
    &[UciWord { word: "socket", is_section: true, key: "sockets", implied: Some(("name", "*")) }];

/// What is written; absent where no rule is.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let rules: Vec<Rule> = input.file.sections("sockets")?.into_iter().map(rule).collect::<Result<_, _>>()?;
    Ok((!rules.is_empty()).then_some(Settings { proc: "/proc".into(), rules }))
}

/// One rule. What is wrong with it begins with the field's name, one of those below.
fn rule(mut section: Section) -> Result<Rule, ConfigError> {
    let mut written = Vec::new();
    let mut text = |field: &'static str, other: Option<&'static str>| {
        let found = match other {
            Some(other) => section.text_of([other, field])?,
            None => section.text(field)?,
        };
        let value = found.as_ref().map(|found| found.value.clone());
        written.extend(found.map(|found| (field, found)));
        Ok::<_, ConfigError>(value)
    };
    let spec = Spec {
        name: text("name", None)?,
        srchost: text("srcHost", Some("host"))?,
        srcport: text("srcPort", Some("port"))?,
        dsthost: text("dstHost", None)?,
        dstport: text("dstPort", None)?,
        protocol: text("protocol", None)?,
        process: text("processName", Some("process"))?,
        status: text("status", None)?,
    };
    let rule = Rule::new(&spec).map_err(|complaint| {
        let (field, why) = complaint.split_once(": ").unwrap_or(("", &complaint));
        match written.iter().find(|(name, _)| name.strip_suffix("Name").unwrap_or(name) == field) {
            Some((_, text)) => text.error(why),
            None => section.error_of(field, why),
        }
    });
    let rule = rule?;
    section.end()?;
    Ok(rule)
}
