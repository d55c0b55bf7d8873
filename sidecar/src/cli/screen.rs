//! A whole terminal to draw on: a screen of its own, keys as they are pressed, and everything as before at the end.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// To end.
    Quit,
    /// To hold on, and to go on.
    Pause,
    /// Any other.
    Other,
}

/// The terminal, as long as it is ours.
pub(super) struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub(super) fn open() -> io::Result<Screen> {
        let before = tcgetattr(io::stdin())?;
        let mut ours = before.clone();
        // Keys come at once, unseen; Ctrl-C is one of them, so that the end is always ours.
        ours.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        ours.special_codes[SpecialCodeIndex::VMIN] = 0;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &ours)?;
        let screen = Screen { before };
        write("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Draws a text in place of the one before.
    ///
    /// # Errors
    /// When nobody sees it any more.
    pub(super) fn show(&mut self, text: &str) -> io::Result<()> {
        // Each line wipes what is left of the one before it: no flicker.
        let lines = text.trim_end_matches('\n').replace('\n', "\u{1b}[K\r\n");
        write(&format!("\u{1b}[H{lines}\u{1b}[K\u{1b}[J"))
    }

    /// The key that is pressed within a time.
    pub(super) fn key(&mut self, within: Duration) -> Option<Key> {
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
        match poll(&mut fds, Some(&within)) {
            Ok(0) => return None,
            Ok(_) => {}
            // A signal, such as a window of another size: draw again.
            Err(_) => return Some(Key::Other),
        }
        let mut byte = [0];
        match stdin.lock().read(&mut byte) {
            Ok(1) => Some(match byte[0] {
                b'q' | b'Q' | 3 | 4 => Key::Quit,
                b'p' | b' ' => Key::Pause,
                _ => Key::Other,
            }),
            // Nobody is there to press one.
            _ => Some(Key::Quit),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write("\u{1b}[?25h\u{1b}[?1049l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
