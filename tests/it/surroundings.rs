//! Memory that runs out, output that nobody takes, paths that are no files, other processes: what a session is used among.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gradloom::ndarray::{Array1, Array2};
use gradloom::{
    CheckpointError, Dataset, DatasetError, Error, FitCause, Progress, RunError, Session, Sgd, Trainer, network,
};

use crate::checkpoint::{Small, everything, folder, small};
use crate::train::{classifier, samples};

network! {
    /// Little to compute, and much to give.
    Wide<x: [B, 1000] -> y: [B, 1000]> { Dense(8), relu, Dense(1000) }
    loss(t: [B, 1000]) = mse(y, t);

    /// A finite loss whatever the variance of a column.
    Spread<x: [B, 2048] -> y: [B, 2048]> { BatchNorm, step, Dense(2048), relu, Dense(2048) }
    loss(t: [B, 2048]) = mse(y, t);

    /// 34 MB of parameters.
    Large<x: [B, 2048] -> y: [B, 2048]> { Dense(2048), relu, Dense(2048) }
    loss(t: [B, 2048]) = mse(y, t);
}

/// Says to a test that it is the child of one, and what it is to do.
const CHILD: &str = "GRADLOOM_TEST_SURROUNDINGS";

/// Another process that runs a test of this file, which finds this under [`CHILD`].
fn child(test: &str, what: impl AsRef<Path>) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    as_child(&mut command, test, what);
    command
}

fn as_child(command: &mut Command, test: &str, what: impl AsRef<Path>) {
    command.args([&format!("surroundings::{test}"), "--exact", "--nocapture"]).env(CHILD, what.as_ref());
}

fn task() -> Option<String> {
    std::env::var(CHILD).ok()
}

#[track_caller]
fn succeeded(what: &str, output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
}

/// From here on the process gets so many megabytes more. Without the program for it, the test is passed over.
fn only(megabytes: u64) {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = text.split(' ').next().and_then(|pages| pages.parse().ok()).expect("it begins with a number");
    let limit = format!("--as={}:", pages * 4096 + megabytes * 1_000_000);
    let limited = Command::new("prlimit").args(["--pid", &process::id().to_string(), &limit]).status();
    if !limited.is_ok_and(|status| status.success()) {
        process::exit(0);
    }
}

fn large() -> Trainer<Large> {
    Large::trainer(Sgd::new(0.1)).max_batch(8)
}

#[test]
fn memory_that_runs_out_is_an_error() {
    const TASKS: [&str; 9] = [
        "dataset",
        "split",
        "predict",
        "refused step",
        "refused statistic",
        "best epoch",
        "predictor",
        "build",
        "clone",
    ];
    let test = "memory_that_runs_out_is_an_error";
    match task() {
        Some(what) => run_out(&what),
        None => TASKS.into_iter().for_each(|what| {
            // Memory that the allocator sets aside for each thread counts as well.
            succeeded(what, &child(test, what).env("MALLOC_ARENA_MAX", "1").output().expect("the binary runs"));
        }),
    }
}

