//! The kernel source: captures of its counters against what must come of them.

use gateway_exporter::exposition::Exposition;
use gateway_exporter::kernel::{metrics, xfrm};
use gateway_exporter::text::Text;

use crate::fixture::{cases, text, torment};
use crate::reader;

#[test]
fn captures_become_the_expected_samples() {
    for case in cases("kernel") {
        let bytes = case.bytes("xfrm_stat");
        let errors = xfrm::parse(Text::new(&bytes)).expect("counters");
        assert_eq!(errors.len(), case.text("xfrm_stat").lines().count(), "{}: a line was left out", case.name);
        let mut exposition = Exposition::default();
        metrics::expose(&errors, &mut exposition);
        case.expect_samples(exposition);
    }
}

#[test]
fn damaged_captures_still_give_valid_text() {
    for case in cases("kernel") {
        torment(&case.bytes("xfrm_stat"), |damaged| {
            let mut exposition = Exposition::default();
            metrics::expose(&xfrm::parse(Text::new(damaged)).unwrap_or_default(), &mut exposition);
            reader::read(&text(exposition));
        });
    }
}
