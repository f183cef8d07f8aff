//! Messages of netlink(7) and their attributes.
//!
//! Numbers are in the byte order of the machine. A message is read whole or not at all.

/// `NLM_F_REQUEST | NLM_F_DUMP`: all entries, not one.
const DUMP: u16 = 0x301;

/// `NLM_F_DUMP_INTR`: the list changed while the kernel made it.
const INTERRUPTED: u16 = 0x10;

/// The kinds that all protocols have: `NLMSG_ERROR`, `NLMSG_DONE`, `NLMSG_OVERRUN`; then the first one that a protocol
/// defines itself.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;
const OWN: u16 = 16;

/// The header of a message: length, kind, flags, number, port.
const HEADER: usize = 16;

/// The header of an attribute: length and kind.
const ATTRIBUTE: usize = 4;

/// The order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// A number of two bytes.
    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// A number of four bytes.
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// A number of eight bytes.
    pub fn u64(self, bytes: [u8; 8]) -> u64 {
        if self == Self::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}

/// A violation of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was expected.
    pub expected: &'static str,
    /// Where, in bytes from the start of the datagram.
    pub offset: usize,
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Whether the list changed while the kernel made it, so that entries may be missing or come twice.
    pub is_interrupted: bool,
    /// Its content.
    pub content: Content<'a>,
}

/// The content of a message.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// An entry of the list.
    Data(Data<'a>),
    /// The end of the list.
    End,
    /// The kernel refused, with the number of the error.
    Refused(i32),
}

/// The kind of a message, and what follows its header.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The kind of the message.
    pub kind: u16,
    /// The bytes behind the header.
    pub bytes: Piece<'a>,
}

/// The messages of one or several datagrams, up to one that is malformed.
#[derive(Clone, Debug)]
pub struct Messages<'a>(Piece<'a>);

/// A part of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    offset: usize,
    /// The byte order of its numbers.
    pub order: ByteOrder,
}

/// Reads an attribute: its kind and its value.
pub type ReadAttribute<'r, 'a> = dyn FnMut(u16, Piece<'a>) -> Result<(), Malformed> + 'r;

/// The messages of one datagram.
pub fn messages(datagram: &[u8], order: ByteOrder) -> Messages<'_> {
    Messages(Piece { bytes: datagram, offset: 0, order })
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.bytes.is_empty() {
            let Some((kind, flags, body)) = self.0.cut_message() else {
                let malformed = self.0.malformed("a message");
                self.0.bytes = &[];
                return Some(Err(malformed));
            };
            let content = match (kind, body.code()) {
                // An acknowledgement.
                (ERROR, Some(0)) => continue,
                (ERROR, Some(code)) => Content::Refused(code.saturating_neg()),
                // A list that failed half way says so at its end.
                (DONE, Some(code)) if code < 0 => Content::Refused(code.saturating_neg()),
                (DONE, _) => Content::End,
                (ERROR | OVERRUN, _) => return Some(Err(body.malformed("a message that is whole"))),
                (kind, _) if kind < OWN => continue,
                _ => Content::Data(Data { kind, bytes: body }),
            };
            return Some(Ok(Message { is_interrupted: flags & INTERRUPTED != 0, content }));
        }
        None
    }
}

impl<'a> Data<'a> {
    /// Calls `read` with the kind and the value of each attribute behind a header of `header` bytes.
    pub fn each(self, header: usize, read: &mut ReadAttribute<'_, 'a>) -> Result<(), Malformed> {
        self.bytes.after(header).ok_or_else(|| self.bytes.malformed("a header"))?.each(read)
    }
}

impl<'a> Piece<'a> {
    /// The error that something else was expected here.
    pub fn malformed(self, expected: &'static str) -> Malformed {
        Malformed { expected, offset: self.offset }
    }

    /// What follows the first `count` bytes.
    pub fn after(self, count: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(count..)?, offset: self.offset.saturating_add(count), ..self })
    }

    /// Takes the first `length` bytes away, with what fills them up to four; gives those from `header` on.
    fn cut(&mut self, header: usize, length: usize) -> Option<Self> {
        let part = Self { bytes: self.bytes.get(..length)?, ..*self }.after(header)?;
        // What ends a message or a list of attributes need not be filled up.
        let padded = length.checked_next_multiple_of(4)?.min(self.bytes.len());
        *self = self.after(padded)?;
        Some(part)
    }

    /// Takes the first message away: its kind, its flags and its body.
    fn cut_message(&mut self) -> Option<(u16, u16, Self)> {
        let ([a, b, c, d, e, f, g, h], _) = self.bytes.split_first_chunk()?;
        let length = usize::try_from(self.order.u32([*a, *b, *c, *d])).ok()?;
        let (kind, flags) = (self.order.u16([*e, *f]), self.order.u16([*g, *h]));
        Some((kind, flags, self.cut(HEADER, length)?))
    }

    /// Takes the first attribute away: its kind, without the flags in it, and its value.
    fn cut_attribute(&mut self) -> Option<(u16, Self)> {
        let ([a, b, c, d], _) = self.bytes.split_first_chunk()?;
        let length = usize::from(self.order.u16([*a, *b]));
        // The two highest bits say that it is nested, and in the byte order of the network.
        let kind = self.order.u16([*c, *d]) & 0x3fff;
        Some((kind, self.cut(ATTRIBUTE, length)?))
    }

    /// Calls `read` with the kind and the value of each attribute in it, up to one that is malformed.
    pub fn each(mut self, read: &mut ReadAttribute<'_, 'a>) -> Result<(), Malformed> {
        while !self.bytes.is_empty() {
            let malformed = self.malformed("an attribute");
            let (kind, value) = self.cut_attribute().ok_or(malformed)?;
            read(kind, value)?;
        }
        Ok(())
    }

    /// The number of an error, where one stands there.
    fn code(self) -> Option<i32> {
        self.bytes.first_chunk().map(|bytes| self.order.u32(*bytes).cast_signed())
    }

    /// All of it, which must be `N` bytes.
    pub fn exactly<const N: usize>(self, expected: &'static str) -> Result<[u8; N], Malformed> {
        self.bytes.try_into().map_err(|_| self.malformed(expected))
    }

    /// All of it as a number.
    // Inlined in the callers of it and of the next one it takes 0.3 KB more on MIPS.
    #[inline(never)]
    pub fn u16(self) -> Result<u16, Malformed> {
        Ok(self.order.u16(self.exactly("2 bytes")?))
    }

    /// All of it as a number.
    #[inline(never)]
    pub fn u32(self) -> Result<u32, Malformed> {
        Ok(self.order.u32(self.exactly("4 bytes")?))
    }

    /// All of it as a number.
    pub fn u64(self) -> Result<u64, Malformed> {
        Ok(self.order.u64(self.exactly("8 bytes")?))
    }
}

