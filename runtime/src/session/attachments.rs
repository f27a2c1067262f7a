//! Texts that belong to a network and travel with its checkpoints, such as the categories of the columns that it was trained on.
//!
//! In: a name and whatever prints as a text. Out: the same, read back, in the program that trains or in one that only predicts.
//! What a text says is the user's business.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use super::{Network, Predictor, Session};
use crate::elaborate::words::{closest, did_you_mean};
use crate::error::RunError;
use crate::safetensors::{File, LONGEST_NAME, quoted};

/// What the word of an attachment begins with; its name follows.
const WORD: &str = "attached ";

/// The most bytes of all texts of a network with their names, as a file has them.
const MOST: usize = 2 << 20;

/// Texts by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachments(BTreeMap<String, String>);

impl<N: Network> Session<N> {
    /// Attaches a text to the network: whatever prints as one. It is saved with every checkpoint, and [`Session::attached`] and
    /// [`Predictor::attached`] give it back, so that a program that only predicts needs one file: the categories of a table, the names
    /// of the classes, the letters of a text. What was attached by this name before is replaced.
    ///
    /// ```
    /// # use gradloom_runtime as gradloom;
    /// # fn f<N: gradloom::session::Network>(net: &mut gradloom::session::Session<N>) -> Result<(), Box<dyn std::error::Error>> {
    /// net.attach("threshold", &0.75)?;
    /// let threshold: f32 = net.attached("threshold")?;      // in another program: `predictor.attached("threshold")?`
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Texts of more than 2 MiB in all, with their names.
    pub fn attach(&mut self, name: &str, value: &(impl Display + ?Sized)) -> Result<(), RunError> {
        self.any.attachments.insert(name, value.to_string())
    }

    /// What was attached by this name, here or in the checkpoint that was loaded, as whatever is parsed from a text.
    ///
    /// # Errors
    /// Nothing by that name; a text that does not parse, with the reason in words.
    pub fn attached<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(&self, name: &str) -> Result<T, RunError> {
        self.any.attachments.get(name)
    }
}

impl<N> Predictor<N> {
    /// What was attached by this name to the session that this was made of, or that saved the checkpoint, as whatever is parsed
    /// from a text: see [`Session::attach`].
    ///
    /// # Errors
    /// As for [`Session::attached`].
    pub fn attached<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(&self, name: &str) -> Result<T, RunError> {
        self.any.attachments.get(name)
    }
}

impl Attachments {
    fn insert(&mut self, name: &str, text: String) -> Result<(), RunError> {
        let refused = |reason| RunError::Attachment { name: brief(name), reason };
        if quoted(name).len() + WORD.len() > LONGEST_NAME {
            return Err(refused("its name is longer than names in a checkpoint are".to_string()));
        }
        let others = self.0.iter().filter(|(other, _)| *other != name);
        let others: usize = others.map(|(name, text)| quoted(name).len() + quoted(text).len()).sum();
        let own = quoted(name).len() + quoted(&text).len();
        if others + own > MOST {
            return Err(refused(format!(
                "it has {own} bytes in a checkpoint, others {others}, and all may have {MOST}"
            )));
        }
        self.0.insert(name.to_string(), text);
        Ok(())
    }

    fn get<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(&self, name: &str) -> Result<T, RunError> {
        let refused = |reason| RunError::Attachment { name: brief(name), reason };
        let Some(text) = self.0.get(name) else {
            let hint = did_you_mean(closest(name, self.0.keys().map(String::as_str)));
            return Err(refused(format!("nothing was attached by this name{hint}")));
        };
        text.parse().map_err(|error: T::Err| refused(error.into().to_string()))
    }

    /// The words of a checkpoint.
    pub(super) fn words(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(name, text)| (format!("{WORD}{name}"), text.as_str()))
    }

    /// Those that a checkpoint has; none of a file that is no checkpoint.
    pub(super) fn of(file: &File) -> Option<Attachments> {
        let attached = |(word, text): &(String, String)| Some((word.strip_prefix(WORD)?.to_string(), text.clone()));
        file.is_sealed().then(|| Attachments(file.header.metadata.iter().filter_map(attached).collect()))
    }
}

/// A name as it stands in a message.
fn brief(name: &str) -> String {
    crate::safetensors::shown(name).into_owned()
}
