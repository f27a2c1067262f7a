//! The part of JSON (RFC 8259) that headers are written in: objects, strings, and lists of whole numbers.
//!
//! A reader over a text, moved on by what it is asked for. Nothing nests deeper than the caller asks, so nothing recurses.
//! What it gives is bounded, however long the text is, and a string without escapes is part of the text.

use std::borrow::Cow;

/// The most bytes of a string, escapes not resolved.
pub(super) const LONGEST_STRING: usize = 1 << 22;

/// The most numbers of a list: as many axes as PyTorch has.
const LONGEST_LIST: usize = 64;

/// A position in a text.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Where the last key began.
    key: usize,
}

/// What a text should have been, and where it is not.
#[derive(Debug, PartialEq)]
pub(super) struct Misread {
    /// The byte, from 0.
    at: usize,
    wanted: &'static str,
}

impl std::fmt::Display for Misread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {} of the header should be {}", self.at, self.wanted)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0, key: 0 }
    }

    /// The byte at which the string of the last key of an object begins.
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Calls `entry` after each key of an object.
    pub(super) fn object<E: From<Misread>>(
        &mut self,
        mut entry: impl FnMut(&mut Reader<'a>, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "`{`")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            self.key = self.at;
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            entry(self, key)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    /// A list of whole numbers.
    pub(super) fn numbers(&mut self) -> Result<Vec<u64>, Misread> {
        let mut numbers = Vec::new();
        self.expect(b'[', "`[`")?;
        if self.take(b']') {
            return Ok(numbers);
        }
        loop {
            numbers.push(self.number()?);
            if self.take(b']') {
                return Ok(numbers);
            }
            if numbers.len() == LONGEST_LIST {
                return Err(self.misread("the end of a list: there are 64 numbers"));
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    fn number(&mut self) -> Result<u64, Misread> {
        self.skip_space();
        let digits = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        let text = &self.text[self.at..self.at + digits];
        let padded = text.len() > 1 && text.starts_with('0');
        let number = text.parse().ok().filter(|_| !padded).ok_or(self.misread("a whole number below 2^64"))?;
        self.at += digits;
        Ok(number)
    }

    /// A string, its escapes resolved.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Misread> {
        let raw = self.raw()?;
        if !raw.contains('\\') {
            return Ok(Cow::Borrowed(raw));
        }
        let (mut inside, mut string) = (Reader::new(raw), String::new());
        while inside.at < raw.len() {
            string.push(match inside.next_char()? {
                '\\' => inside.escape()?,
                c => c,
            });
        }
        Ok(Cow::Owned(string))
    }

    /// What stands between the quotes of a string, as it is.
    pub(super) fn raw(&mut self) -> Result<&'a str, Misread> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let longest = self.text.len().min(start + LONGEST_STRING + 1);
        loop {
            // Mostly it is all plain up to its end.
            let plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at +=
                self.text.as_bytes()[self.at..longest.max(self.at)].iter().take_while(|byte| plain(byte)).count();
            if self.at - start > LONGEST_STRING {
                return Err(self.misread("the end of a string, which has 4 MiB"));
            }
            match self.next_char()? {
                '"' => return Ok(&self.text[start..self.at - 1]),
                '\\' => _ = self.escape()?,
                _ => return Err(self.misread("no control character")),
            }
        }
    }

    fn next_char(&mut self) -> Result<char, Misread> {
        let c = self.text[self.at..].chars().next().ok_or(self.misread("the rest of a string"))?;
        self.at += c.len_utf8();
        Ok(c)
    }

    fn escape(&mut self) -> Result<char, Misread> {
        Ok(match self.next_char()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                // What lies beyond 16 bits is written as a pair of surrogates.
                let (first, mut second) = (self.unit()?, None);
                if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    second = Some(self.unit()?);
                }
                let mut chars = char::decode_utf16([first].into_iter().chain(second));
                match (chars.next(), chars.next()) {
                    (Some(Ok(c)), None) => c,
                    _ => return Err(self.misread("after a whole character")),
                }
            }
            _ => return Err(self.misread("after an escape of JSON")),
        })
    }

    fn unit(&mut self) -> Result<u16, Misread> {
        let digits = self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or(self.misread("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// Only white space is left.
    pub(super) fn end(&mut self) -> Result<(), Misread> {
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(()),
            false => Err(self.misread("the end")),
        }
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), Misread> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(self.misread(wanted)),
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += self.text.as_bytes()[self.at..].iter().take_while(|byte| space(byte)).count();
    }

    fn misread(&self, wanted: &'static str) -> Misread {
        Misread { at: self.at, wanted }
    }
}

/// A string as JSON writes it, with its quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\0'..='\x1f' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// How long that is.
pub(crate) fn quoted_len(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    });
    2 + bytes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::{Misread, Reader, quoted, quoted_len};

    #[test]
    fn every_string_is_read_as_it_was_written() {
        for text in ["", "dense1.weight", "\"\\/", "\n\t\0\x1f", "größe", "\u{1f9f6}"] {
            assert_eq!(Reader::new(&quoted(text)).string().as_deref(), Ok(text));
            assert_eq!(quoted_len(text), quoted(text).len());
        }
        let escapes = r#" "\"\\\/\b\f\n\r\t\u00e9\ud83e\uddf6" "#;
        assert_eq!(Reader::new(escapes).string().as_deref(), Ok("\"\\/\x08\x0c\n\r\té\u{1f9f6}"));
    }

    #[test]
    fn strings_that_json_does_not_allow_are_refused() {
        for text in [
            "",
            "x",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud83e\"",
            "\"\\ud83e\\u0041\"",
            "\"\n\"",
        ] {
            assert!(Reader::new(text).string().is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_whole_and_below_two_to_the_64() {
        assert_eq!(Reader::new(" [ ] ").numbers(), Ok(vec![]));
        assert_eq!(Reader::new("[0, 18446744073709551615]").numbers(), Ok(vec![0, u64::MAX]));
        for text in
            ["", "[", "[1", "[1,", "[1,]", "[,1]", "[01]", "[-1]", "[+1]", "[1.0]", "[1e3]", "[18446744073709551616]"]
        {
            assert!(Reader::new(text).numbers().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_object_is_its_keys_in_order() {
        let keys = |text: &str| {
            let mut keys = Vec::new();
            let mut reader = Reader::new(text);
            reader.object(|reader, key| {
                keys.push((key.into_owned(), reader.numbers()?));
                Ok::<(), Misread>(())
            })?;
            reader.end().map(|()| keys)
        };
        assert_eq!(keys("{}"), Ok(vec![]));
        assert_eq!(
            keys(" { \"b\" : [1] , \"a\":[] } "),
            Ok(vec![("b".to_string(), vec![1]), ("a".to_string(), vec![])])
        );
        for text in ["", "{", "{\"a\"", "{\"a\":", "{\"a\":[]", "{\"a\":[],", "{\"a\":[],}", "{a:[]}", "{}{}", "{} x"] {
            assert!(keys(text).is_err(), "{text:?}");
        }
    }
}
