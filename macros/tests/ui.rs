//! Mistakes as rustc shows them: at the token, one error each, and nothing besides.
//!
//! Every file of `ui/` is handed to rustc with the library that this test was built with, and what it says is compared with
//! the file beside it. `UPDATE_UI=1` writes those files anew. Of the files of `anywhere/` there is nothing to say, whatever
//! surrounds the networks in them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

#[test]
fn mistakes_are_shown_at_their_tokens() {
    let files = files("ui");
    assert!(files.len() >= 12, "the files are found");
    let library = library();
    let found: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = files.iter().map(|file| scope.spawn(|| said(file, &library))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for (file, found) in files.iter().zip(found) {
        let expected = root().join(file).with_extension("stderr");
        if env::var_os("UPDATE_UI").is_some() {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "rustc says otherwise of {} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// Networks without a prelude, under another name of the crate, beside any names, and held to all lints.
#[test]
fn networks_stand_anywhere() {
    let (files, library) = (files("anywhere"), library());
    assert!(files.len() >= 4, "the files are found");
    let rustc = rustc();
    let mut compilers = vec![("2021", &rustc), ("2024", &rustc)];
    let clippy = PathBuf::from("clippy-driver");
    // A component of its own; where it is missing, rustc alone has its say.
    if Command::new(&clippy).arg("--version").output().is_ok_and(|output| output.status.success()) {
        compilers.push(("2024", &clippy));
    }
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let cases = compilers.iter().flat_map(|case| files.iter().map(move |file| (case, file)));
        let all: Vec<_> = cases
            .map(|(&(edition, compiler), file)| {
                let library = &library;
                scope.spawn(move || {
                    let output = compile(compiler, edition, file, library);
                    let text = String::from_utf8_lossy(&output.stderr);
                    let is_silent = output.status.success() && text.is_empty();
                    (!is_silent).then(|| format!("{} by {} in {edition}:\n{text}", file.display(), compiler.display()))
                })
            })
            .collect();
        all.into_iter().filter_map(|one| one.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "there is something to say of networks that are right:\n{}", wrong.join("\n"));
}

/// The programs of a folder beside this file.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests").join(folder)).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|file| Path::new("tests").join(folder).join(file.unwrap().file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// The folder of the macro, in which an editor would name the files.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn rustc() -> PathBuf {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).into()
}

/// What rustc says of a file, without the counts at its end.
fn said(file: &Path, library: &Path) -> String {
    let output = compile(&rustc(), "2024", file, library);
    assert!(!output.stderr.is_empty(), "{} is without mistakes", file.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let counted = ["error: aborting due to", "For more information about", "Some errors have detailed explanations"];
    let lines = text.lines().filter(|line| !counted.iter().any(|start| line.starts_with(start)));
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

/// Checks a program, which knows the library as `gradloom`, or as `loom` where that is the point.
fn compile(compiler: &Path, edition: &str, file: &Path, library: &Path) -> Output {
    let stem = file.file_stem().unwrap().to_string_lossy();
    let metadata = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{stem}-{edition}-{}.rmeta", compiler.file_stem().unwrap().display()));
    let name = if stem == "renamed" { "loom" } else { "gradloom" };
    Command::new(compiler)
        .current_dir(root())
        .args(["--crate-type=bin", "--emit=metadata", "--color=never", "--diagnostic-width=140"])
        .arg(format!("--edition={edition}"))
        .arg("-o")
        .arg(metadata)
        .arg("--extern")
        .arg(format!("{name}={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg(file)
        .output()
        .unwrap()
}

/// The library that was built last, which is the one that cargo has just found to be up to date.
fn library() -> PathBuf {
    let folder = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let libraries = files.filter(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libgradloom-") && name.ends_with(".rlib")
    });
    libraries.max_by_key(|file| fs::metadata(file).unwrap().modified().unwrap()).expect("the library was built")
}
