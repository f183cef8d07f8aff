//! VICI segments, and everything that is made of what is in them.
#![no_main]

use std::time::Instant;

use gateway_exporter::strongswan::configured::{Configured, ScrapeTime};
use gateway_exporter::strongswan::ike_sas::Unlisted;
use gateway_exporter::strongswan::metrics::Listing;
use gateway_exporter::strongswan::sa::{Connection, Identity, IkeSa, Policy, replaced_ike_sa};
use gateway_exporter::strongswan::stats::{self, Stats};
use gateway_exporter::strongswan::totals::SaTotals;
use gateway_exporter::strongswan::{metrics, sessions, vici};
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|segment: &[u8]| {
    if let Ok(vici::Packet::Event(_, event)) = vici::split(segment) {
        let mut is_read = false;
        let read = IkeSa::read(event, &mut |_| is_read = true);
        assert_eq!(read.err(), event.check().err());
        assert!(!is_read || event.check().is_ok());
    }
    let Ok(vici::Packet::Event(_, message) | vici::Packet::Response(message)) = vici::parse(segment) else { return };
    let (mut listing, mut configured) = (Listing::default(), Configured::default());
    let mut totals = SaTotals::new(Identity::User, 10);
    let now = ScrapeTime { unix: 1, instant: Instant::now() };
    if let Some(connection) = Connection::parse(message) {
        let _ = configured.register(&connection);
    }
    if let Some(policy) = Policy::parse(message) {
        configured.record_policy(&policy);
    }
    totals.begin_pass(Some(1), &configured);
    if let Some(ike) = IkeSa::parse(message) {
        listing.record(&ike, now, &mut configured, &mut totals);
        ike.rekeyed().for_each(|child| totals.record_event(&ike, &child, 1));
        ike.for_each_child(&mut |child| {
            let _ = totals.volume(&ike, child).used(child);
        });
        sessions::list(&ike, "", "gateway", &mut Vec::new());
    }
    totals.ikes.forget(replaced_ike_sa(message).and_then(Text::number));
    let stats = Stats::parse(message);
    let missing = totals.end_pass(1, Unlisted::of(stats.established(), stats.ikes, 0));
    configured.finish(&listing.sessions, &missing, &Configured::default(), now.instant);
    let mut out = listing.out;
    metrics::expose_totals(&totals, &mut out);
    metrics::expose_configured(&configured, &mut out);
    metrics::expose_stats(&stats, None, &mut out);
    stats::pools(message).for_each(|pool| metrics::expose_pool(&pool, &mut out));
    stats::events(message).for_each(|event| metrics::expose_event(&event, &mut out));
    judge::check(out);
});
