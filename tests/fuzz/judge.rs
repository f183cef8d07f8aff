//! Every exposition is read back by the integration tests' own reader, which shares no code with the writer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use gateway_exporter::exposition::Exposition;

#[allow(dead_code)]
#[path = "../it/reader.rs"]
pub mod reader;

/// How many texts are remembered.
const MOST: usize = 100_000;

thread_local! {
    static GOOD: RefCell<HashSet<u64>> = RefCell::default();
}

/// Judges an exposition. Most inputs of a fuzzer make a text that was judged before: that one is good.
#[allow(dead_code)]
pub fn check(exposition: Exposition) {
    let text = text(exposition);
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    GOOD.with_borrow_mut(|good| {
        if good.contains(&hasher.finish()) {
            return;
        }
        reader::read(&text);
        if good.len() >= MOST {
            good.clear();
        }
        good.insert(hasher.finish());
    });
}

/// Judges an exposition, and says what is in it.
#[allow(dead_code)]
pub fn read(exposition: Exposition) -> Vec<reader::Sample> {
    reader::read(&text(exposition))
}

fn text(exposition: Exposition) -> String {
    let mut text = String::new();
    exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
    text
}
