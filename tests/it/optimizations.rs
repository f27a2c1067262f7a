//! Every optimizer, some with decay, clipping and groups, under every schedule: what random networks and whole trainings are drawn from.

use std::fs;

use gradloom::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, RmsProp, Schedule, Sgd};
use gradloom_runtime::optim::TrainingConfig;

/// Each with a name.
pub fn all() -> Vec<(&'static str, TrainingConfig)> {
    vec![
        ("Sgd", Sgd::new(Schedule::step(0.05, 2, 0.9)).into()),
        ("momentum", Sgd::new(Schedule::exponential(0.02, 0.99)).momentum(0.9).l2(0.01).into()),
        ("Nesterov", Sgd::new(Schedule::polynomial(0.02, 100, 2.0).to(0.01)).momentum(0.9).nesterov().into()),
        ("AdaGrad", AdaGrad::new(Schedule::cosine(0.05, 100).to(0.02)).into()),
        ("RmsProp", RmsProp::new(Schedule::one_cycle(0.01, 100)).into()),
        ("RmsProp centered", RmsProp::new(0.01).centered().momentum(0.5).into()),
        ("AdaDelta", AdaDelta::new(1.0).into()),
        ("Adam", Adam::new(0.01).into()),
        ("AdamW", AdamW::new(Schedule::constant(0.01).warm_up(10)).into()),
        ("Lion", Lion::new(0.003).weight_decay(0.1).into()),
        ("clipped", TrainingConfig { clip_norm: Some(0.5), clip_value: Some(0.2), ..Adam::new(0.01).into() }),
        (
            "groups",
            TrainingConfig {
                groups: vec![Group::new("*.weight").weight_decay(0.1), Group::new("dense1.*").rate_factor(0.5)],
                ..Sgd::new(0.05).momentum(0.9).into()
            },
        ),
    ]
}

#[test]
fn no_optimizer_is_left_out() {
    let folder = crate::project().join("runtime/src/optim");
    let mut offered = Vec::new();
    for entry in fs::read_dir(folder).expect("the room exists") {
        let text = fs::read_to_string(entry.expect("it can be read").path()).expect("it is a text");
        let names = text.lines().filter_map(|line| line.strip_prefix("impl Optimizer for ")?.strip_suffix(" {"));
        offered.extend(names.map(str::to_string));
    }
    let mut known: Vec<String> = all().iter().map(|(_, how)| how.optimizer.name().to_string()).collect();
    known.sort_unstable();
    known.dedup();
    offered.sort_unstable();
    assert_eq!(known, offered);
}

#[test]
fn no_schedule_is_left_out() {
    let text = fs::read_to_string(crate::project().join("runtime/src/schedule.rs"));
    let text = text.expect("the room exists");
    let constructors = text.lines().filter(|line| line.ends_with("-> Schedule {") && !line.contains("(self"));
    let offered: Vec<&str> =
        constructors.filter_map(|line| Some(line.trim().strip_prefix("pub fn ")?.split_once('(')?.0)).collect();
    assert_eq!(offered, ["constant", "step", "exponential", "polynomial", "cosine", "one_cycle"]);
    let own = fs::read_to_string(crate::project().join("tests/it/optimizations.rs"));
    let own = own.expect("this file exists");
    let missing: Vec<&str> = offered.into_iter().filter(|name| !own.contains(&format!("Schedule::{name}("))).collect();
    assert!(missing.is_empty() && own.contains(".warm_up("), "{missing:?}");
}
