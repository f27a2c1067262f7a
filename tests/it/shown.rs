//! Every public name of the facade stands in a listing: in the README, in the guide, or in an example.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with this ending.
fn below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(below(&path, ending)),
            false if path.to_string_lossy().ends_with(ending) => files.push(path),
            false => {}
        }
    }
    files
}

/// The Rust in a page.
fn listings(page: &str) -> String {
    let blocks = page.split("```rust").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The words of all listings and examples.
fn shown() -> BTreeSet<String> {
    let project = crate::project();
    let mut pages = below(&project.join("guide"), ".md");
    pages.push(project.join("README.md"));
    let pages = pages.iter().map(|path| listings(&text(path)));
    let examples = below(&project.join("examples"), ".rs");
    let all: Vec<String> = pages.chain(examples.iter().map(|path| text(path))).collect();
    all.iter().flat_map(|text| words(text)).map(String::from).collect()
}

/// What `src/lib.rs` exports of the runtime: the room of each name, and the name.
fn exported() -> Vec<(String, String)> {
    let facade = text(&crate::project().join("src/lib.rs"));
    let (exports, _) = facade.split_once("pub use ndarray;").expect("`ndarray` is the last");
    let mut items = Vec::new();
    for line in exports.split(';').filter_map(|rest| rest.split_once("pub use gradloom_runtime::")) {
        let (path, names) = line.1.rsplit_once("::").unwrap_or((line.1, line.1));
        let room = path.split("::").next().expect("a path has a first part");
        items.extend(words(names).map(|name| (room.to_string(), name.to_string())));
    }
    items
}

/// Public functions of a file: free ones, and those of these types.
fn functions(text: &str, types: &BTreeSet<&str>) -> Vec<String> {
    let (mut found, mut inside, mut hidden) = (Vec::new(), false, false);
    for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
        if line.starts_with("impl") {
            // A type of the facade, with its parameters left out; what a trait asks for is the trait's.
            let subject = line
                .split_once("> ")
                .map_or(line, |(before, after)| if before.starts_with("impl<") { after } else { line });
            inside = !line.contains(" for ") && words(subject).any(|word| types.contains(word));
        }
        let name = line.strip_prefix("    pub fn ").filter(|_| inside).and_then(|rest| words(rest).next());
        if let Some(name) = name.filter(|_| !hidden) {
            found.push(name.to_string());
        }
        hidden = line.trim() == "#[doc(hidden)]";
    }
    found
}

#[test]
fn every_public_name_stands_in_a_listing() {
    let (shown, exported) = (shown(), exported());
    assert!(exported.len() > 50 && shown.len() > 1000, "{} names, {} words", exported.len(), shown.len());
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let rooms: BTreeSet<&str> = exported.iter().map(|(room, _)| room.as_str()).collect();
    for room in rooms {
        let types: BTreeSet<&str> =
            exported.iter().filter(|(of, _)| of == room).map(|(_, name)| name.as_str()).collect();
        missing.extend(types.iter().filter(|name| !shown.contains(**name)).map(|name| name.to_string()));
        let source = crate::project().join("runtime/src");
        let mut files = below(&source.join(room), ".rs");
        files.push(source.join(format!("{room}.rs")));
        for file in files.iter().filter(|file| file.exists()) {
            let text = text(file);
            let free = ["data", "evaluation"].contains(&room);
            let free = text.lines().filter_map(|line| line.strip_prefix("pub fn ").filter(|_| free));
            let names = functions(&text, &types)
                .into_iter()
                .chain(free.filter_map(|rest| words(rest).next()).map(String::from));
            missing.extend(names.filter(|name| !shown.contains(name)).map(|name| format!("{room}: {name}")));
        }
    }
    assert!(missing.is_empty(), "no listing of the guide and no example shows {missing:#?}");
}

#[test]
fn every_lint_is_shown_by_a_test_of_errors() {
    let lints = text(&crate::project().join("src/lint.rs"));
    let names: Vec<&str> =
        lints.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    let shown = text(&crate::project().join("macros/tests/ui/lints.stderr"));
    let missing: Vec<&&str> = names.iter().filter(|name| !shown.contains(**name)).collect();
    assert!(names.len() > 5 && missing.is_empty(), "nothing shows {missing:?}");
}

/// Types that have all that there can be, and reports that tests write by hand.
const COMPLETE: [&str; 3] = ["Flops", "Gradcheck", "ParamCheck"];

/// Whether a type can be matched or built by others as a whole, so that a variant or field more would break their code; none if the
/// text does not define it.
fn is_closed(text: &str, name: &str) -> Option<bool> {
    let lines: Vec<&str> = text.lines().collect();
    let defines = |line: &&str| {
        ["pub enum ", "pub struct "]
            .iter()
            .any(|kind| line.strip_prefix(kind).is_some_and(|rest| words(rest).next() == Some(name)))
    };
    let at = lines.iter().position(defines)?;
    let before = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    if before.into_iter().any(|line| *line == "#[non_exhaustive]") {
        return Some(false);
    }
    let body = || lines[at + 1..].iter().take_while(|line| **line != "}");
    let fields = body().filter(|line| line.starts_with("    ") && !line.trim_start().starts_with(['/', '#']));
    let all_public = fields.into_iter().all(|line| line.starts_with("    pub "));
    let has_fields = lines[at].ends_with('{') && body().next().is_some();
    Some(has_fields && (lines[at].starts_with("pub enum ") || all_public))
}

#[test]
fn public_types_leave_room_for_more_variants_and_fields() {
    assert_eq!(is_closed("pub enum A {\n    /// One.\n    X,\n}\n", "A"), Some(true));
    assert_eq!(is_closed("#[non_exhaustive]\npub enum A {\n    X,\n}\n", "A"), Some(false));
    assert_eq!(is_closed("pub struct A<T> {\n    /// One.\n    pub x: T,\n    y: u8,\n}\n", "A"), Some(false));
    assert_eq!(is_closed("pub struct A {\n    pub x: u8,\n}\n", "A"), Some(true));
    assert_eq!(is_closed("pub struct A(u8);\n", "A"), Some(false));
    let source = crate::project().join("runtime/src");
    let (mut found, mut closed) = (0, Vec::new());
    for (room, name) in exported() {
        let mut files = below(&source.join(&room), ".rs");
        files.push(source.join(format!("{room}.rs")));
        let texts = files.iter().filter(|file| file.exists()).map(|file| text(file));
        for is_closed in texts.filter_map(|text| is_closed(&text, &name)) {
            found += 1;
            closed.extend((is_closed && !COMPLETE.contains(&&*name)).then(|| format!("{room}::{name}")));
        }
    }
    assert!(found > 50, "{found} types are found");
    assert!(closed.is_empty(), "`#[non_exhaustive]` is missing at {closed:?}");
}
