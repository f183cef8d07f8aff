//! The head of an HTTP request: what is let in is bounded, and a head that is whole is whole in any piece that has it.
#![no_main]

use gateway_exporter::auth::Hosts;
use gateway_exporter::http;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match http::read_head(bytes) {
        Ok(Some(request)) => {
            assert!(request.path.starts_with('/') && request.query.len() <= 64, "{request:?}");
            assert!(request.timeout.is_none_or(|time| !time.is_zero()), "{request:?}");
            if let Ok(hosts) = Hosts::parse(&["gateway.example.com".to_owned()]) {
                let is_host = hosts.contain(request.host.as_deref());
                let host = request.host.as_deref().unwrap_or("localhost");
                assert!(
                    !is_host || host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_graphic()),
                    "{host}"
                );
            }
            let longer = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(http::read_head(&longer), Ok(Some(request)), "what follows a head is not part of it");
        }
        Ok(None) => assert!(!bytes.ends_with(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), "a whole head is awaited"),
        Err(status) => assert!([400, 405, 431, 505].contains(&status), "{status}"),
    }
});
