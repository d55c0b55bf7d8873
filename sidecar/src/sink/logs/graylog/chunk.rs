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

    #[test]
    fn pieces_are_counted_and_complete() {
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
        let lengths = |n, size| chunks(&vec![0; n], size, 1).map(|c| c.map(|(_, p)| p.len()).collect::<Vec<_>>());
        assert_eq!(lengths(8193, 8192), Some(vec![8180, 13]));
        assert_eq!(lengths(180_224, 1420).map(|l| l.len()), Some(128));
        assert_eq!(lengths(180_225, 1420), None);
    }
}
