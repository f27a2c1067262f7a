//! The header of a file: which tensors it holds, and where.
//!
//! A header is gone through three times. The first time it has to be well-formed and within bounds, and nothing is kept; the
//! second time names have to be unique and the data without gaps, of which as little is kept as that takes. Only then is
//! anything made of it. So what is refused takes little time and no more memory than twice the header.

use std::borrow::Cow;
use std::ops::Range;

use super::LONGEST_HEADER;
use super::element::Element;
use super::json::{Misread, Reader};
use super::layout::{Names, Ranges};

/// The most tensors of a file. Ten thousand batch norms, as many stages as a declaration may have, are 120,000 tensors with all
/// that an optimizer and an accumulation remember of them. What has more is not built.
pub(super) const MOST_TENSORS: usize = 1 << 18;

/// The most words of a file: a checksum for every tensor, and as many others.
const MOST_WORDS: usize = 2 * MOST_TENSORS;

/// The longest name of a tensor or a word, in bytes.
pub(crate) const LONGEST_NAME: usize = 1 << 16;

/// What a header says, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Further words of whoever wrote the file, by name, in the order of their names.
    pub metadata: Vec<(String, String)>,
    /// The tensors, in the order of their data.
    pub tensors: Vec<Entry>,
    /// The indices of the tensors in the order of their names.
    by_name: Vec<usize>,
}

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name; no two are the same.
    pub name: String,
    /// What its elements are.
    pub element: Element,
    /// The extents.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the end of the header: as many as element and shape say.
    pub(super) range: Range<u64>,
}

impl Header {
    /// The word of this name.
    pub fn word(&self, name: &str) -> Option<&str> {
        let at = self.metadata.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.metadata[at].1)
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Entry> {
        let at = self.by_name.binary_search_by(|&index| (*self.tensors[index].name).cmp(name)).ok()?;
        Some(&self.tensors[self.by_name[at]])
    }

    /// Reads a header in front of so many bytes of data; an error is what is wrong with it, in words.
    pub(super) fn parse(text: &str, data: u64) -> Result<Header, String> {
        if text.len() > LONGEST_HEADER {
            return Err(format!("its header has {} bytes, and no more than {LONGEST_HEADER} are read", text.len()));
        }
        let (mut words, mut tensors) = (0, 0);
        let word = |reader: &mut Reader<'_>, _: Cow<'_, str>| {
            words += 1;
            within("words", words, MOST_WORDS)?;
            Ok(reader.raw().map(drop)?)
        };
        let tensor = |_, _| {
            tensors += 1;
            within("tensors", tensors, MOST_TENSORS)
        };
        walk(text, word, tensor)?;
        check(text, data, words, tensors)?;

        let mut header =
            Header { metadata: Vec::with_capacity(words), tensors: Vec::with_capacity(tensors), by_name: Vec::new() };
        let word = |reader: &mut Reader<'_>, name: Cow<'_, str>| {
            header.metadata.push((name.into_owned(), reader.string()?.into_owned()));
            Ok(())
        };
        let tensor = |tensor, _| {
            header.tensors.push(tensor);
            Ok(())
        };
        walk(text, word, tensor)?;
        header.metadata.sort_unstable();
        header.tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
        let mut by_name: Vec<usize> = (0..header.tensors.len()).collect();
        by_name.sort_unstable_by(|&x, &y| header.tensors[x].name.cmp(&header.tensors[y].name));
        Ok(Header { by_name, ..header })
    }
}

/// No two words and no two tensors of a well-formed header have the same name, and the data of the tensors lie one after the
/// other, without gaps, up to their end.
fn check(text: &str, data: u64, words: usize, tensors: usize) -> Result<(), Fault> {
    let (mut word_names, mut names) = (Names::new(text, words), Names::new(text, tensors));
    let mut ranges = Ranges::new(text, tensors);
    let word = |reader: &mut Reader<'_>, name: Cow<'_, str>| {
        if !word_names.insert(&name, reader.key()) {
            return Err(Fault(format!("its metadata name `{}` twice", shown(&name))));
        }
        Ok(reader.raw().map(drop)?)
    };
    let tensor = |tensor: Entry, at| {
        if !names.insert(&tensor.name, at) {
            return Err(Fault(format!("it names `{}` twice", shown(&tensor.name))));
        }
        ranges.push(tensor.range, at);
        Ok(())
    };
    walk(text, word, tensor)?;
    Ok(ranges.check(data)?)
}

