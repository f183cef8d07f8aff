//! VICI, charon's control protocol: packets and the elements of messages, decoded without
//! copying and encoded.
//!
//! The format is in strongSwan's `src/libcharon/plugins/vici/README.md`. A message is checked
//! whole before anything of it is believed: a [`Message`] balances, and iterating it
//! can't fail. Nesting is counted, never recursed into.

use crate::text::Text;

/// charon's own limit for one segment; a longer one is refused before memory is taken for it.
pub const LONGEST_SEGMENT: usize = 512 * 1024;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a, M = Message<'a>> {
    /// The answer to a command.
    Response(M),
    /// charon does not know the command.
    CommandUnknown,
    /// An event was registered.
    EventConfirm,
    /// charon does not know the event.
    EventUnknown,
    /// Something happened, or one item of a streamed answer.
    Event(Text<'a>, M),
}

/// A message that may be malformed.
///
/// It is checked while it is read, so that an IKE_SA's is walked once: who reads its elements must ask [`Unchecked::end`]
/// before anything of them is believed.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked<'a> {
    segment: &'a [u8],
    /// What follows the packet type and the name.
    body: &'a [u8],
}

/// A balanced run of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a>(&'a [u8]);

/// One element of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// A named section begins.
    Section(Text<'a>),
    /// The innermost section ends.
    SectionEnd,
    /// A key and its value.
    Pair(Text<'a>, Text<'a>),
    /// A named list begins.
    List(Text<'a>),
    /// One item of the list.
    Item(Text<'a>),
    /// The list ends.
    ListEnd,
}

/// Where a segment stops making sense, and what should have stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What should have stood there.
    pub expected: &'static str,
    /// In bytes from the start of the segment.
    pub offset: usize,
}

/// The elements of a message, in order, up to its end or to where it does not balance any more.
#[derive(Clone, Debug, Default)]
pub struct Elements<'a> {
    rest: &'a [u8],
    /// How many sections are open.
    depth: usize,
    in_list: bool,
}

/// The items of one list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Items<'a>(&'a [u8]);

const COMMAND: u8 = 0;
const REGISTER: u8 = 3;

impl<'a> Message<'a> {
    /// The bytes as they came.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The elements, in order.
    pub fn elements(self) -> Elements<'a> {
        Elements { rest: self.0, ..Elements::default() }
    }

    /// The value of a key outside all sections.
    pub fn value(self, key: &str) -> Option<Text<'a>> {
        let mut depth = 0usize;
        self.elements().find_map(|element| {
            match element {
                Element::Section(_) => depth = depth.saturating_add(1),
                Element::SectionEnd => depth = depth.saturating_sub(1),
                Element::Pair(name, value) if depth == 0 && name == key => return Some(value),
                _ => {}
            }
            None
        })
    }
}

impl<'a> Packet<'a, Unchecked<'a>> {
    /// Checks its message.
    pub fn check(self) -> Result<Packet<'a>, Fault> {
        Ok(match self {
            Self::Response(message) => Packet::Response(message.check()?),
            Self::CommandUnknown => Packet::CommandUnknown,
            Self::EventConfirm => Packet::EventConfirm,
            Self::EventUnknown => Packet::EventUnknown,
            Self::Event(name, message) => Packet::Event(name, message.check()?),
        })
    }
}

impl<'a> Unchecked<'a> {
    /// The bytes as they came.
    pub fn bytes(self) -> &'a [u8] {
        self.body
    }

    /// The elements, in order, up to where it is malformed.
    pub fn elements(self) -> Elements<'a> {
        Elements { rest: self.body, ..Elements::default() }
    }

    /// Checks it: sections balance, lists hold items only and don't nest.
    pub fn check(self) -> Result<Message<'a>, Fault> {
        self.end(self.elements())
    }

    /// Checks what was not read yet of its `elements`.
    pub fn end(self, mut elements: Elements<'a>) -> Result<Message<'a>, Fault> {
        elements.by_ref().for_each(drop);
        let Elements { rest, depth, in_list } = elements;
        let expected = match element(rest) {
            None if !rest.is_empty() => return Err(broken(self.segment, rest)),
            None if depth == 0 && !in_list => return Ok(Message(self.body)),
            None => "the end of a section or list",
            Some(_) if in_list => "a list item or the end of the list",
            Some((Element::SectionEnd, _)) => "no end of a section",
            Some(_) => "no list item",
        };
        Err(fault(self.segment, rest, expected))
    }
}

