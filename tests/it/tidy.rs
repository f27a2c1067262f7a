//! The rooms are in order: what STYLE.md asks of the tree, read off the tree.
//!
//! Every test prints all offences at once.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its lines without what stands after `//`, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
    }
}

fn root() -> &'static Path {
    crate::project()
}

/// All text files; what builds and version control leave behind is passed over.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut open = vec![root().to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path: PathBuf = entry.expect("a folder of the project can be read").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // In a worktree of its own, `.git` is a file.
            if ["target", ".git"].contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).expect("the walk starts at the root");
                let path = path.to_string_lossy().replace('\\', "/");
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|x, y| x.path.cmp(&y.path));
    assert!(files.iter().any(|file| file.path == "runtime/src/lib.rs"), "the walk finds the compiler");
    files
}

fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// The rooms of the compiler in the order of `lib.rs`: each module, and the files that may hold it.
fn rooms() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("runtime/src/lib.rs")).expect("the compiler has a lib.rs");
    let mut rooms = Vec::new();
    let mut other_file = None;
    for line in text.lines() {
        if let Some((_, path)) = line.split_once("path = \"") {
            other_file = path.split('"').next().map(str::to_string);
        }
        let declared = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')) {
            let files = [Some(format!("{name}.rs")), Some(format!("{name}/")), other_file.take()];
            rooms.push((name.to_string(), files.into_iter().flatten().collect()));
        }
    }
    assert!(rooms.len() > 10, "the rooms are declared in lib.rs");
    rooms
}

/// The modules that code names, each with where: `crate::ir::Op` and each of `crate::{ir, types::Dim}`.
fn named(code: &str) -> Vec<(usize, &str)> {
    let word = |at: usize| {
        let rest = &code[at..];
        (at, &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())])
    };
    let mut names = Vec::new();
    for (at, found) in code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$')) {
        let at = at + found.len();
        if !code[at..].starts_with('{') {
            names.push(word(at));
            continue;
        }
        // Of a list, what stands at its own depth, after the brace or a comma.
        let (mut depth, mut fresh) = (0, false);
        for (offset, c) in code[at..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if fresh && depth == 1 && c.is_alphanumeric() => names.push(word(at + offset)),
                _ => {}
            }
            fresh = matches!(c, '{' | ',') || (fresh && c.is_whitespace());
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn names_are_found_in_lists_too() {
    let names = |code| named(code).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(names("use crate::ir::Op;"), ["ir"]);
    assert_eq!(names("use crate::{fuse, ir::{Graph, Op},\n    jit};"), ["fuse", "ir", "jit"]);
    assert_eq!(names("let x = crate::plan::plan(crate::types::Dim::B, $crate::lower);"), ["plan", "types"]);
}

#[test]
fn a_room_uses_itself_and_earlier_rooms_only() {
    let rooms = rooms();
    let mut offences = Vec::new();
    for file in files() {
        let Some(inside) = file.path.strip_prefix("runtime/src/") else { continue };
        let home = rooms.iter().position(|(_, files)| {
            files.iter().any(|own| inside == own || (own.ends_with('/') && inside.starts_with(own.as_str())))
        });
        let Some(home) = home else {
            if inside != "lib.rs" {
                offences.push(format!("{}: belongs to no module of lib.rs", file.path));
            }
            continue;
        };
        let lines: Vec<&str> = file.code().map(|(_, line)| line).collect();
        let code = lines.join("\n");
        for (at, name) in named(&code) {
            let other = rooms.iter().position(|(room, _)| room == name);
            if other.is_some_and(|other| other > home) {
                let line = code[..at].matches('\n').count() + 1;
                offences.push(format!("{}:{line}: `{}` uses the later `{name}`", file.path, rooms[home].0));
            }
        }
    }
    none(&offences);
}

/// Kernels say what they read and compute: what comes after fusion never asks the graph.
#[test]
fn no_room_after_fusion_sees_a_graph() {
    let after = ["kernel/", "tiling/", "plan/", "codegen/", "jit/", "microkernels/"];
    let mut offences = Vec::new();
    for file in files() {
        let Some(inside) = file.path.strip_prefix("runtime/src/") else { continue };
        if !after.iter().any(|room| inside.starts_with(room)) {
            continue;
        }
        // Tests may make one.
        let code = file.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        let graph = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Graph");
        let tests = inside.starts_with("jit/guarded") || inside.ends_with("surroundings.rs");
        offences.extend(
            code.filter(|(_, line)| graph(line) && !tests).map(|(at, _)| format!("{}:{at}: a graph", file.path)),
        );
    }
    none(&offences);
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut offences = Vec::new();
    for file in files().into_iter().filter(File::is_rust) {
        let documented = file.text.starts_with("//!") || file.text.starts_with("#![doc = include_str!");
        if !documented && !file.path.starts_with("macros/tests/ui/") {
            offences.push(format!("{}: does not begin with //!", file.path));
        }
    }
    none(&offences);
}

