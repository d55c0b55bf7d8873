//! Packing a message before it is cut.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use serde::Deserialize;

/// How a message is packed before it is cut in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Packing {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
}

/// Shorter messages are sent as they are: packing would hardly make them shorter.
const PACK_MIN: usize = 256;
/// RFC 1952, 2.3: magic, deflate, no flags, no time, fastest, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Packs one message after the other with the same memory.
pub(crate) struct Packer {
    kind: Packing,
    deflate: Option<Compress>,
    out: Vec<u8>,
}

impl Packer {
    /// A packer; it takes its memory with the first message.
    pub(crate) fn new(kind: Packing) -> Packer {
        Packer { kind, deflate: None, out: Vec::new() }
    }

    /// How it packs.
    pub(crate) fn kind(&self) -> Packing {
        self.kind
    }

    /// The message packed, or as it is when it is short, packing is off or fails, or makes it no shorter.
    pub(crate) fn pack<'a>(&'a mut self, message: &'a [u8]) -> &'a [u8] {
        self.out.clear();
        if self.kind != Packing::None && message.len() >= PACK_MIN && !self.deflated(message) {
            self.out.clear();
        }
        self.packed(message)
    }

    /// What [`Packer::pack`] made of this message, when it was the last one.
    pub(crate) fn packed<'a>(&'a self, message: &'a [u8]) -> &'a [u8] {
        if self.out.is_empty() { message } else { &self.out }
    }

    /// Whether the message is shorter packed.
    fn deflated(&mut self, message: &[u8]) -> bool {
        let zlib = self.kind == Packing::Zlib;
        let deflate = self.deflate.get_or_insert_with(|| Compress::new(Compression::fast(), zlib));
        deflate.reset();
        if !zlib {
            self.out.extend_from_slice(&GZIP_HEADER);
        }
        // Deflate never grows a message by more than a few bytes a block.
        self.out.reserve(message.len() + message.len() / 1000 + 128);
        if !matches!(deflate.compress_vec(message, &mut self.out, FlushCompress::Finish), Ok(Status::StreamEnd)) {
            return false;
        }
        if !zlib {
            let mut crc = Crc::new();
            crc.update(message);
            self.out.extend_from_slice(&crc.sum().to_le_bytes());
            self.out.extend_from_slice(&crc.amount().to_le_bytes());
        }
        self.out.len() < message.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn row_23_what_is_packed_comes_back_and_is_marked() {
        let message: Vec<u8> = (0..30_000u32).map(|n| (n * n % 97) as u8 + b' ').collect();
        for _ in 0..2 {
            let mut gzip = Packer::new(Packing::Gzip);
            let mut zlib = Packer::new(Packing::Zlib);
            for n in [256, 300, 30_000] {
                let packed = gzip.pack(&message[..n]);
                assert_eq!(packed[..2], [0x1f, 0x8b]);
                let mut back = Vec::new();
                flate2::read::GzDecoder::new(packed).read_to_end(&mut back).unwrap();
                assert_eq!(back, message[..n]);
                assert_eq!(gzip.packed(&message[..n])[..2], [0x1f, 0x8b]);
                let packed = zlib.pack(&message[..n]);
                assert_eq!((packed[0], (u16::from(packed[0]) * 256 + u16::from(packed[1])) % 31), (0x78, 0));
                back.clear();
                flate2::read::ZlibDecoder::new(packed).read_to_end(&mut back).unwrap();
                assert_eq!(back, message[..n]);
            }
            assert_eq!(gzip.pack(&message[..255]), &message[..255], "too short to be packed");
        }
        assert_eq!(Packer::new(Packing::None).pack(&message), message);
        // What grows is left as it is.
        let mut noise = fastrand::Rng::with_seed(5);
        let noise: Vec<u8> = (0..1000).map(|_| noise.u8(..)).collect();
        assert_eq!(Packer::new(Packing::Gzip).pack(&noise), noise);
    }
}
