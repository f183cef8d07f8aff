//! Parses `/proc/net/xfrm_stat`: the number of packets that the kernel could not process, one line for each reason.
//!
//! Format: <https://docs.kernel.org/networking/xfrm/xfrm_proc.html>. The reasons differ between kernels.

use crate::text::Text;

/// The most counters that are kept; the kernel has some thirty.
const LIMIT: usize = 256;

/// The counter of one reason, since the network namespace was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter<'a> {
    /// The kernel's name of the reason, such as `XfrmInNoStates`.
    pub name: Text<'a>,
    /// The number of packets.
    pub count: u64,
}

/// Parses the counters; absent if no line is one.
pub fn parse(text: Text<'_>) -> Option<Vec<Counter<'_>>> {
    let counters: Vec<_> = text.lines().filter_map(counter).take(LIMIT).collect();
    (!counters.is_empty()).then_some(counters)
}

fn counter(line: Text<'_>) -> Option<Counter<'_>> {
    let (name, count) = line.cut_word()?;
    let is_name = name.bytes().iter().all(u8::is_ascii_alphanumeric);
    Some(Counter { name, count: count.trim().number()? }).filter(|counter| is_name && !counter.name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_number() {
        let text = "XfrmInError             \t0\nXfrmInNoStates \t18446744073709551615\nXfrmOutNoQueueSpace 7";
        let counters = parse(text.into()).expect("counters");
        let found: Vec<_> = counters.iter().map(|counter| (counter.name.to_string(), counter.count)).collect();
        assert_eq!(
            found,
            [("XfrmInError".into(), 0), ("XfrmInNoStates".into(), u64::MAX), ("XfrmOutNoQueueSpace".into(), 7)]
        );
    }

    #[test]
    fn what_is_no_counter_is_left_out() {
        let text = "XfrmInError\nXfrmInError -1\nXfrmInError 1 2\n Xfrm 1\nXfrm\"In 1\n\nXfrmInError 18446744073709551616\nX 1\n";
        assert_eq!(parse(text.into()), Some(vec![Counter { name: "X".into(), count: 1 }]));
        assert_eq!(parse("".into()), None);
        assert_eq!(parse("nonsense\n".into()), None);
    }
}
