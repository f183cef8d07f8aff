//! VICI segments, and everything that is made of what is in them.
#![no_main]

use gateway_exporter::expo::Exposition;
use gateway_exporter::strongswan::books::Books;
use gateway_exporter::strongswan::inside::{self, Stats};
use gateway_exporter::strongswan::sa::{Connection, Identity, IkeSa};
use gateway_exporter::strongswan::{metrics, sessions, vici};
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|segment: &[u8]| {
    let Ok(vici::Packet::Event(_, message) | vici::Packet::Response(message)) = vici::parse(segment) else { return };
    let (mut out, mut configured, mut seen) =
        (Exposition::default(), metrics::Configured::default(), metrics::Sessions::default());
    let mut books = Books::new(Identity::User, 10);
    books.begin();
    if let Some(connection) = Connection::parse(message) {
        configured.load(&connection);
        books.load(&connection);
    }
    if let Some(ike) = IkeSa::parse(message) {
        metrics::see(&ike, 1, &mut configured, &mut seen, &mut books, &mut out);
        ike.rekeyed().for_each(|child| books.hear(&ike, &child, 1));
        sessions::list(&ike, "", "gateway", &mut Vec::new());
    }
    books.end(1);
    metrics::expose_books(&books, &mut out);
    configured.expose(Some(&seen), &mut out);
    metrics::expose_stats(&Stats::parse(message), None, &mut out);
    inside::pools(message).for_each(|pool| metrics::expose_pool(&pool, &mut out));
    inside::events(message).for_each(|event| metrics::expose_event(&event, &mut out));
    judge::check(out);
});
