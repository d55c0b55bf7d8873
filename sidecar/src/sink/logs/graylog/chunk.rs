//! Cutting a message that does not fit one datagram (GELF 1.1, "Chunked GELF").

/// Bytes in front of each piece: magic, message id, number of the piece, number of pieces.
pub(crate) const HEADER: usize = 12;
/// Pieces that one message may have.
pub(crate) const CHUNKS_MAX: usize = 128;

/// The pieces of a message, each with its header; none when there would be more than may be.
pub(crate) fn chunks(message: &[u8], datagram: usize, id: u64) -> Option<impl Iterator<Item = ([u8; HEADER], &[u8])>> {
    let size = datagram.checked_sub(HEADER).filter(|n| *n > 0)?;
    let count = message.len().div_ceil(size);
    if count > CHUNKS_MAX {
        return None;
    }
    Some(message.chunks(size).enumerate().map(move |(i, piece)| {
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&[0x1e, 0x0f]);
        header[2..10].copy_from_slice(&id.to_be_bytes());
        header[10] = i as u8;
        header[11] = count as u8;
        (header, piece)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(message: usize, datagram: usize) -> Option<Vec<usize>> {
        chunks(&vec![0; message], datagram, 1).map(|c| c.map(|(_, p)| p.len()).collect())
    }

    #[test]
    fn row_18_one_byte_more_than_a_datagram_makes_two() {
        assert_eq!(lengths(8193, 8192), Some(vec![8180, 13]));
    }

    #[test]
    fn row_19_pieces_are_counted_and_complete() {
        let message: Vec<u8> = (0..20_000u32).map(|n| (n * 31 % 251) as u8).collect();
        let pieces: Vec<_> = chunks(&message, 1420, 7).unwrap().collect();
        assert_eq!(pieces.len(), 15);
        assert!(pieces[..14].iter().all(|(_, p)| p.len() == 1408));
        assert_eq!(pieces[14].1.len(), 20_000 - 14 * 1408);
        for (i, (header, _)) in pieces.iter().enumerate() {
            assert_eq!(header, &[0x1e, 0x0f, 0, 0, 0, 0, 0, 0, 0, 7, i as u8, 15]);
        }
        let whole: Vec<u8> = pieces.iter().flat_map(|(_, p)| p.to_vec()).collect();
        assert_eq!(whole, message);
    }

    #[test]
    fn row_20_there_is_never_a_129th_piece() {
        assert_eq!(lengths(180_224, 1420).map(|l| l.len()), Some(128));
        assert_eq!(lengths(180_225, 1420), None);
        assert_eq!(lengths(1, HEADER), None);
    }

    /// The gelf crate counts a chunk's size without its header.
    #[test]
    fn the_gelf_crate_cuts_messages_as_we_do() {
        let logger = gelf::Logger::new_with_hostname(Box::new(gelf::NullBackend::new()), "host");
        for length in [1400, 5000, 20_000, 179_000] {
            let wire = gelf::WireMessage::new(gelf::Message::new("x".repeat(length)), &logger);
            let message = wire.to_gelf().unwrap().into_bytes();
            let size = gelf::ChunkSize::Custom(1408);
            let theirs = wire.to_chunked_message(size, gelf::MessageCompression::None).unwrap();
            // Its keys come in another order each time it writes; lengths and headers must agree, and both must be whole.
            let theirs: Vec<Vec<u8>> = theirs.iter().collect();
            let ours: Vec<_> = chunks(&message, 1420, 7).unwrap().collect();
            assert_eq!(theirs.len(), ours.len());
            for (theirs, (header, piece)) in theirs.iter().zip(&ours) {
                assert_eq!((theirs.len(), &theirs[10..12]), (HEADER + piece.len(), &header[10..]));
                assert_eq!(theirs[..2], header[..2]);
            }
            let value = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
            let joined = value(theirs.iter().flat_map(|c| c[HEADER..].to_vec()).collect());
            assert_eq!(joined, value(ours.iter().flat_map(|(_, p)| p.to_vec()).collect()));
        }
    }
}
