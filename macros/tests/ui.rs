//! Mistakes as rustc shows them: at the token, one error each, and nothing besides.
//!
//! Every file of `ui/` is handed to rustc with the library that this test was built with, and what it says is compared with
//! the file beside it. `UPDATE_UI=1` writes those files anew. Of the files of `anywhere/` there is nothing to say, whatever
//! surrounds the networks in them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

// What the programs use.
use gradloom as _;

/// The file of the library that this test is linked with: no other one in the folder, however new, is of this build.
const LIBRARY: &str = gradloom_linked::linked!(gradloom);

#[test]
fn mistakes_are_shown_at_their_tokens() {
    let files = files("ui", "rs");
    assert!(files.len() >= 12, "the files are found");
    let found = each(&files, |file| said(file));
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

/// A text whose program is gone would never be compared.
#[test]
fn every_text_has_its_program() {
    let programs: Vec<PathBuf> = files("ui", "rs").iter().map(|file| file.with_extension("stderr")).collect();
    assert_eq!(files("ui", "stderr"), programs);
}

/// Networks without a prelude, under another name of the crate, beside any names, and held to all lints.
#[test]
fn networks_stand_anywhere() {
    let files = files("anywhere", "rs");
    assert!(files.len() >= 4, "the files are found");
    let rustc = rustc();
    let mut compilers = vec![("2021", &rustc), ("2024", &rustc)];
    let clippy = PathBuf::from("clippy-driver");
    // A component of its own; where it is missing, rustc alone has its say.
    if Command::new(&clippy).arg("--version").output().is_ok_and(|output| output.status.success()) {
        compilers.push(("2024", &clippy));
    }
    let cases: Vec<_> = compilers.iter().flat_map(|case| files.iter().map(move |file| (case, file))).collect();
    let said = each(&cases, |&(&(edition, compiler), file)| {
        let output = compile(compiler, edition, file);
        let text = String::from_utf8_lossy(&output.stderr);
        let is_silent = output.status.success() && text.is_empty();
        (!is_silent).then(|| format!("{} by {} in {edition}:\n{text}", file.display(), compiler.display()))
    });
    let wrong: Vec<String> = said.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "there is something to say of networks that are right:\n{}", wrong.join("\n"));
}

/// Blocks and functions of another crate, which is compiled without them knowing of each other.
#[test]
fn blocks_of_another_crate_are_found_by_their_path() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (library, program) = (folder.join("libshared_blocks.rlib"), folder.join("networks"));
    let built = |file: &str, options: &[&str], to: &Path| {
        let mut rustc = Command::new(rustc());
        rustc.current_dir(root().join("tests/across")).args(["--edition=2024", "--deny=warnings", file]).args(options);
        let output = with_library(&mut rustc, "gradloom").arg("-o").arg(to).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    built("shared_blocks.rs", &["--crate-type=rlib"], &library);
    built("networks.rs", &[&format!("--extern=shared_blocks={}", library.display())], &program);
    let output = Command::new(program).output().unwrap();
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @"
    network Chosen(width = 3)<x: f32[B,4] -> y: f32[B,2]>
      act swish = |x, beta = 1| x * sigmoid(beta * x)
      dense1                   Dense(3)      f32[B,3]  15 parameters
      res1.residual1.dense1    Dense(3)      f32[B,3]  12 parameters
      res1.residual1.relu1     relu          f32[B,3]
      res1.residual1.dense2    Dense(3)      f32[B,3]  12 parameters
      res1.residual1.dropout1  Dropout(0.1)  f32[B,3]
      res1.residual1           residual      f32[B,3]
      swish1                   swish         f32[B,3]   1 parameter
      dense2                   Dense(2)      f32[B,2]   8 parameters
      48 parameters
    shared_blocks.rs:7:40: `residual` adds its body to what comes in: the body gives [B, 7], but [B, 8] comes in; a `skip { .. }` after it can bring that to [B, 7]
    x [B,4] -> Dense(8) [B,8] -> Dense(c) [B,7]
           in `blocks::Res(7)` at networks.rs:11:47
    ");
}

/// What becomes of each case, in order, of as many at a time as the machine has cores: each is a compiler of its own.
fn each<T: Sync, R: Send>(cases: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let taken = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&at| at < cases.len()));
        taken.map(|at| (at, work(&cases[at]))).collect::<Vec<(usize, R)>>()
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    done.sort_by_key(|&(at, _)| at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The files of a folder beside this one with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests").join(folder)).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|file| Path::new("tests").join(folder).join(file.unwrap().file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
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
fn said(file: &Path) -> String {
    let output = compile(&rustc(), "2024", file);
    assert!(!output.stderr.is_empty(), "{} is without mistakes", file.display());
    let text = String::from_utf8(output.stderr).unwrap();
    let counted = ["error: aborting due to", "For more information about", "Some errors have detailed explanations"];
    let lines = text.lines().filter(|line| !counted.iter().any(|start| line.starts_with(start)));
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

/// Checks a program, which knows the library as `gradloom`, or as `loom` where that is the point.
fn compile(compiler: &Path, edition: &str, file: &Path) -> Output {
    let stem = file.file_stem().unwrap().to_string_lossy();
    let metadata = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{stem}-{edition}-{}.rmeta", compiler.file_stem().unwrap().display()));
    let name = if stem == "renamed" { "loom" } else { "gradloom" };
    let mut command = Command::new(compiler);
    command
        .current_dir(root())
        .args(["--crate-type=bin", "--emit=metadata", "--color=never", "--diagnostic-width=140"])
        .arg(format!("--edition={edition}"))
        .arg("-o")
        .arg(metadata);
    with_library(&mut command, name).arg(file).output().unwrap()
}

/// With the library under this name.
fn with_library<'c>(rustc: &'c mut Command, name: &str) -> &'c mut Command {
    let folder = Path::new(LIBRARY).parent().unwrap().display();
    rustc.arg("--extern").arg(format!("{name}={LIBRARY}")).arg("-L").arg(format!("dependency={folder}"))
}
