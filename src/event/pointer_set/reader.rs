//! Steps over the values of a JSON text.

use memchr::memchr2;

/// Steps over JSON that was validated before; on any other text it stops or returns pieces, but never panics.
pub(super) struct Reader<'a> {
    json: &'a [u8],
    /// The next byte.
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// Returns the next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.json.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Steps over the string that starts here and returns it with its quotes.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at += 1;
        loop {
            self.at += memchr2(b'"', b'\\', self.json.get(self.at..)?)?;
            if self.json.get(self.at)? == &b'"' {
                self.at += 1;
                return self.json.get(start..self.at);
            }
            self.at += 2;
        }
    }

    /// Steps over the value that starts here and returns its text.
    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => return self.string(),
            b'{' | b'[' => self.container()?,
            _ => {
                let rest = self.json.get(start..)?;
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                self.at = start + rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        self.json
            .get(start..self.at)
            .filter(|text| !text.is_empty())
    }

    fn container(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}