#[test]
fn unsafe_code_lives_in_three_rooms_and_says_why_it_is_sound() {
    let allowed = ["jit", "pool", "microkernels"];
    let mut offences = Vec::new();
    for file in files().into_iter().filter(File::is_rust) {
        let room = file.path.strip_prefix("runtime/src/").and_then(|inside| inside.split(['/', '.']).next());
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, line) in file.code() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            // A string that speaks of it is not it.
            let quoted = line.contains('"') && !line.contains("extern \"C\"");
            if quoted || !words.any(|word| word == "unsafe") {
                continue;
            }
            if !room.is_some_and(|room| allowed.contains(&room)) {
                offences.push(format!("{}:{number}: unsafe outside {}", file.path, allowed.join(", ")));
            }
            let before = lines[..number - 1].iter().rev().map(|line| line.trim_start());
            let mut comment = before.take_while(|line| line.starts_with("//"));
            if line.contains("unsafe {") && !comment.any(|line| line.starts_with("// SAFETY:")) {
                offences.push(format!("{}:{number}: an unsafe block without // SAFETY: above it", file.path));
            }
        }
    }
    none(&offences);
}

#[test]
fn no_number_depends_on_the_mathematics_of_the_system() {
    // Those of the crate `libm` give the same bits everywhere, and no program has to load the library of that name.
    let names = "ln log2 log10 ln_1p exp exp2 exp_m1 sin cos tan asin acos atan sinh cosh tanh cbrt";
    let calls = names.split(' ').map(|name| format!(".{name}()"));
    let paths = names.split(' ').flat_map(|name| [format!("f32::{name}"), format!("f64::{name}")]);
    let others = [".powf(", ".log(", ".atan2(", ".hypot("].map(String::from);
    let borrowed: Vec<String> = calls.chain(paths).chain(others).collect();
    let mut offences = Vec::new();
    for file in files().into_iter().filter(|file| file.is_rust() && file.path.starts_with("runtime/src/")) {
        let text = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = File { path: file.path.clone(), text: text.to_string() };
        for (line, text) in code.code() {
            let found = borrowed.iter().find(|name| text.contains(name.as_str()));
            offences.extend(found.map(|name| format!("{}:{line}: {name}", file.path)));
        }
    }
    none(&offences);
}

#[test]
fn what_keeps_sums_in_registers_is_written_in_loops() {
    // In a build without link-time optimization, a debug build among them, these stay calls, as does any function without
    // `#[inline]`. Around a call all registers go to the stack: convolutions took twice as long.
    let calls = ["from_fn(", ".map(", ".zip(", ".fold(", ".sum(", ".sum::", ".for_each(", ".into_iter("];
    let of = ["gemm/avx2.rs", "gemm/avx512.rs", "gemm/neon.rs", "gemm/portable.rs", "runs/tile.rs"];
    let of =
        of.iter().chain(&["runs/registers.rs", "winograd/squares.rs", "winograd/tiles.rs", "winograd/transforms.rs"]);
    let paths: Vec<String> = of.map(|name| format!("runtime/src/microkernels/{name}")).collect();
    let mut offences = Vec::new();
    let files: Vec<File> = files().into_iter().filter(|file| paths.contains(&file.path)).collect();
    assert_eq!(files.len(), paths.len(), "the microkernels are there");
    for file in files {
        for (number, line) in file.code() {
            let found = calls.iter().find(|call| line.contains(**call));
            offences.extend(found.map(|call| format!("{}:{number}: {call}..)", file.path)));
        }
    }
    none(&offences);
}

#[test]
fn no_file_is_a_drawer_for_odds_and_ends() {
    let drawers = ["utils", "util", "common", "helpers", "prelude", "misc"];
    let is_drawer = |file: &File| {
        let parts = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
        parts.into_iter().any(|part| drawers.contains(&part))
    };
    let drawers = files().into_iter().filter(|file| file.is_rust() && is_drawer(file));
    none(&drawers.map(|file| format!("{}: name the idea", file.path)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_do_later() {
    // Put together here, so that this file does not accuse itself.
    let marks = [
        concat!("to", "do!"),
        concat!("unimpl", "emented!"),
        concat!("db", "g!"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut offences = Vec::new();
    for file in files().into_iter().filter(File::is_rust) {
        for (index, line) in file.text.lines().enumerate() {
            offences.extend(
                marks
                    .iter()
                    .filter(|mark| line.contains(**mark))
                    .map(|mark| format!("{}:{}: {mark}", file.path, index + 1)),
            );
        }
    }
    none(&offences);
}

#[test]
fn no_text_knows_where_it_was_written() {
    let homes = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
    let mut offences = Vec::new();
    for file in files() {
        for (index, line) in file.text.lines().enumerate() {
            for home in homes {
                // The middle of a relative path or of a URL is no place on a machine.
                let absolute = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
                if line.match_indices(home).any(|(at, _)| absolute(at)) {
                    offences.push(format!("{}:{}: names {home}", file.path, index + 1));
                }
            }
        }
    }
    none(&offences);
}

#[test]
fn a_file_is_one_idea() {
    const LIMIT: usize = 500;
    let mut offences = Vec::new();
    for file in files().into_iter().filter(File::is_rust) {
        let lines = file.text.lines().count();
        let ours = file.path.starts_with("runtime/") || file.path.starts_with("macros/");
        if ours && lines > LIMIT {
            offences.push(format!("{}: {lines} lines, look for the second idea past {LIMIT}", file.path));
        }
    }
    none(&offences);
}
