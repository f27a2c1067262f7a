//! What is asked of all names and all data of a header together, before anything is made of it.
//!
//! In: names and ranges, one after the other, with the places in the text where they stand. Out: whether a name was there
//! before, and which tensor does not lie after the others. Only places and numbers are kept: 8 bytes for a name, 24 for a
//! range, fewer than they have in the text.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

use super::header::shown;
use super::json::Reader;

/// The names so far, each by the place of its string: a table with open addressing, at most half full.
pub(super) struct Names<'a> {
    text: &'a str,
    places: Vec<u32>,
    /// With keys drawn at random, so that nobody makes names that fall together.
    hasher: RandomState,
}

/// No name.
const FREE: u32 = u32::MAX;

impl<'a> Names<'a> {
    /// Room for so many names of a text, which is shorter than 4 GiB.
    pub(super) fn new(text: &'a str, names: usize) -> Names<'a> {
        Names { text, places: vec![FREE; 2 * names + 1], hasher: RandomState::new() }
    }

    /// Adds the name whose string begins at this byte of the text; false if it was there before.
    pub(super) fn insert(&mut self, name: &str, at: usize) -> bool {
        let mut place = (self.hasher.hash_one(name) % self.places.len() as u64) as usize;
        loop {
            match self.places[place] {
                FREE => {
                    self.places[place] = at as u32;
                    return true;
                }
                other if string(self.text, other) == name => return false,
                _ => place = (place + 1) % self.places.len(),
            }
        }
    }
}

/// The ranges of all tensors.
pub(super) struct Ranges<'a> {
    text: &'a str,
    /// Start, end, and the place of the name.
    ranges: Vec<(u64, u64, u32)>,
}

impl<'a> Ranges<'a> {
    /// Room for those of so many tensors of a text, which is shorter than 4 GiB.
    pub(super) fn new(text: &'a str, tensors: usize) -> Ranges<'a> {
        Ranges { text, ranges: Vec::with_capacity(tensors) }
    }

    pub(super) fn push(&mut self, range: Range<u64>, at: usize) {
        self.ranges.push((range.start, range.end, at as u32));
    }

    /// They lie one after the other, without gaps, up to the end of so many bytes of data; an error is what does not.
    pub(super) fn check(mut self, data: u64) -> Result<(), String> {
        self.ranges.sort_unstable();
        let mut last = 0;
        for &(start, end, at) in &self.ranges {
            let what = if end > data {
                format!("ends at byte {end} of the data, of which there are {data}")
            } else if start < last {
                "overlaps with the tensor before it".to_string()
            } else if start > last {
                "begins after a gap".to_string()
            } else {
                last = end;
                continue;
            };
            return Err(format!("`{}` {what}", shown(&string(self.text, at))));
        }
        match last == data {
            true => Ok(()),
            false => Err(format!("its last tensor ends at byte {last} of the data, of which there are {data}")),
        }
    }
}

/// The string that begins at this byte, where one was read before.
fn string(text: &str, at: u32) -> Cow<'_, str> {
    Reader::new(&text[at as usize..]).string().expect("a string was read there")
}
