//! Which encoding of a reply the client prefers (RFC 9110, section 12.5.3).

/// The weights that a list of `Accept-Encoding` gives, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights {
    gzip: Option<u16>,
    identity: Option<u16>,
    /// Of all that is not named.
    any: Option<u16>,
}

impl Weights {
    /// Takes one header's value; several count as one list. What is no weight counts as 0, so that in doubt nothing is
    /// compressed.
    pub(super) fn add(&mut self, list: &[u8]) {
        for item in list.split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let weight = match parts.next() {
                None => Some(1000),
                Some(parameter) => parse_weight(parameter).filter(|_| parts.next().is_none()),
            };
            let slot = match coding {
                name if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => &mut self.gzip,
                name if name.eq_ignore_ascii_case(b"identity") => &mut self.identity,
                b"*" => &mut self.any,
                _ => continue,
            };
            *slot = Some(weight.unwrap_or(0));
        }
    }

    /// Whether gzip is accepted and not liked less than an answer that is not compressed.
    pub(super) fn prefer_gzip(self) -> bool {
        let gzip = self.gzip.or(self.any).unwrap_or(0);
        gzip > 0 && gzip >= self.identity.unwrap_or(0)
    }
}

/// `q=` and a number from 0 to 1 with at most three digits behind the point.
fn parse_weight(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        weight += u16::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?) * unit;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefers(lists: &[&str]) -> bool {
        let mut weights = Weights::default();
        lists.iter().for_each(|list| weights.add(list.as_bytes()));
        weights.prefer_gzip()
    }

    #[test]
    fn gzip_is_taken_where_it_is_accepted_and_not_liked_less() {
        for list in [
            "gzip",
            "GZip",
            "x-gzip",
            "deflate, gzip;q=1.0, *;q=0.5",
            "gzip, deflate, br, zstd",
            "br;q=1,gzip;q=0.001",
            "gzip;q=0.8, identity;q=0.8",
            "gzip ; Q=0.5",
            "*",
            "*;q=0.1",
            "identity;q=0, *",
            ", ,gzip,",
        ] {
            assert!(prefers(&[list]), "{list}");
        }
        assert!(prefers(&["br", "gzip"]), "two headers are one list");
    }

    #[test]
    fn where_it_is_not_accepted_or_the_list_is_in_doubt_nothing_is_compressed() {
        for list in [
            "",
            "identity",
            "br, deflate",
            "gzip;q=0",
            "gzip;q=0.000",
            "*, gzip;q=0",
            "gzip;q=0.4, identity;q=0.5",
            "gzip;q=0.5, identity",
            "gzip;q=1.001",
            "gzip;q=2",
            "gzip;q=",
            "gzip;q=0.",
            "gzip;q=0.0001",
            "gzip;q=-1",
            "gzip;q=1;x=y",
            "gzip;level=1",
            "gzipped",
            "gz\u{ed}p",
        ] {
            assert!(!prefers(&[list]), "{list}");
        }
        assert!(!prefers(&[]), "no header");
    }
}
