//! Messages of netlink about WireGuard, in one of both byte orders, and everything that is made of what is in them.
#![no_main]

use gateway_exporter::exposition::Exposition;
use gateway_exporter::netlink::{ByteOrder, Content, messages};
use gateway_exporter::wireguard::device::Device;
use gateway_exporter::wireguard::metrics::{Reading, expose};
use gateway_exporter::wireguard::names::Names;
use gateway_exporter::wireguard::netlink;
use gateway_exporter::wireguard::settings::Configured;
use gateway_exporter::wireguard::totals::PeerTotals;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|datagram: &[u8]| {
    let order = if datagram.len() % 2 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let mut device = Device::default();
    for message in messages(datagram, order) {
        let Ok(message) = message else { break };
        let Content::Data(data) = message.content else { continue };
        assert!(netlink::link(data) != Ok(Some(String::new())), "an interface without a name");
        let _ = netlink::family(data);
        if netlink::read_device(data, &mut device).is_err() {
            break;
        }
    }
    let networks = |peer| device.allowed_ips(peer).fields(b',').filter(|network| !network.is_empty()).count();
    let networks: usize = device.peers.iter().map(networks).sum();
    assert!(device.peers.len() * 36 + networks * 20 <= datagram.len(), "more than there is");
    let (mut out, mut totals) = (Exposition::default(), PeerTotals::new(10));
    let (names, configured) = (&Names::new(), &Configured::default());
    let reading = Reading { interface: "wg0", id: 0, device: &device, names, configured };
    expose(reading, &mut totals.pass(1_795_180_825), 1_795_180_825, &mut out);
    judge::check(out);
});
