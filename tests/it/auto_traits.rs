//! What may go from thread to thread, and through a panic: the auto traits of every public type.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use gradloom::*;
use insta::assert_snapshot;
use ndarray::{Array1, Array2};

network! {
    Net<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss(t: [u8; B]) = mean(square(y)) + mean(t == 1);
}

/// What holds unless an inherent constant of the same name says otherwise, which comes first.
trait Lacks {
    const HAS: bool = false;
}

/// For each auto trait, a type that knows whether its argument has it.
macro_rules! probes {
    ($($probe:ident: $auto:ident;)*) => {$(
        struct $probe<T>(PhantomData<T>);

        impl<T: $auto> $probe<T> {
            const HAS: bool = true;
        }

        impl<T> Lacks for $probe<T> {}
    )*};
}

probes! {
    IsSend: Send;
    IsSync: Sync;
    IsUnpin: Unpin;
    IsUnwindSafe: UnwindSafe;
    IsRefUnwindSafe: RefUnwindSafe;
}

/// The name of each type, and which of the auto traits it has.
macro_rules! table {
    ($($name:ident $(<$($arg:tt),*>)?,)*) => {
        [$({
            type Written = $name $(<$($arg),*>)?;
            let traits = [
                ("Send", IsSend::<Written>::HAS),
                ("Sync", IsSync::<Written>::HAS),
                ("Unpin", IsUnpin::<Written>::HAS),
                ("UnwindSafe", IsUnwindSafe::<Written>::HAS),
                ("RefUnwindSafe", IsRefUnwindSafe::<Written>::HAS),
            ];
            (stringify!($name), traits)
        }),*]
    };
}

/// What a dataset holds of inputs and of targets.
type Numbers = Array2<f32>;
type Ids = Array1<u8>;

/// The public types that are no traits, with arguments where they take some.
fn table() -> Vec<(&'static str, [(&'static str, bool); 5])> {
    let table = table![
        Stage, Batches<Numbers, Ids>, ClassWeights, Dataset<Numbers, Ids>, DatasetError, Folds<Numbers, Ids>, Stream<Numbers, Ids>, StreamError, StreamOf<Net>, OwnedOutputsOf<Net>, BuildError, RunError, Fault, Given, Operand, Pass, DatasetOf<Net>,
        Ending, Epoch<Net>, Fit<'static, Net>, FitCause, FitError<Net>, History<Net>, Progress, Gradcheck, ParamCheck,
        Peak, AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, RmsProp, Sgd, CheckpointError, Schedule, Diagnostics, Drift,
        Error, Gradients<'static>, KernelProfile, LayerDiagnostics, LayerProfile, NameMap, Predictor<Net>,
        PredictorBuilder<Net>, Profile, Session<Net>, Trainer<Net>, Work, Net, MetricsOf<Net>, Generator<Net>, Sequence<Net>, Sampling,
        SizesOf<Net>, FindRate<'static, Net>, RateCurve, MonteCarlo<Net>, Sweep<(f64,)>, Swept<(f64,), Net>, Trial<(f64,), Net>,
        TrialError<Net>, Summary, SummaryRow, Flops,
        Categories, CellPlace, Columns, Encoder, Fill, Table, TableError, TableReader,
    ];
    table.to_vec()
}

/// Traits, which have no auto traits of their own; what `network!` expands to.
const TRAITS: [&str; 7] = ["ClassId", "Element", "Metrics", "Network", "Optimizer", "Rows", "Supervised"];
const EXPANDED: [&str; 1] = ["Net"];

/// The names in a list of a `use`, or of an item, that begin with a capital.
fn public() -> BTreeSet<String> {
    let text = std::fs::read_to_string(crate::project().join("src/lib.rs")).expect("the facade is there");
    // What is hidden is for the expansion alone.
    let (text, _) = text.split_once("pub mod __private").expect("it comes last");
    let mut names = BTreeSet::new();
    for item in text.split("\npub ").skip(1) {
        let end = if item.starts_with("use ") { &[';'][..] } else { &[';', '{'] };
        let item = item.split(end).next().unwrap_or(item);
        // Of a path the last name counts.
        let words = item.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let last = words.map(|word| word.rsplit("::").next().unwrap_or(word));
        names.extend(last.filter(|name| name.starts_with(char::is_uppercase)).map(str::to_string));
    }
    names
}

#[test]
fn every_public_type_states_its_auto_traits() {
    let table = table();
    let stated: BTreeSet<String> = table.iter().map(|(name, _)| name.to_string()).collect();
    let expected: BTreeSet<String> =
        public().into_iter().chain(EXPANDED.map(str::to_string)).filter(|name| !TRAITS.contains(&&**name)).collect();
    assert!(TRAITS.iter().all(|name| public().contains(*name)), "a trait is gone");
    assert!(expected.len() > 40, "the facade is read: {expected:?}");
    let missing: Vec<&String> = expected.symmetric_difference(&stated).collect();
    assert!(missing.is_empty(), "state in `table` what may be done with {missing:?}");
}

#[test]
fn whatever_is_public_may_go_to_another_thread() {
    let lines = table().into_iter().map(|(name, traits)| {
        let lacks: Vec<&str> = traits.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect();
        (name, lacks.join(", "))
    });
    let all = lines.clone().filter(|(_, lacks)| lacks.is_empty()).map(|(name, _)| name).collect::<Vec<_>>();
    let others = lines.filter(|(_, lacks)| !lacks.is_empty()).map(|(name, lacks)| format!("{name} lacks {lacks}"));
    assert_snapshot!(format!("{} have all\n{}", all.len(), others.collect::<Vec<_>>().join("\n")), @"
    71 have all
    Batches lacks Sync, UnwindSafe, RefUnwindSafe
    Fit lacks Send, Sync, UnwindSafe, RefUnwindSafe
    Session lacks UnwindSafe, RefUnwindSafe
    FindRate lacks UnwindSafe, RefUnwindSafe
    ");
}
