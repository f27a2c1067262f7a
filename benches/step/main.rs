//! How long a training step takes, on the workloads that other frameworks are measured on. `../README.md` says more.
//!
//! ```text
//! cargo bench -p gradloom-benches                                   # all workloads, briefly, as a table
//! cargo bench -p gradloom-benches -- --workload mlp --seconds 3     # one of them, as a line of JSON
//! cargo bench -p gradloom-benches -- --mode scaling                 # networks of growing size, as a table
//! cargo bench -p gradloom-benches -- --mode dense                   # dense networks over a grid of sizes, as a table
//! cargo bench -p gradloom-benches -- --mode stream                  # one element of a sequence after the other, as a table
//! cargo bench -p gradloom-benches -- --mode bytes                   # what a step moves, fused and not, as a table
//! cargo bench -p gradloom-benches -- --mode profile                 # where the time of a step goes, as a table
//! cargo bench -p gradloom-benches -- --mode layers                  # how fast each product of the convolutional networks is
//! cargo bench -p gradloom-benches -- --mode attention               # how fast attention is, forward and back
//! cargo bench -p gradloom-benches -- --mode generate                # one token of a text after the other, as a table
//! cargo bench -p gradloom-benches -- --mode guard                   # whether kernels run as well as they could
//! cargo bench -p gradloom-benches -- --mode spills                  # whether microkernels keep their sums in registers
//! ```

mod arguments;
mod attention;
mod bare;
mod bytes;
mod dense;
mod generate;
mod guard;
mod layers;
mod peak;
mod profile;
mod record;
mod scaling;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod spills;
mod stream;
mod timing;
mod workloads;

use std::process::ExitCode;
use std::time::Instant;

use arguments::{Arguments, Mode, USAGE};
use record::Record;
use workloads::Workload;

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = match (arguments.mode, arguments.workload) {
        (Mode::Peak, _) => peak::measure(&arguments),
        (Mode::Scaling, _) => scaling::measure(&arguments),
        (Mode::Dense, _) => dense::measure(&arguments),
        (Mode::Stream, _) => stream::measure(&arguments),
        (Mode::Bytes, _) => bytes::count(),
        (Mode::Profile, _) => profile::measure(&arguments),
        (Mode::Layers, _) => layers::measure(),
        (Mode::Attention, _) => attention::measure(),
        (Mode::Generate, _) => generate::measure(),
        (Mode::Guard, _) => guard::measure(&arguments),
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        (Mode::Spills, _) => spills::count(),
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        (Mode::Spills, _) => Err("the machine code is read on Linux on x86-64 alone".into()),
        (Mode::Default, Some(workload)) => one(workload, &arguments, start),
        (Mode::Default, None) => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measures one workload and writes its line; in turns, a line for every one that comes in.
fn one(workload: Workload, arguments: &Arguments, start: Instant) -> Result<()> {
    workload.measure(arguments, start, &mut |record| {
        match &arguments.out {
            None => println!("{}", record.json()),
            Some(path) => {
                record.append(path)?;
                println!("{}", record.summary());
            }
        }
        Ok(())
    })
}

/// Measures every workload for a moment.
fn all(arguments: &Arguments) -> Result<()> {
    println!("workload  batch   step, us       min   predict 1       batch   compile, ms   loss");
    for workload in Workload::ALL {
        workload.measure(arguments, Instant::now(), &mut |record| {
            if let Some(path) = &arguments.out {
                record.append(path)?;
            }
            println!("{}", row(record));
            Ok(())
        })?;
    }
    Ok(())
}

fn row(record: &Record) -> String {
    let (step, one, batch) = (&record.step, &record.infer_one, &record.infer_batch);
    format!(
        "{:<8} {:>6} {:>10.2} {:>9.2} {:>11.2} {:>11.2} {:>13.1}   {:.3} -> {:.3}",
        record.workload.name(),
        record.batch,
        step.median(),
        step.min(),
        one.median(),
        batch.median(),
        1e3 * record.build_s,
        record.loss_first,
        record.loss_last,
    )
}
