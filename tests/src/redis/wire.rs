//! A client of either server: sends commands, reads replies as they are written.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A reply, as it was written.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Wire {
    /// `+` and `-`: mark and text.
    Line(u8, Vec<u8>),
    /// `:`, and `#` as 0 or 1.
    Int(i64),
    /// `$`, `=`
    Bulk(Vec<u8>),
    /// `,`
    Double(f64),
    /// `$-1`, `*-1`, `_`
    Nil,
    /// `*`, `~`, `>`, `%` (as pairs after each other): mark and items.
    Items(u8, Vec<Wire>),
}

impl Wire {
    /// The error line, if it is one.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Line(b'-', text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// Bytes as text, for messages.
    pub fn show(&self) -> String {
        match self {
            Self::Line(mark, text) => format!("{}{}", char::from(*mark), text.escape_ascii()),
            Self::Int(n) => format!(":{n}"),
            Self::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Self::Double(n) => format!(",{n}"),
            Self::Nil => "nil".to_owned(),
            Self::Items(mark, items) => {
                let shown: Vec<String> = items.iter().map(Self::show).collect();
                format!("{}[{}]", char::from(*mark), shown.join(" "))
            }
        }
    }
}

/// A connection.
pub struct Client<S = TcpStream> {
    reader: BufReader<S>,
    out: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self::over(stream))
    }

    /// The connection below.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}

impl<S: Read + Write> Client<S> {
    /// Over a connection that stands.
    pub fn over(stream: S) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, stream), out: Vec::new() }
    }

    /// Puts a command into the next pipeline.
    pub fn push(&mut self, args: &[Vec<u8>]) {
        self.out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.out.extend_from_slice(arg);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Sends the pipeline.
    ///
    /// # Errors
    /// What the system says.
    pub fn send(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.reader.get_mut().write_all(&out)?;
        self.reader.get_mut().flush()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the system says.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// One command and its reply.
    ///
    /// # Errors
    /// What the system says; bytes that are no reply.
    pub fn call(&mut self, line: &str) -> io::Result<Wire> {
        let args: Vec<Vec<u8>> = line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        self.push(&args);
        self.send()?;
        self.read()
    }

    /// The next reply.
    ///
    /// # Errors
    /// What the system says; bytes that are no reply.
    pub fn read(&mut self) -> io::Result<Wire> {
        let line = self.line()?;
        let (mark, rest) = line.split_first().ok_or_else(|| wrong("an empty line"))?;
        let number = || -> io::Result<i64> {
            std::str::from_utf8(rest).ok().and_then(|t| t.parse().ok()).ok_or_else(|| wrong("no number"))
        };
        Ok(match mark {
            b'+' | b'-' => Wire::Line(*mark, rest.to_vec()),
            b':' => Wire::Int(number()?),
            b'#' => Wire::Int(i64::from(rest == b"t")),
            b',' => Wire::Double(
                std::str::from_utf8(rest)
                    .ok()
                    .and_then(|t| t.parse().ok())
                    .ok_or_else(|| wrong("no number"))?,
            ),
            b'_' => Wire::Nil,
            b'$' | b'=' => match usize::try_from(number()?) {
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.reader.read_exact(&mut bytes)?;
                    bytes.truncate(len);
                    Wire::Bulk(bytes)
                }
                Err(_) => Wire::Nil,
            },
            b'*' | b'~' | b'>' | b'%' => match usize::try_from(number()?) {
                Ok(len) => {
                    let len = if *mark == b'%' { 2 * len } else { len };
                    Wire::Items(*mark, (0..len).map(|_| self.read()).collect::<io::Result<_>>()?)
                }
                Err(_) => Wire::Nil,
            },
            _ => return Err(wrong(&format!("the mark {:?}", char::from(*mark)))),
        })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        std::io::BufRead::read_until(&mut self.reader, b'\n', &mut line)?;
        if line.pop() != Some(b'\n') || line.pop() != Some(b'\r') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no reply: {what}"))
}