impl<'a> Elements<'a> {
    /// Passes over what is left of a section, and its end.
    pub fn leave(&mut self) {
        let around = self.depth.saturating_sub(1);
        while self.depth > around && self.next().is_some() {}
    }

    /// The items of the list that has just begun, passing over them.
    pub fn items(&mut self) -> Items<'a> {
        let items = Items(self.rest);
        while let [5, rest @ ..] = self.rest
            && let Some((_, rest)) = value(rest)
        {
            self.rest = rest;
        }
        items
    }

    /// The next section, passing over pairs and lists; absent at the end of the section that surrounds it, which is passed.
    pub fn section(&mut self) -> Option<Text<'a>> {
        loop {
            match self.next()? {
                Element::Section(name) => return Some(name),
                Element::SectionEnd => return None,
                _ => {}
            }
        }
    }

    /// The next element if it is a pair, as most are: read in line, they take a fifth fewer instructions.
    #[inline]
    pub fn next_pair(&mut self) -> Option<(Text<'a>, Text<'a>)> {
        let ([3, rest @ ..], false) = (self.rest, self.in_list) else { return None };
        let (key, rest) = name(rest)?;
        let (value, rest) = value(rest)?;
        self.rest = rest;
        Some((key, value))
    }

    /// The next pair, passing over lists and sections; absent at the end of the section that surrounds it, which is passed.
    pub fn pair(&mut self) -> Option<(Text<'a>, Text<'a>)> {
        loop {
            match self.next()? {
                Element::Pair(key, value) => return Some((key, value)),
                Element::Section(_) => self.leave(),
                Element::SectionEnd => return None,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self.next_pair() {
            Some((key, value)) => Some(Element::Pair(key, value)),
            None => self.other(),
        }
    }
}

impl<'a> Elements<'a> {
    /// Hands the pairs that come next to `take`; gives the element behind them.
    #[inline]
    pub fn after_pairs(&mut self, mut take: impl FnMut(Text<'a>, Text<'a>)) -> Option<Element<'a>> {
        while let Some((key, value)) = self.next_pair() {
            take(key, value);
        }
        self.other()
    }

    /// The next element, if it is not a pair.
    fn other(&mut self) -> Option<Element<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        let (element, rest) = match (kind, self.in_list) {
            (1, false) => {
                let (name, rest) = name(rest)?;
                self.depth = self.depth.saturating_add(1);
                (Element::Section(name), rest)
            }
            (2, false) => {
                self.depth = self.depth.checked_sub(1)?;
                (Element::SectionEnd, rest)
            }
            (4, false) => {
                let (name, rest) = name(rest)?;
                self.in_list = true;
                (Element::List(name), rest)
            }
            (5, true) => value(rest).map(|(item, rest)| (Element::Item(item), rest))?,
            (6, true) => {
                self.in_list = false;
                (Element::ListEnd, rest)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(element)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        let [5, rest @ ..] = self.0 else { return None };
        let (item, rest) = value(rest)?;
        self.0 = rest;
        Some(item)
    }
}

/// Takes a segment's body apart; what is given is checked to its end.
pub fn parse(segment: &[u8]) -> Result<Packet<'_>, Fault> {
    split(segment)?.check()
}

/// Takes a segment's body apart; its message is not checked.
pub fn split(segment: &[u8]) -> Result<Packet<'_, Unchecked<'_>>, Fault> {
    let Some((kind, body)) = segment.split_first() else { return Err(fault(segment, segment, "a packet type")) };
    let packet = match kind {
        1 => return Ok(Packet::Response(Unchecked { segment, body })),
        2 => Packet::CommandUnknown,
        5 => Packet::EventConfirm,
        6 => Packet::EventUnknown,
        7 => {
            let Some((name, body)) = name(body) else { return Err(broken_name(segment, body)) };
            return Ok(Packet::Event(name, Unchecked { segment, body }));
        }
        _ => return Err(fault(segment, segment, "a packet type that charon sends")),
    };
    if body.is_empty() { Ok(packet) } else { Err(fault(segment, body, "the end of the packet")) }
}

/// A command with its arguments, as a whole segment with its length.
pub fn command(name: &str, arguments: &[(&str, &str)]) -> Vec<u8> {
    segment(COMMAND, name, |out| {
        for (key, value) in arguments {
            encode(Element::Pair((*key).into(), (*value).into()), out);
        }
    })
}

