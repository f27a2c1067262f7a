//! A network printed: its table, and that what it counts is what is computed.

use gradloom::{Adam, Network, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::flops::by_layer;
use insta::assert_snapshot;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    block Pre(c) { residual { LayerNorm, Dense(c), swish, Dense(c) } }
    /// Something of everything.
    Table<image: [B, 8, 8] -> logits: [B, 10]> {
        flatten, Dense(1024, bias = false), BatchNorm, relu, repeat(2) { Pre(1024) }, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-4 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);
}

#[test]
fn a_session_prints_as_a_table_of_layers_shapes_parameters_and_costs() {
    let trainer = Table::trainer(Adam::new(1e-3)).max_batch(4);
    let text = trainer.to_string();
    assert_snapshot!(text);
    assert_eq!(trainer.build().expect("it builds").to_string(), text);
}

#[test]
fn what_the_layers_cost_is_all_that_a_row_costs() {
    let text = Table::trainer(Adam::new(1e-3)).to_string();
    let header = text.lines().nth(1).expect("the columns have names");
    let columns = ["FLOPs forward", "FLOPs step"].map(|name| {
        let start = header.find(name).expect("the column exists");
        start..start + name.len()
    });
    let cell = |line: &str, column: usize| {
        let padded = format!("{line:0$}", header.len());
        padded[columns[column].clone()].trim().replace(',', "").parse::<u64>().unwrap_or(0)
    };
    let lines = text.lines().skip(2).take_while(|line| !line.contains("once a batch"));
    let costs: Vec<[u64; 2]> = lines.map(|line| [cell(line, 0), cell(line, 1)]).collect();
    let (total, rows) = costs.split_last().expect("the last line is the total");
    let sums = [0, 1].map(|column| rows.iter().map(|row| row[column]).sum::<u64>());
    assert!(total[0] > 4_000_000, "{text}");
    assert_eq!(sums, *total, "{text}");
}

#[test]
fn a_predictor_prints_without_the_costs_of_training() {
    assert_snapshot!(Plain::predictor().to_string());
    let predictor = Plain::predictor().build().expect("it builds");
    assert_eq!(predictor.to_string(), Plain::predictor().to_string());
}

network! {
    /// Products and nothing that simplifies away.
    Plain<x: [B, 5] -> y: [B, 3]> { Dense(7), tanh, Dense(3, bias = false) }
    loss(t: [B, 3]) = mse(y, t);
}

#[test]
fn products_sums_and_functions_count_as_their_formulas_say() {
    let cost = |purpose: Purpose<'_>, layer: &str| {
        let graph = simplified(Plain::declared(), purpose).expect("it is sound");
        by_layer(&graph).get(layer).copied().unwrap_or_default()
    };
    let forward = |layer: &str| cost(Purpose::Predict, layer).each;
    let (first, second) = (2 * 5 * 7, 2 * 7 * 3);
    assert_eq!([forward("dense1"), forward("tanh1"), forward("dense2")], [first + 7, 7, second]);
    let step = |layer: &str| cost(Purpose::Gradients(None), layer).each;
    // Backwards the first layer has no gradient of its input, and sums that of its bias; tanh has 1 - y^2, one product of its
    // own and one rounding less where it is a `mul_add`.
    assert_eq!([step("dense1"), step("dense2")], [2 * first + 7 + 7, 3 * second]);
    let sgd = Sgd::new(0.1).into();
    let update = |param: &str| cost(Purpose::Train(&sgd), param);
    // One `mul_add` for each parameter, whatever the batch.
    assert_eq!((update("dense1.weight").each, update("dense1.weight").once), (0, 2 * 5 * 7));
}

network! {
    /// Nothing to learn.
    Fixed<x: [B, 3] -> y: [B, 3]> { tanh }
    loss = mean(y);
}

#[test]
fn a_network_without_parameters_has_a_table_too() {
    assert_snapshot!(Fixed::predictor().to_string(), @r"
    network Fixed<x: f32[B,3] -> y: f32[B,3]>
                               parameters  FLOPs forward
      tanh1  tanh  f32[B,3]                            3
      for each row of a batch                          3
      and once a batch
    ");
}

#[test]
fn a_summary_has_the_numbers_of_the_table_and_says_what_is_frozen() {
    let trainer = || Table::trainer(Adam::new(1e-3)).max_batch(4);
    let whole = trainer().build().expect("it builds").summary();
    assert_eq!((whole.parameters, whole.frozen, whole.running), (4_280_332, 0, 2048));
    assert_eq!((whole.forward.each, whole.step.map(|step| step.each)), (8_583_216, Some(25_595_161)));
    assert!(whole.rows.iter().all(|row| !row.frozen));
    assert_eq!(whole.rows.iter().map(|row| row.parameters).sum::<usize>(), whole.parameters);
    // All of a layer, one parameter of another, and what lies in a body.
    let net =
        trainer().freeze("dense1.*").freeze("batch_norm1.gamma").freeze("repeat1.2.*").build().expect("it builds");
    let (summary, text) = (net.summary(), net.to_string());
    let frozen: Vec<&str> = summary.rows.iter().filter(|row| row.frozen).map(|row| &*row.path).collect();
    let marked = text.lines().filter(|line| line.ends_with("  frozen"));
    let marked: Vec<&str> = marked.map(|line| line.split_whitespace().next().expect("it has a path")).collect();
    assert_eq!(frozen, marked, "{text}");
    assert_eq!(frozen[0], "dense1");
    assert!(frozen.len() > 3 && frozen[1..].iter().all(|path| path.starts_with("repeat1.2.")), "{frozen:?}");
    let of_frozen = summary.rows.iter().filter(|row| row.frozen).map(|row| row.parameters).sum::<usize>();
    assert_eq!(summary.frozen, of_frozen + 1024, "the scale of the batch norm on top");
    assert!(text.contains(" MB of parameters, ") && text.contains(" parameters are frozen, "), "{text}");
    assert!(summary.optimizer < whole.optimizer, "what is frozen has no moments");
    let predictor = Table::predictor().build().expect("it builds").summary();
    assert_eq!((predictor.step, predictor.optimizer, predictor.parameters), (None, 0, whole.parameters));
}
