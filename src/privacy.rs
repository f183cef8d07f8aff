//! How the names of clients are shown: as they are, as keyed hashes, or not at all.

use crate::siphash::Key;
use crate::text::{Text, clip, printable};

/// How clients' identities appear in metrics, JSON and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identities {
    /// Unchanged.
    #[default]
    Plain,
    /// As a keyed hash of 16 hex digits, the same on all gateways with the same key.
    Hashed(Key),
    /// Left out, together with the peer's addresses.
    Off,
}

impl Identities {
    /// The identity as it is shown; absent if it is not.
    pub fn show(self, identity: Text<'_>) -> Option<String> {
        let name = clip(String::from_utf8_lossy(identity.bytes()));
        match self {
            Self::Plain => Some(printable(&name)),
            Self::Hashed(_) if name.is_empty() => Some(String::new()),
            Self::Hashed(key) => Some(format!("{:016x}", key.hash(name.as_bytes()))),
            Self::Off => None,
        }
    }

    /// Whether clients' addresses are shown.
    pub fn shows_addresses(self) -> bool {
        self != Self::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_hashed_or_left_out() {
        let show = |identities: Identities, name: &str| identities.show(name.into());
        assert_eq!(show(Identities::Plain, "carol\u{1b}[2J").as_deref(), Some("carol\u{fffd}[2J"));
        assert_eq!(show(Identities::Off, "carol"), None);
        let (one, other) = (Identities::Hashed(Key::new([1; 16])), Identities::Hashed(Key::new([2; 16])));
        let hash = show(one, "carol").unwrap();
        assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        assert_eq!(show(one, "carol"), Some(hash.clone()), "the same name is the same hash");
        assert_ne!(show(one, "dave"), Some(hash.clone()));
        assert_ne!(show(other, "carol"), Some(hash), "another key, another hash");
        assert_eq!(show(one, "").as_deref(), Some(""), "no name is no name");
        let shown = show(Identities::Plain, &"x".repeat(5000)).unwrap();
        assert!(shown.starts_with("xxx") && shown.len() <= crate::text::LONGEST, "{} bytes", shown.len());
        let addresses = [Identities::Plain, one, Identities::Off].map(Identities::shows_addresses);
        assert_eq!(addresses, [true, true, false]);
    }

    #[test]
    fn a_hash_is_sixteen_digits_also_where_it_begins_with_0() {
        let one = Identities::Hashed(Key::new([1; 16]));
        let hashes: Vec<_> =
            (0..100).filter_map(|number| one.show(format!("client{number}").as_str().into())).collect();
        assert!(hashes.len() == 100 && hashes.iter().all(|hash| hash.len() == 16), "{hashes:?}");
        assert!(hashes.iter().any(|hash| hash.starts_with('0')));
    }
}
