//! What OpenVPN's management interface says: at once, and in pieces of one byte, which must mean the same.
#![no_main]

use gateway_exporter::openvpn::management::{Answer, Failure, Inquiry, Next, Password};
use libfuzzer_sys::fuzz_target;

/// What comes of a session, and how many messages were sent in it; no answer where it has not ended.
fn session(text: &[u8], piece: usize, password: Option<&Password>) -> (Option<Result<Answer, Failure>>, usize) {
    let (mut inquiry, mut sent) = (Inquiry::new(password), 0);
    for bytes in text.chunks(piece) {
        match inquiry.read(bytes) {
            Ok(Next::Read) => {}
            Ok(Next::Send(message)) => {
                assert!(message.ends_with(b"\n"));
                sent += 1;
            }
            Ok(Next::End) => return (Some(Ok(inquiry.into_answer())), sent),
            Err(failure) => return (Some(Err(failure)), sent),
        }
    }
    (None, sent)
}

fuzz_target!(|text: &[u8]| {
    let password = Password::first_line(b"secret").expect("a password");
    let (slow, sent) = session(text, 1, Some(&password));
    assert!(sent <= 5, "the password and four commands, each once");
    if text.windows(15).any(|word| word == b"ENTER PASSWORD:") {
        // The daemon waits behind its prompt: what stands there is another line where it comes at once.
        return;
    }
    assert_eq!(session(text, text.len().max(1), Some(&password)).0, slow);
    if let Some(Ok(answer)) = slow {
        assert!(answer.status.ends_with(b"END\n") && answer.status.len() <= text.len());
    }
});
