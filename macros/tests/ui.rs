//! Mistakes as rustc shows them: at the token, one error each, and nothing besides.
//!
//! Every file of `ui/` is handed to rustc with the library that this test was built with, and what it says is compared with
//! the file beside it. `UPDATE_UI=1` writes those files anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[test]
fn mistakes_are_shown_at_their_tokens() {
    // As an editor in the folder of the macro names them.
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("tests/ui")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    assert!(files.len() >= 12, "the files are found");
    let library = library();
    let found: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = files.iter().map(|file| scope.spawn(|| said(folder, file, &library))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for (file, found) in files.iter().zip(found) {
        let expected = file.with_extension("stderr");
        if env::var_os("UPDATE_UI").is_some() {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "rustc says otherwise of {} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// What rustc says of a file, without the counts at its end.
fn said(folder: &Path, file: &Path, library: &Path) -> String {
    let name = Path::new("tests/ui").join(file.file_name().unwrap());
    let metadata = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file.file_stem().unwrap()).with_extension("rmeta");
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .current_dir(folder)
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--color=never", "--diagnostic-width=140"])
        .arg("-o")
        .arg(metadata)
        .arg("--extern")
        .arg(format!("gradloom={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg(name)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} is without mistakes", file.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let counted = ["error: aborting due to", "For more information about", "Some errors have detailed explanations"];
    let lines = text.lines().filter(|line| !counted.iter().any(|start| line.starts_with(start)));
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
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
