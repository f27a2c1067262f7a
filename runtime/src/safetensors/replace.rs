//! Putting a file in the place of another, whole or not at all.
//!
//! In: a path, and what writes the bytes. Out: the new file at the path, or an error and the old one. Absent on purpose: what
//! the bytes are.
//!
//! The bytes go to a temporary file in the same folder, which is brought to the disk and renamed. Its name is drawn at random
//! and taken only if nobody has it, and the process that writes it holds a lock on it. So nobody's file is in anybody's way,
//! and what a killed process left behind is known by its lock, which the system has released: the next save to the same path
//! removes it.

use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
#[cfg(unix)]
use std::fs::Permissions;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::crc64::Crc64;

/// Names that are drawn before a save gives up.
const ATTEMPTS: usize = 100;

/// How many links to files that are not there are followed, as many as Linux follows.
const MOST_LINKS: usize = 40;

/// The longest name, in bytes, that is part of the temporary one as it is. File systems have limits from 143 bytes up.
const LONGEST_NAME: usize = 100;

/// Replaces what a path names by what `put` writes. A link is followed. Mode and owner stay those of the old file, as far as
/// the system lets them; a new file has what the system gives new files.
///
/// # Errors
/// What is no regular file, or one that is named by the descriptor of a process, and all that the file system refuses. The path
/// is then as it was.
pub(super) fn replace(path: &Path, put: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (target, old) = target(path)?;
    let name = target.file_name().ok_or_else(|| invalid("the path names no file"))?;
    let folder = folder(&target);
    let stem = stem(name);
    remove_left_behind(folder, &stem);
    let mut temporary = Temporary::new(folder, &stem, old.as_ref())?;
    put(&mut temporary.file)?;
    temporary.file.sync_all()?;
    temporary.rename(&target)?;
    // The new file is in place, whole and on the disk; no error could say otherwise. What is left, that its name outlasts a
    // loss of power too, not every system lets one ask for: not of a folder that may be written but not read.
    let _ = sync(folder);
    Ok(())
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The file that a path names, once all links are followed, and what is there now. What a link leads to need not be there yet.
fn target(path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    let old = match fs::metadata(path) {
        Ok(about) if about.is_file() => Some(about),
        Ok(about) if about.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        // A pipe or a device can't be replaced as a whole, and what is written into one is gone.
        Ok(_) => return Err(invalid("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if is_descriptor(&path) {
            return Err(invalid("it is a file that a process has open and would go on with; name the file itself"));
        }
        match fs::read_link(&path) {
            Ok(to) => path = folder(&path).join(to),
            Err(_) => return Ok((path, old)),
        }
    }
    Err(invalid("it is a link to a link, without end"))
}

/// The folder that a path lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a path names what a process has open, as `/dev/stdout` and `/dev/fd/3` do. Whoever has it open, and maybe reads it,
/// keeps it: a file in its place would be another.
fn is_descriptor(path: &Path) -> bool {
    let folder = fs::canonicalize(folder(path));
    cfg!(unix) && folder.is_ok_and(|folder| folder.starts_with("/proc") || folder == Path::new("/dev/fd"))
}

/// What the temporary names for a file begin with: its own name, a long one shortened to what tells it from others.
fn stem(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    if text.len() <= LONGEST_NAME {
        return text.into_owned();
    }
    let mut crc = Crc64::new();
    crc.add(name.as_encoded_bytes());
    let digits = crc.digits();
    let end = text.floor_char_boundary(LONGEST_NAME - digits.len() - 1);
    format!("{}~{digits}", &text[..end])
}

/// A temporary name. Processes that draw the same numbers, as a child of `fork` does, differ in their ids.
fn draw(stem: &str) -> String {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(process::id());
    format!(".{stem}.{:016x}.tmp", hasher.finish())
}

/// Whether [`draw`] may have given this name.
fn is_drawn(name: &OsStr, stem: &str) -> bool {
    let name = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_prefix(stem)?.strip_prefix('.'));
    let digits = name.and_then(|rest| rest.strip_suffix(".tmp"));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Removes the temporary files for the same target whose processes were killed. What can't be looked at or locked is left.
fn remove_left_behind(folder: &Path, stem: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !is_drawn(&entry.file_name(), stem) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        // Some network file systems lock only what is open for writing, and some files may only be read.
        let open = OpenOptions::new().write(true).open(&path).or_else(|_| File::open(&path));
        let Ok(file) = open else { continue };
        // While this has the lock, nobody else removes the file or begins to write it.
        if file.try_lock().is_ok() && is_at(&file, &path) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A file that this process has made and locked. It is removed again unless it is renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// An empty file. It is to replace `old`, so that at no time may anybody read it who may not read that.
    fn new(folder: &Path, stem: &str, old: Option<&Metadata>) -> io::Result<Temporary> {
        for _ in 0..ATTEMPTS {
            let path = folder.join(draw(stem));
            let file = match create(&path, old) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            // Another save may have found it without its lock, and remove it. Where there are no locks, nobody removes any.
            if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_at(&file, &path) {
                let temporary = Temporary { file, path, renamed: false };
                if let Some(old) = old {
                    keep_owner_and_mode(&temporary.file, old);
                }
                return Ok(temporary);
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no name is free for a temporary file"))
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // There is an error to tell of already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn create(path: &Path, old: Option<&Metadata>) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Until it has the owner and the group of the old file, the bits of its mode would speak of others.
    let mode = if old.is_some() { 0o600 } else { 0o666 };
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _: Option<&Metadata>) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Gives a file what the one had that it replaces, but for what lets programs run as another. Where the system refuses, fewer
/// may read and write it, not others.
#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &Metadata) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let same = file.metadata().is_ok_and(|new| (new.uid(), new.gid()) == (old.uid(), old.gid()));
    let kept = same || fchown(file, Some(old.uid()), Some(old.gid())).is_ok();
    let group_kept = kept || fchown(file, None, Some(old.gid())).is_ok();
    let _ = file.set_permissions(Permissions::from_mode(mode(old.mode(), group_kept)));
}

/// The mode of a file in the place of one with this mode. If it is in another group, members of the old group are among all
/// others now, and the other way round: each of them may do what both might before.
#[cfg(unix)]
fn mode(old: u32, group_kept: bool) -> u32 {
    let [owner, group, others] = [6, 3, 0].map(|shift| old >> shift & 7);
    let both = group & others;
    let [group, others] = if group_kept { [group, others] } else { [both, both] };
    owner << 6 | group << 3 | others
}

#[cfg(not(unix))]
fn keep_owner_and_mode(_: &File, _: &Metadata) {}

/// Whether a path still names an open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |about: Metadata| (about.dev(), about.ino());
    let (open, named) = (file.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    open.is_ok_and(|open| named.is_ok_and(|named| open == named))
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Makes a rename last. Only Unix opens folders.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    #[cfg(unix)]
    use super::mode;
    use super::{draw, is_drawn, stem};

    #[test]
    fn temporary_names_are_known_by_their_targets_and_fit_where_those_do() {
        let long = ["n".repeat(255), format!("{}{}", "n".repeat(254), "m"), "\u{1f9f6}".repeat(63)];
        let names = ["net.safetensors", "n", "net.0123456789abcdef.tmp", &long[0], &long[1], &long[2]];
        for name in names {
            let drawn = draw(&stem(OsStr::new(name)));
            assert!(drawn.len() <= 143, "{drawn}");
            for other in names {
                assert_eq!(
                    is_drawn(OsStr::new(&drawn), &stem(OsStr::new(other))),
                    name == other,
                    "{drawn} for {other}"
                );
            }
        }
        for other in [".n.tmp", ".n.0123456789abcde.tmp", "n.0123456789abcdef.tmp", ".n.0123456789abcdef", ".n.7-3.tmp"]
        {
            assert!(!is_drawn(OsStr::new(other), "n"), "{other}");
        }
        assert_ne!(draw("n"), draw("n"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_may_do_more_with_a_file_in_another_group() {
        for old in 0..=0o7777 {
            assert_eq!(mode(old, true), old & 0o777, "{old:o}");
            let new = mode(old, false);
            for (shift, may) in [(6, &[6][..]), (3, &[3, 0]), (0, &[3, 0])] {
                // Whoever this part of the mode is for had all of these rights before, whichever part was for him.
                assert!(may.iter().all(|other| (new >> shift & 7) & !(old >> other & 7) == 0), "{old:o} to {new:o}");
            }
        }
        assert_eq!(
            [0o644, 0o640, 0o664, 0o604, 0o600].map(|old| mode(old, false)),
            [0o644, 0o600, 0o644, 0o600, 0o600]
        );
    }
}
