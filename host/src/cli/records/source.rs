//! Where `import` reads from: a file or standard input, plain or gzip, found by its first bytes.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::cli::store::{Failure, Result};

const BUFFER_BYTES: usize = 256 << 10;

/// First bytes of packed files, and how to unpack those that we do not.
const GZIP: &[u8] = &[0x1f, 0x8b];
const PACKED: &[(&[u8], &str)] = &[
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz -dc"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd -dc"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4 -dc"),
    (b"BZh", "bzip2 -dc"),
];
const MAGIC_BYTES: usize = 6;

/// An open input.
pub struct Source {
    /// Its bytes, unpacked.
    pub reader: Box<dyn BufRead>,
    /// Its name for messages.
    pub name: String,
    /// Length in bytes as stored, if known.
    pub bytes_total: Option<u64>,
    bytes_read: Rc<Cell<u64>>,
}

impl Source {
    /// Opens `path`, or standard input for `-`.
    ///
    /// # Errors
    /// The file cannot be read, or it is packed in a way that we do not unpack.
    pub fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new(io::stdin().lock(), "standard input".to_owned(), None);
        }
        let name = path.display().to_string();
        let unreadable = |e: io::Error| {
            Failure::new(
                format!("the input cannot be read ({e})"),
                name.clone(),
                "check the name and its rights",
            )
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let total = metadata.is_file().then_some(metadata.len());
        Self::new(file, name, total)
    }

    /// Reads from `input`.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn new(input: impl Read + 'static, name: String, bytes_total: Option<u64>) -> Result<Self> {
        let bytes_read = Rc::new(Cell::new(0));
        let mut input = Counted { input, bytes_read: Rc::clone(&bytes_read) };
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        input.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(|e| {
            Failure::new(format!("the input cannot be read ({e})"), name.clone(), "check what it names")
        })?;
        if let Some((_, tool)) = PACKED.iter().find(|(bytes, _)| magic.starts_with(bytes)) {
            let next = format!("unpack it first, for instance: {tool} FILE | nokv import ... -");
            return Err(Failure::new("the input is packed", name, next));
        }
        let gzip = magic.starts_with(GZIP);
        let raw = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(magic).chain(input));
        let reader: Box<dyn BufRead> = if gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Self { reader, name, bytes_total, bytes_read })
    }

    /// A counter of the stored bytes read so far, packed ones where the input is packed.
    pub fn bytes_read(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.bytes_read)
    }
}

/// Counts what is read through it.
struct Counted<R> {
    input: R,
    bytes_read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.bytes_read.set(self.bytes_read.get() + n as u64);
        Ok(n)
    }
}