/// The registration for an event, as a whole segment.
pub fn register(event: &str) -> Vec<u8> {
    segment(REGISTER, event, |_| ())
}

/// Writes one element as charon would; names are cut at 255 bytes and values at 65535.
pub fn encode(element: Element<'_>, out: &mut Vec<u8>) {
    match element {
        Element::Section(name) => {
            out.push(1);
            encode_name(name, out);
        }
        Element::SectionEnd => out.push(2),
        Element::Pair(key, value) => {
            out.push(3);
            encode_name(key, out);
            encode_value(value, out);
        }
        Element::List(name) => {
            out.push(4);
            encode_name(name, out);
        }
        Element::Item(value) => {
            out.push(5);
            encode_value(value, out);
        }
        Element::ListEnd => out.push(6),
    }
}

/// The first element and what follows it; absent where it is not whole.
#[inline]
fn element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    Some(match kind {
        1 => name(rest).map(|(name, rest)| (Element::Section(name), rest))?,
        2 => (Element::SectionEnd, rest),
        3 => {
            let (key, rest) = name(rest)?;
            let (value, rest) = value(rest)?;
            (Element::Pair(key, value), rest)
        }
        4 => name(rest).map(|(name, rest)| (Element::List(name), rest))?,
        5 => value(rest).map(|(item, rest)| (Element::Item(item), rest))?,
        6 => (Element::ListEnd, rest),
        _ => return None,
    })
}

#[inline]
fn name(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((Text::new(name), rest))
}

#[inline]
fn value(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((Text::new(value), rest))
}

/// What is wrong with the first element of `rest`, which ends with the segment.
fn broken(segment: &[u8], rest: &[u8]) -> Fault {
    let Some((kind, body)) = rest.split_first() else { return fault(segment, rest, "an element type") };
    match (kind, name(body)) {
        (1 | 3 | 4, None) => broken_name(segment, body),
        (3, Some((_, value))) => broken_value(segment, value),
        (5, _) => broken_value(segment, body),
        _ => fault(segment, rest, "an element type"),
    }
}

fn broken_name(segment: &[u8], name: &[u8]) -> Fault {
    match name.get(1..) {
        None => fault(segment, name, "the length of a name"),
        Some(name) => fault(segment, name, "a whole name"),
    }
}

fn broken_value(segment: &[u8], value: &[u8]) -> Fault {
    match value.get(2..) {
        None => fault(segment, &[], "the length of a value"),
        Some(value) => fault(segment, value, "a whole value"),
    }
}

/// Something else should have stood where `rest` begins, which ends with the segment.
fn fault(segment: &[u8], rest: &[u8], expected: &'static str) -> Fault {
    Fault { expected, offset: segment.len().saturating_sub(rest.len()) }
}