/// What is wrong, in words.
struct Fault(String);

impl From<Misread> for Fault {
    fn from(misread: Misread) -> Fault {
        Fault(misread.to_string())
    }
}

impl From<String> for Fault {
    fn from(words: String) -> Fault {
        Fault(words)
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.0
    }
}

/// Goes through a header from its first to its last byte. `word` has to read the word of a name; `tensor` is told where the
/// name of the tensor stands.
fn walk<'a>(
    text: &'a str,
    mut word: impl FnMut(&mut Reader<'a>, Cow<'a, str>) -> Result<(), Fault>,
    mut tensor: impl FnMut(Entry, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(text);
    let mut seen = false;
    reader.object(|reader, name| {
        within("bytes in a name", name.len(), LONGEST_NAME)?;
        match &*name {
            "__metadata__" if seen => Err(Fault("it names `__metadata__` twice".to_string())),
            "__metadata__" => {
                seen = true;
                reader.object(|reader, name| {
                    within("bytes in a name", name.len(), LONGEST_NAME)?;
                    word(reader, name)
                })
            }
            _ => {
                let at = reader.key();
                tensor(entry(reader, &name)?, at)
            }
        }
    })?;
    Ok(reader.end()?)
}

fn within(what: &str, count: usize, most: usize) -> Result<(), Fault> {
    match count <= most {
        true => Ok(()),
        false => Err(Fault(format!("it has more than {most} {what}"))),
    }
}

/// A name or word as it stands in a message: the beginning of a long one.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    const MOST: usize = 200;
    match text.len() <= MOST {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{}..", &text[..text.floor_char_boundary(MOST)])),
    }
}

