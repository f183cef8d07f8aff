//! Plays a charon on a Unix socket: `replay SOCKET FOLDER`, where the folder holds a capture.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{env, fs, io, thread};

mod charon;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [socket, folder] = arguments.as_slice() else {
        return Err(io::Error::other("usage: replay SOCKET FOLDER"));
    };
    let replay = charon::Replay::read(Path::new(folder))?.with_events();
    let _ = fs::remove_file(socket);
    for client in UnixListener::bind(socket)?.incoming() {
        let (client, replay) = (client?, replay.clone());
        // A client that leaves in the middle of an answer is no reason to end.
        thread::spawn(move || replay.answer(client));
    }
    Ok(())
}