fn segment(kind: u8, name: &str, arguments: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    encode_name(name.into(), &mut out);
    arguments(&mut out);
    let length = u32::try_from(out.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(prefix) = out.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
    out
}

fn encode_name(name: Text<'_>, out: &mut Vec<u8>) {
    let length = u8::try_from(name.bytes().len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(name.bytes().get(..length.into()).unwrap_or_default());
}

fn encode_value(value: Text<'_>, out: &mut Vec<u8>) {
    let length = u16::try_from(value.bytes().len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.bytes().get(..length.into()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example message of the format's description: what the bytes must be, written out by hand.
    const GOLDEN: &[u8] =
        b"\x03\x04key1\x00\x06value1\x01\x08section1\x01\x0bsub-section\x03\x04key2\x00\x06value2\x02\
        \x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02";

    fn golden() -> [Element<'static>; 10] {
        [
            Element::Pair("key1".into(), "value1".into()),
            Element::Section("section1".into()),
            Element::Section("sub-section".into()),
            Element::Pair("key2".into(), "value2".into()),
            Element::SectionEnd,
            Element::List("list1".into()),
            Element::Item("item1".into()),
            Element::Item("item2".into()),
            Element::ListEnd,
            Element::SectionEnd,
        ]
    }

    fn response(body: &[u8]) -> Vec<u8> {
        [&[1], body].concat()
    }

    fn fault(body: &[u8]) -> Fault {
        parse(&response(body)).expect_err("it must be refused")
    }

    #[test]
    fn a_message_decodes_to_its_elements_and_back() {
        let segment = response(GOLDEN);
        let Ok(Packet::Response(message)) = parse(&segment) else { panic!("no response") };
        assert_eq!(message.elements().collect::<Vec<_>>(), golden());
        let mut encoded = Vec::new();
        golden().into_iter().for_each(|element| encode(element, &mut encoded));
        assert_eq!(encoded, GOLDEN);
        assert_eq!(message.value("key1"), Some("value1".into()));
        assert_eq!(message.value("key2"), None, "it stands inside a section");
        let segment = response(b"\x01\x01a\x03\x01k\0\x01x\x02\x03\x01k\0\x01y");
        let Ok(Packet::Response(message)) = parse(&segment) else { panic!("no response") };
        assert_eq!(message.value("k"), Some("y".into()), "not the one inside a section");
    }

    #[test]
    fn what_does_not_balance_is_refused_where_it_goes_wrong() {
        for (body, expected, offset) in [
            (&b"\x02"[..], "no end of a section", 1),
            (b"\x01\x01a", "the end of a section or list", 4),
            (b"\x04\x01a", "the end of a section or list", 4),
            (b"\x05\x00\x01x", "no list item", 1),
            (b"\x06", "no list item", 1),
            (b"\x04\x01a\x04\x01b", "a list item or the end of the list", 4),
            (b"\x04\x01a\x03\x01b\x00\x00", "a list item or the end of the list", 4),
            (b"\x00", "an element type", 1),
            (b"\x07", "an element type", 1),
            (b"\x03\x05key", "a whole name", 3),
            (b"\x03\x01k\x00", "the length of a value", 5),
            (b"\x03\x01k\xff\xffvalue", "a whole value", 6),
        ] {
            assert_eq!(fault(body), Fault { expected, offset }, "{body:?}");
        }
    }

    #[test]
    fn packets_are_told_apart() {
        assert_eq!(parse(b"\x02"), Ok(Packet::CommandUnknown));
        assert_eq!(parse(b"\x05"), Ok(Packet::EventConfirm));
        assert_eq!(parse(b"\x06"), Ok(Packet::EventUnknown));
        assert_eq!(parse(b"\x07\x07list-sa"), Ok(Packet::Event("list-sa".into(), Message::default())));
        assert_eq!(parse(b""), Err(Fault { expected: "a packet type", offset: 0 }));
        assert_eq!(parse(b"\x00"), Err(Fault { expected: "a packet type that charon sends", offset: 0 }));
        assert_eq!(parse(b"\x05x"), Err(Fault { expected: "the end of the packet", offset: 1 }));
    }

    #[test]
    fn requests_carry_their_length() {
        assert_eq!(command("list-sas", &[("noblock", "yes")]), b"\0\0\0\x18\0\x08list-sas\x03\x07noblock\0\x03yes");
        assert_eq!(register("list-sa"), b"\0\0\0\x09\x03\x07list-sa");
    }

    #[test]
    fn nesting_is_no_danger() {
        let deep = [b"\x01\x00".repeat(200_000), b"\x02".repeat(200_000)].concat();
        assert!(parse(&response(&deep)).is_ok());
    }

    #[test]
    fn what_is_too_long_to_be_encoded_is_cut() {
        let (name, value) = ("n".repeat(300), "v".repeat(70_000));
        let mut out = vec![1];
        encode(Element::Pair(name.as_str().into(), value.as_str().into()), &mut out);
        let Ok(Packet::Response(message)) = parse(&out) else { panic!("no response") };
        let elements: Vec<_> = message.elements().collect();
        assert_eq!(elements, [Element::Pair(name[..255].into(), value[..65_535].into())]);
    }

    #[test]
    fn what_is_left_of_a_section_is_passed_over_with_its_end() {
        let body = b"\x01\x01a\x01\x01b\x03\x01k\0\x01v\x02\x03\x01k\0\x01w\x02\x03\x01k\0\x01x";
        let segment = response(body);
        let Ok(Packet::Response(message)) = parse(&segment) else { panic!("no response") };
        let mut elements = message.elements();
        assert_eq!(elements.next(), Some(Element::Section("a".into())));
        elements.leave();
        assert_eq!(elements.collect::<Vec<_>>(), [Element::Pair("k".into(), "x".into())]);
    }
}
