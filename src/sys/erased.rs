//! A buffer that is overwritten when it is dropped: what was read into it may hold private keys.

use std::hint::black_box;
use std::ops::{Deref, DerefMut};

/// A buffer of a size that does not change, so that no copy of it is left anywhere.
pub(super) struct ErasedBuffer(Vec<u8>);

impl ErasedBuffer {
    /// A buffer of `size` zeros.
    pub(super) fn new(size: usize) -> Self {
        Self(vec![0; size])
    }
}

impl Deref for ErasedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for ErasedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for ErasedBuffer {
    fn drop(&mut self) {
        erase(&mut self.0);
    }
}

fn erase(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without it the compiler may leave out writing what nobody reads any more.
    black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_is_zeros() {
        let mut buffer = ErasedBuffer::new(4);
        buffer.copy_from_slice(b"keys");
        assert_eq!(*buffer, *b"keys");
        erase(&mut buffer);
        assert_eq!(*buffer, [0; 4]);
    }
}
