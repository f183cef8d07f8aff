//! Plays a charon on a Unix socket: `replay SOCKET FOLDER`, where the folder holds a capture.
//!
//! It sends each packet by two calls, as charon does; with `replay --one-buffer SOCKET FOLDER` a whole list from one buffer.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs, io, thread};

mod charon;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (one_buffer, socket, folder) = match arguments.as_slice() {
        [socket, folder] => (false, socket, folder),
        [option, socket, folder] if option == "--one-buffer" => (true, socket, folder),
        _ => return Err(io::Error::other("usage: replay [--one-buffer] SOCKET FOLDER")),
    };
    let replay = charon::Replay::read(Path::new(folder))?.with_events();
    let replay = Arc::new(if one_buffer { replay.in_one_buffer() } else { replay });
    let _ = fs::remove_file(socket);
    for client in UnixListener::bind(socket)?.incoming() {
        let (client, replay) = (client?, Arc::clone(&replay));
        // A client that leaves in the middle of an answer is no reason to end.
        thread::spawn(move || replay.answer(client));
    }
    Ok(())
}
