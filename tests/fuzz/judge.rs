//! Every exposition is read back by the integration tests' own reader, which shares no code with the writer.

use std::io::Read;

use gateway_exporter::expo::Exposition;

#[allow(dead_code)]
#[path = "../it/reader.rs"]
pub mod reader;

pub fn read(exposition: Exposition) -> Vec<reader::Sample> {
    let mut text = String::new();
    exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
    reader::read(&text)
}