fn entry(reader: &mut Reader<'_>, full: &str) -> Result<Entry, Fault> {
    let name = shown(full);
    let (mut element, mut shape, mut offsets) = (None, None, None);
    reader.object(|reader, field| {
        let again = match &*field {
            "dtype" => {
                let word = reader.string()?;
                let known = Element::named(&word);
                element
                    .replace(known.ok_or_else(|| Fault(format!("`{name}` has the unknown dtype `{}`", shown(&word))))?)
                    .is_some()
            }
            "shape" => shape.replace(reader.numbers()?).is_some(),
            "data_offsets" => offsets.replace(reader.numbers()?).is_some(),
            _ => return Err(Fault(format!("`{name}` has the unknown field `{}`", shown(&field)))),
        };
        match again {
            true => Err(Fault(format!("`{name}` has `{field}` twice"))),
            false => Ok(()),
        }
    })?;
    let missing = |field: &str| Fault(format!("`{name}` has no `{field}`"));
    let element = element.ok_or_else(|| missing("dtype"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let range = match offsets.as_deref() {
        Some(&[start, end]) if start <= end => start..end,
        Some(_) => return Err(Fault(format!("the `data_offsets` of `{name}` are not a start and an end"))),
        None => return Err(missing("data_offsets")),
    };
    let bytes = element.bytes(&shape).ok_or_else(|| Fault(format!("`{name}` has the impossible shape {shape:?}")))?;
    if bytes != range.end - range.start {
        let found = range.end - range.start;
        return Err(Fault(format!("`{name}` has {found} bytes, but {shape:?} of {element} are {bytes}")));
    }
    let fits = shape.iter().map(|&extent| usize::try_from(extent).ok()).collect::<Option<Vec<usize>>>();
    let shape = fits.ok_or_else(|| Fault(format!("`{name}` has the impossible shape {shape:?}")))?;
    Ok(Entry { name: full.to_string(), element, shape, range })
}

#[cfg(test)]
mod tests {
    use super::Header;

    fn fault(text: &str, data: u64) -> String {
        Header::parse(text, data).expect_err("the header is wrong")
    }

    fn tensor(dtype: &str, shape: &str, offsets: &str) -> String {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    }

    #[test]
    fn tensors_come_in_the_order_of_their_data() {
        let text = r#"{"b":{"dtype":"F32","shape":[],"data_offsets":[4,8]},
            "__metadata__":{"format":"pt"},"a":{"data_offsets":[0,4],"shape":[2,1],"dtype":"BF16"}}  "#;
        let header = Header::parse(text, 8).expect("the header is well-formed");
        assert_eq!(header.tensors.iter().map(|tensor| &*tensor.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(header.tensor("a").map(|tensor| &tensor.shape[..]), Some(&[2, 1][..]));
        assert_eq!((header.word("format"), header.word("x")), (Some("pt"), None));
        assert!(header.tensor("c").is_none());
        assert!(Header::parse("{}", 0).is_ok_and(|header| header.tensors.is_empty()));
    }

    #[test]
    fn elements_and_bytes_have_to_agree() {
        assert_eq!(fault(&tensor("F32", "[2]", "[0,7]"), 7), "`x` has 7 bytes, but [2] of F32 are 8");
        assert_eq!(fault(&tensor("F4", "[3]", "[0,2]"), 2), "`x` has the impossible shape [3]");
        let vast = tensor("F32", "[4294967296,4294967296]", "[0,8]");
        assert_eq!(fault(&vast, 8), "`x` has the impossible shape [4294967296, 4294967296]");
        assert_eq!(fault(&tensor("F31", "[2]", "[0,8]"), 8), "`x` has the unknown dtype `F31`");
        assert_eq!(fault(&tensor("F32", "[2]", "[8,0]"), 8), "the `data_offsets` of `x` are not a start and an end");
        assert_eq!(fault(&tensor("F32", "[2]", "[0,8,8]"), 8), "the `data_offsets` of `x` are not a start and an end");
    }

    #[test]
    fn tensors_neither_overlap_nor_leave_gaps_nor_reach_out_of_the_file() {
        let two = |x: &str, y: &str| {
            format!(
                r#"{{"x":{{"dtype":"U8","shape":[4],"data_offsets":{x}}},"y":{{"dtype":"U8","shape":[4],"data_offsets":{y}}}}}"#
            )
        };
        assert_eq!(fault(&two("[0,4]", "[3,7]"), 8), "`y` overlaps with the tensor before it");
        assert_eq!(fault(&two("[0,4]", "[0,4]"), 8), "`y` overlaps with the tensor before it");
        assert_eq!(fault(&two("[5,9]", "[0,4]"), 9), "`x` begins after a gap");
        assert_eq!(fault(&two("[1,5]", "[5,9]"), 9), "`x` begins after a gap");
        assert_eq!(fault(&two("[0,4]", "[4,8]"), 6), "`y` ends at byte 8 of the data, of which there are 6");
        assert_eq!(
            fault(&two("[0,4]", "[4,8]"), 9),
            "its last tensor ends at byte 8 of the data, of which there are 9"
        );
        let end = 1_u64 << 60;
        assert_eq!(
            fault(&tensor("U8", &format!("[{end}]"), &format!("[0,{end}]")), 8),
            format!("`x` ends at byte {end} of the data, of which there are 8")
        );
    }

    #[test]
    fn names_and_fields_stand_once() {
        let x = r#""x":{"dtype":"U8","shape":[],"data_offsets":[0,1]}"#;
        assert_eq!(fault(&format!("{{{x},{x}}}"), 1), "it names `x` twice");
        assert_eq!(fault(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "it names `__metadata__` twice");
        assert_eq!(fault(r#"{"__metadata__":{"a":"","a":""}}"#, 0), "its metadata name `a` twice");
        assert_eq!(fault(r#"{"x":{"shape":[],"shape":[]}}"#, 1), "`x` has `shape` twice");
        assert_eq!(fault(r#"{"x":{"shape":[],"data_offsets":[0,1]}}"#, 1), "`x` has no `dtype`");
        assert_eq!(fault(r#"{"x":{"strides":[]}}"#, 1), "`x` has the unknown field `strides`");
        assert_eq!(fault(r#"{"x":7}"#, 1), "byte 5 of the header should be `{`");
    }
}