/// A request for a list of all entries, while it is being written.
pub struct Request {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl Request {
    /// A request of that kind with the protocol's own header.
    pub fn new(kind: u16, header: &[u8], order: ByteOrder) -> Self {
        let mut request = Self { bytes: Vec::new(), order };
        // The length comes last; neither number nor port is needed.
        let head = [&[0; 4][..], &request.u16(kind), &request.u16(DUMP), &[0; 8], header].concat();
        request.bytes = head;
        request
    }

    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let attribute = self.attribute(kind, value);
        self.bytes.extend_from_slice(&attribute);
    }

    /// An attribute as bytes.
    pub fn attribute(&self, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len().saturating_add(ATTRIBUTE)).unwrap_or(u16::MAX);
        let mut out = [&self.u16(length)[..], &self.u16(kind), value].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// The request as bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let length = self.u32(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.iter_mut().zip(length).for_each(|(byte, new)| *byte = new);
        self.bytes
    }

    fn u16(&self, number: u16) -> [u8; 2] {
        if self.order == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    /// A number as bytes.
    pub fn u32(&self, number: u32) -> [u8; 4] {
        if self.order == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(order: ByteOrder) -> Request {
        Request { bytes: Vec::new(), order }
    }

    /// A message, which is not filled up to four bytes.
    fn message(kind: u16, flags: u16, body: &[u8], order: ByteOrder) -> Vec<u8> {
        let out = request(order);
        let length = u32::try_from(HEADER + body.len()).expect("short");
        [&out.u32(length)[..], &out.u16(kind), &out.u16(flags), &[0; 8], body].concat()
    }

    /// What messages say in one word each, and whether they were interrupted.
    fn words(datagram: &[u8], order: ByteOrder) -> Vec<(String, bool)> {
        let word = |message: Result<Message<'_>, Malformed>| match message {
            Ok(Message { is_interrupted, content: Content::Data(data) }) => {
                (format!("data {}", data.kind), is_interrupted)
            }
            Ok(Message { is_interrupted, content: Content::End }) => ("end".into(), is_interrupted),
            Ok(Message { is_interrupted, content: Content::Refused(code) }) => {
                (format!("refused {code}"), is_interrupted)
            }
            Err(malformed) => (malformed.expected.into(), false),
        };
        messages(datagram, order).map(word).collect()
    }

    #[test]
    fn each_kind_of_message_is_told_from_the_others() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let code = |code: i32| request(order).u32(code.cast_unsigned());
            for (kind, flags, body, expected) in [
                (ERROR, 0, &code(0)[..], &[][..]),
                (ERROR, 0, &code(-13), &[("refused 13", false)]),
                (ERROR, 0, &code(-13)[..3], &[("a message that is whole", false)]),
                (DONE, 0, &code(0), &[("end", false)]),
                (DONE, 0x10, &code(0), &[("end", true)]),
                (DONE, 0x20, &code(7), &[("end", false)]),
                (DONE, 0, b"", &[("end", false)]),
                (DONE, 0, &code(-2), &[("refused 2", false)]),
                (OVERRUN, 0, b"", &[("a message that is whole", false)]),
                (1, 0, b"", &[]),
                (15, 0, b"", &[]),
                (16, 0x12, b"x", &[("data 16", true)]),
                (29, 0x02, b"", &[("data 29", false)]),
            ] {
                let expected: Vec<_> = expected.iter().map(|(word, is)| ((*word).to_owned(), *is)).collect();
                assert_eq!(
                    words(&message(kind, flags, body, order), order),
                    expected,
                    "{kind} {flags} {body:?} {order:?}"
                );
            }
            let mut two = message(16, 0, b"abc", order);
            two.push(0);
            two.extend(message(DONE, 0, b"", order));
            assert_eq!(words(&two, order), [("data 16".to_owned(), false), ("end".to_owned(), false)]);
        }
    }
}