fn run_out(what: &str) {
    let (x, y) = (Array2::<f32>::zeros((50_000, 100)), Array1::<u8>::zeros(50_000));
    let refused = RunError::NoMemory { what: "" };
    let is_refused = |error: &RunError| std::mem::discriminant(error) == std::mem::discriminant(&refused);
    match what {
        "dataset" => {
            let across = Array2::<f32>::zeros((100, 50_000)).reversed_axes();
            only(10);
            // What lies as it should is taken over.
            let taken = Dataset::new(x, y.clone()).expect("the rows agree");
            assert_eq!(Dataset::new(across, y).map(drop), Err(DatasetError::NoMemory { rows: 50_000 }));
            assert_eq!(taken.len(), 50_000);
        }
        "split" => {
            let data = Dataset::new(x, y).expect("the rows agree");
            let other = data.clone();
            only(10);
            assert_eq!(data.split(0.9).map(drop), Err(DatasetError::NoMemory { rows: 45_000 }));
            // The larger side stays where it is.
            let (first, second) = other.split(0.1).expect("there is room for the smaller side");
            assert_eq!((first.len(), second.len()), (45_000, 5_000));
        }
        "predict" => {
            let mut net = Wide::trainer(Sgd::new(0.1)).max_batch(64).build().expect("it builds");
            let x = Array2::<f32>::zeros((10_000, 1000));
            let mut predictor = net.predictor().expect("it builds");
            only(20);
            let error = net.predict(x.view()).map(drop).expect_err("40 MB are not there");
            assert!(matches!(&error, Error::Run(error) if is_refused(error)), "{error}");
            assert!(predictor.predict(x.view()).is_err_and(|error| is_refused(&error)));
            // No more than what comes out.
            only(45);
            assert!(net.predict(x.view()).is_ok());
        }
        "refused step" => {
            let mut net = large().build().expect("it builds");
            let mut x = Array2::<f32>::zeros((8, 2048));
            net.step(x.view(), x.view()).expect("the batch fits");
            x[[3, 3]] = f32::NAN;
            let mut faults = [60, 4_000].map(|megabytes| {
                only(megabytes);
                match net.step(x.view(), x.view()) {
                    Err(RunError::NotFinite { step: 2, fault, .. }) => fault,
                    other => panic!("{other:?}"),
                }
            });
            assert!(faults[0].is_none(), "nothing can be said without memory");
            assert_eq!(
                faults[1].take().map(|fault| fault.to_string()).as_deref(),
                Some("element [3, 3] of the input `x` is NaN")
            );
        }
        "refused statistic" => {
            let mut net = Spread::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
            let mut x = Array2::<f32>::zeros((8, 2048));
            net.step(x.view(), x.view()).expect("the batch fits");
            x[[3, 3]] = 1e20;
            let mut faults = [60, 4_000].map(|megabytes| {
                only(megabytes);
                match net.step(x.view(), Array2::zeros((8, 2048)).view()) {
                    Err(RunError::Update { step: 2, name, fault, .. }) if name == "batch_norm1.running_var" => fault,
                    other => panic!("{other:?}"),
                }
            });
            assert!(faults[0].is_none(), "nothing can be said without memory");
            let fault = faults[1].take().expect("there is memory").to_string();
            assert!(fault.contains("element [3] is NaN, the variance of 8 numbers, the largest 1e20"), "{fault}");
        }
        "build" => {
            only(30);
            let error = large().build().expect_err("34 MB are not there").to_string();
            let told = "4 parameters and parts of the optimizer's state, the largest `dense1.weight` [2048, 2048]: 34 MB in all";
            assert_eq!(error, format!("not enough memory for {told}"));
        }
        "clone" => {
            let predictor = Large::predictor().max_batch(2_000).build().expect("it builds");
            only(10);
            let error = predictor.try_clone().expect_err("16 MB are not there").to_string();
            assert!(error.starts_with("not enough memory for what is computed from 2000 rows, the largest"), "{error}");
            assert!(error.contains("a value of `") && error.contains("[2000, 2048], 16 MB"), "{error}");
            // What prints a panic, and where it came from, takes memory.
            std::panic::set_hook(Box::new(|_| {}));
            std::panic::catch_unwind(|| drop(predictor.clone())).expect_err("it can't be told otherwise");
            only(100);
            let mut clone = predictor.try_clone().expect("now there is enough");
            clone.predict(Array2::zeros((1, 2048)).view()).expect("the row fits");
        }
        "best epoch" => {
            let mut net = large().build().expect("it builds");
            let rows = || Array2::<f32>::zeros((8, 2048));
            let mut data = Dataset::new(rows(), rows()).expect("the rows agree");
            only(20);
            let fit = net.fit(&mut data).epochs(2).restore_best(true).interruptible(false).progress(Progress::Quiet);
            let error = fit.run().expect_err("34 MB are not there");
            assert!(matches!(&error.cause, FitCause::Session(Error::Run(error)) if is_refused(error)), "{error}");
            assert_eq!((error.history.epochs.len(), error.history.best), (1, None));
        }
        "predictor" => {
            let mut predictor = Large::predictor().max_batch(8).build().expect("it builds");
            let mut clone = predictor.clone();
            only(20);
            let bias = Array1::<f32>::ones(2048);
            assert!(clone.set_param("dense1.bias", bias.view()).is_err_and(|error| is_refused(&error)));
            drop(clone);
            predictor.set_param("dense1.bias", bias.view()).expect("nobody shares the parameters any more");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_refused_step_of_a_large_network_says_why_at_once() {
    let mut net = large().build().expect("it builds");
    let mut x = Array2::<f32>::zeros((8, 2048));
    x[[3, 3]] = f32::NAN;
    let start = Instant::now();
    let Err(RunError::NotFinite { fault: Some(fault), .. }) = net.step(x.view(), x.view()) else { panic!("it is NaN") };
    assert_eq!(fault.to_string(), "element [3, 3] of the input `x` is NaN");
    // It took 4 s where it takes 0.2 s now, on a machine with nothing else to do.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn output_that_nobody_takes_does_not_end_a_training() {
    let test = "output_that_nobody_takes_does_not_end_a_training";
    if task().is_some() {
        let (x, labels) = samples(40);
        let mut data = Dataset::new(x, labels).expect("the rows agree");
        let mut net = classifier(20);
        let history = net.fit(&mut data).epochs(5).progress(Progress::Lines).run().expect("the data fit");
        assert_eq!((history.epochs.len(), net.steps()), (5, 10));
        return;
    }
    let (reader, writer) = io::pipe().expect("a pipe can be had");
    drop(reader);
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    for (what, output) in [("a full disk", Stdio::from(full)), ("nobody at the other end", Stdio::from(writer))] {
        succeeded(what, &child(test, "").stderr(output).stdout(Stdio::piped()).output().expect("the binary runs"));
    }
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[track_caller]
fn refused(net: &Session<Small>, path: &Path) {
    match net.save(path) {
        Err(CheckpointError::Io { action: "write", message, .. }) => assert_eq!(message, "it is no regular file"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_regular_file_is_not_replaced_by_one() {
    let folder = folder("special");
    let net = small();
    let [pipe, socket, link] = ["pipe", "socket", "link"].map(|name| folder.join(name));
    let made = Command::new("mkfifo").arg(&pipe).status();
    let _listener = UnixListener::bind(&socket);
    symlink(&pipe, &link).expect("the folder can be written");
    let before = names(&folder);
    if made.is_ok_and(|status| status.success()) {
        refused(&net, &pipe);
        refused(&net, &link);
        assert!(fs::symlink_metadata(&pipe).expect("it is there").file_type().is_fifo() && link.is_symlink());
    }
    if socket.exists() {
        refused(&net, &socket);
        assert!(fs::symlink_metadata(&socket).expect("it is there").file_type().is_socket());
    }
    assert_eq!(names(&folder), before);
}

#[test]
fn standard_output_is_not_replaced_by_a_file() {
    let test = "standard_output_is_not_replaced_by_a_file";
    if let Some(link) = task() {
        refused(&small(), Path::new(&link));
        return;
    }
    let folder = folder("output");
    // As `/dev/stdout` is, which a test had better leave alone.
    let link = folder.join("stdout");
    symlink("/proc/self/fd/1", &link).expect("the folder can be written");
    succeeded("a pipe", &child(test, &link).stdout(Stdio::piped()).output().expect("the binary runs"));
    assert!(link.is_symlink() && names(&folder) == ["stdout"]);
}

#[test]
fn a_file_that_standard_output_goes_into_is_not_replaced() {
    let test = "a_file_that_standard_output_goes_into_is_not_replaced";
    if let Some(link) = task() {
        for path in [&link, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            match small().save(path) {
                Err(CheckpointError::Io { action: "write", message, .. }) => {
                    assert_eq!(
                        message,
                        "it is a file that a process has open and would go on with; name the file itself"
                    );
                }
                other => panic!("{path}: {other:?}"),
            }
        }
        println!("saved nothing");
        return;
    }
    let folder = folder("output_file");
    let (link, path) = (folder.join("link"), folder.join("output"));
    symlink("/dev/stdout", &link).expect("the folder can be written");
    let output = File::create(&path).expect("the folder can be written");
    succeeded("a file", &child(test, &link).stdout(output).output().expect("the binary runs"));
    assert!(fs::read_to_string(&path).expect("it is text").contains("saved nothing\n"));
    // A folder that a process has open is one like any other.
    let open = File::open(&folder).expect("it is there");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&open);
    small().save(format!("/proc/self/fd/{descriptor}/net")).expect("the folder can be written");
    assert_eq!(names(&folder), ["link", "net", "output"]);
}

#[test]
fn a_link_to_what_is_not_there_yet_is_followed() {
    let folder = folder("dangling");
    let (file, link, far) = (folder.join("net.safetensors"), folder.join("latest"), folder.join("far"));
    symlink("net.safetensors", &link).expect("the folder can be written");
    symlink(&link, &far).expect("the folder can be written");
    let net = small();
    net.save(&far).expect("the folder can be written");
    assert!(far.is_symlink() && link.is_symlink() && !file.is_symlink());
    small().load(&file).expect("the checkpoint is of this network");
    symlink("none/net.safetensors", folder.join("lost")).expect("the folder can be written");
    let error = net.save(folder.join("lost")).expect_err("there is no such folder");
    assert!(matches!(error, CheckpointError::Io { kind: io::ErrorKind::NotFound, .. }), "{error}");
    symlink("round", folder.join("round")).expect("the folder can be written");
    assert!(net.save(folder.join("round")).is_err());
    assert_eq!(names(&folder), ["far", "latest", "lost", "net.safetensors", "round"]);
}

#[test]
fn names_of_any_length_are_saved_to() {
    let folder = folder("long");
    for len in [1, 100, 101, 242, 243, 255] {
        let path = folder.join("n".repeat(len));
        small().save(&path).unwrap_or_else(|error| panic!("{len}: {error}"));
        small().load(&path).expect("the checkpoint is of this network");
    }
    assert!(small().save(folder.join("n".repeat(256))).is_err());
    assert_eq!(names(&folder).len(), 6);
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_owner() {
    let folder = folder("mode");
    let path = folder.join("net.safetensors");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    File::create(folder.join("other")).expect("the folder can be written");
    small().save(&path).expect("the folder can be written");
    assert_eq!(mode(&path), mode(&folder.join("other")), "a new file is as any other");
    for wanted in [0o600, 0o640, 0o666, 0o444] {
        fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).expect("the file is ours");
        small().save(&path).expect("the folder can be written");
        assert_eq!(mode(&path), wanted);
    }
    // What lets a program run as another is not for a file of numbers.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6754)).expect("the file is ours");
    small().save(&path).expect("the folder can be written");
    assert_eq!(mode(&path), 0o754);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("the file is ours");
    // Only the superuser gives files away.
    if std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_ok() {
        small().save(&path).expect("the folder can be written");
        let about = fs::metadata(&path).expect("it is there");
        assert_eq!((about.uid(), about.gid(), mode(&path)), (12_345, 54_321, 0o444));
    }
}

#[test]
fn a_file_that_cannot_stay_in_its_group_is_for_no_other() {
    let test = "a_file_that_cannot_stay_in_its_group_is_for_no_other";
    if let Some(path) = task() {
        small().save(path).expect("the folder can be written");
        return;
    }
    let folder = folder("group");
    let nobody = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), Some(54_321));
    for (old, new) in [(0o660, 0o600), (0o644, 0o644), (0o606, 0o600)] {
        let path = folder.join(format!("{old:o}"));
        small().save(&path).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(old)).expect("the file is ours");
        // Only the superuser gives files away, and becomes somebody who is not in the group.
        if nobody(&folder).and_then(|()| nobody(&path)).is_err() {
            return;
        }
        let output = child(test, &path).uid(65_534).gid(65_534).output();
        // Somebody else may not reach the binary, nor the folder.
        if let Ok(output) = output
            && String::from_utf8_lossy(&output.stdout).contains("running 1 test")
            && !String::from_utf8_lossy(&output.stderr).contains("PermissionDenied")
        {
            succeeded("another group", &output);
            let about = fs::metadata(&path).expect("it is there");
            assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (65_534, 65_534, new));
        }
    }
}

#[test]
fn what_a_killed_save_left_is_removed_and_what_is_in_use_is_not() {
    let folder = folder("left");
    let path = folder.join("net.safetensors");
    let own = |digit: &str| format!(".net.safetensors.{}.tmp", digit.repeat(16));
    let [left, used, directory, pipe] = ["1", "2", "3", "4"].map(|digit| folder.join(own(digit)));
    fs::write(&left, "half of a checkpoint").expect("the folder can be written");
    fs::write(&used, "half of a checkpoint").expect("the folder can be written");
    fs::create_dir(&directory).expect("the folder can be written");
    let _ = Command::new("mkfifo").arg(&pipe).status();
    let others = [".other.safetensors.1111111111111111.tmp", ".net.safetensors.1-5.tmp", ".net.safetensors.tmp"];
    others.iter().for_each(|name| fs::write(folder.join(name), "").expect("the folder can be written"));
    let lock = File::open(&used).expect("it was written");
    lock.try_lock().expect("nobody else knows it");
    small().save(&path).expect("the folder can be written");
    assert!(!left.exists() && used.exists() && directory.exists());
    assert!(others.iter().all(|name| folder.join(name).exists()), "they are somebody else's");
    drop(lock);
    small().save(&path).expect("the folder can be written");
    assert!(!used.exists(), "whoever used it is gone");
}

#[test]
fn a_folder_that_may_not_be_read_can_be_saved_to() {
    let test = "a_folder_that_may_not_be_read_can_be_saved_to";
    if let Some(path) = task() {
        small().save(path).expect("the folder can be written");
        return;
    }
    let folder = folder("unreadable");
    let path = folder.join("net.safetensors");
    let mut command = child(test, &path);
    if fs::metadata(&folder).expect("it is there").uid() == 0 {
        // The superuser reads everything, so somebody else has to do it.
        command.uid(65_534).gid(65_534);
        std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).expect("the folder is ours");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).expect("the folder is ours");
    let output = command.output();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
    // Somebody else may not reach the binary, nor the folder.
    if let Ok(output) = output
        && String::from_utf8_lossy(&output.stdout).contains("running 1 test")
        && !String::from_utf8_lossy(&output.stderr).contains("PermissionDenied")
    {
        succeeded("a folder that may be written alone", &output);
        small().load(&path).expect("the checkpoint is of this network");
    }
}

#[test]
fn processes_with_the_same_id_save_to_the_same_path() {
    let test = "processes_with_the_same_id_save_to_the_same_path";
    if let Some(path) = task() {
        let net = small();
        (0..30).for_each(|_| net.save(&path).expect("the folder can be written"));
        println!("saved as {}", process::id());
        return;
    }
    let folder = folder("ids");
    let path = folder.join("net.safetensors");
    let start = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork"]).arg(std::env::current_exe().expect("a test knows its binary"));
        as_child(&mut command, test, &path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let (Ok(one), Ok(two)) = (start(), start()) else { return };
    for child in [one, two] {
        let output = child.wait_with_output().expect("the child is ours");
        // Mostly only the superuser may give ids anew.
        if !String::from_utf8_lossy(&output.stderr).contains("unshare:") {
            succeeded("a process of its own", &output);
            assert!(String::from_utf8_lossy(&output.stdout).contains("saved as 1\n"));
            small().load(&path).expect("the checkpoint is of this network");
        }
    }
    assert!(names(&folder).iter().all(|name| name == "net.safetensors"), "{:?}", names(&folder));
}

#[test]
fn a_checkpoint_can_be_loaded_while_others_save_to_it() {
    let path = folder("race").join("net.safetensors");
    small().save(&path).expect("the folder can be written");
    let (done, start) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut net = small();
                // Files of two lengths.
                for count in [1, u64::MAX].into_iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                    net.set_forward_count(count);
                    net.save(&path).expect("the folder can be written");
                }
            });
        }
        let mut net = small();
        let loaded =
            std::iter::repeat_with(|| net.load(&path)).take_while(|_| start.elapsed() < Duration::from_millis(700));
        let wrong = loaded.filter_map(Result::err).next();
        done.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
        assert_eq!(everything(&net), everything(&small()));
    });
}
