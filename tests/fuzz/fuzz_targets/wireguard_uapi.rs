//! Answers of WireGuard in user space, and files that name peers: each input is read as all of them.
#![no_main]

use gateway_exporter::exposition::Exposition;
use gateway_exporter::text::Text;
use gateway_exporter::wireguard::device::Device;
use gateway_exporter::wireguard::metrics::{Reading, expose};
use gateway_exporter::wireguard::names::{Format, Reader};
use gateway_exporter::wireguard::settings::Configured;
use gateway_exporter::wireguard::totals::PeerTotals;
use gateway_exporter::wireguard::uapi::Answer;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|text: &[u8]| {
    let mut device = Device::default();
    let mut answer = Answer::new(&mut device, 1_795_180_825);
    let _ = answer.read(Text::new(text));
    assert!(answer.offset <= text.len(), "behind the end");
    let [names, descriptions] = [Format::Quick, Format::Uci].map(|format| {
        let mut reader = Reader::new(format);
        Text::new(text).lines().for_each(|line| reader.read(line));
        reader.end()
    });
    assert!(names.values().chain(descriptions.values()).all(|name| !name.is_empty()));
    let (mut out, mut totals) = (Exposition::default(), PeerTotals::new(10));
    let (device, names, configured) = (&device, &names, &Configured::default());
    let reading = Reading { interface: "wg0", id: 0, device, names, configured };
    expose(reading, &mut totals.pass(1_795_180_825), 1_795_180_825, &mut out);
    judge::check(out);
});
