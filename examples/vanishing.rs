//! Why deep networks of sigmoids do not learn, what batch norm does about it, and how rectifiers die.
//!
//! ```text
//! cargo run --example vanishing
//! ```
//!
//! Five networks of ten hidden layers read digits; they differ in what stands between the layers. Prints the largest slopes of
//! the activations, the mean magnitude of the gradient in every layer before the first step, and how far each network gets; then
//! what diagnostics say of rectifiers that died of a bias or of a learning rate. Draws gradients and losses, and the dead units
//! step by step.

mod data;
mod plot;

use std::error::Error;

use gradloom::ndarray::{Array1, ArrayView2, array};
use gradloom::{DatasetOf, Diagnostics, Metrics, Network, Progress, Sgd, Supervised, Trainer, network};
use plot::{Axis, Curve, Panel, Picture, Style};
use plotters::style::RGBColor;

network! {
    /// Slopes of at most 1/4.
    pub Sigmoid<image: [B, 64] -> logits: [B, 10]> { repeat(10) { Dense(32), sigmoid }, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Slopes of at most 1.
    pub Tanh<image: [B, 64] -> logits: [B, 10]> { repeat(10) { Dense(32), tanh }, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Slopes of 0 and 1.
    pub Relu<image: [B, 64] -> logits: [B, 10]> { repeat(10) { Dense(32), relu }, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Sigmoids whose inputs have mean 0 and variance 1.
    pub NormSigmoid<image: [B, 64] -> logits: [B, 10]> {
        repeat(10) { Dense(32, bias = false), BatchNorm, sigmoid }, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// The same of hyperbolic tangents.
    pub NormTanh<image: [B, 64] -> logits: [B, 10]> {
        repeat(10) { Dense(32, bias = false), BatchNorm, tanh }, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Rectifiers, to see them die.
    pub Mortal<image: [B, 64] -> logits: [B, 10]> { Dense(32), relu, Dense(32), relu, Dense(32), relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    // The gradient by `at` of one row is the slope there.
    act sigmoid_at = |x, at = 0.0| sigmoid(x + at);
    act tanh_at = |x, at = 0.0| tanh(x + at);
    SigmoidSlope<x: [B, 1] -> y: [B, 1]> { sigmoid_at } loss = sum(y);
    TanhSlope<x: [B, 1] -> y: [B, 1]> { tanh_at } loss = sum(y);
}

const LAYERS: usize = 10;
const BATCH: usize = 32;
const EPOCHS: usize = 30;
const RATE: f64 = 0.01;

fn main() -> Result<(), Box<dyn Error>> {
    let sigmoid = steepest::<SigmoidSlope>("sigmoid_at1.at")?;
    let tanh = steepest::<TanhSlope>("tanh_at1.at")?;
    println!("            largest slope     at  product of {LAYERS} slopes at most");
    for (name, (at, slope)) in [("sigmoid", sigmoid), ("tanh", tanh)] {
        println!("{name:<10}  {slope:>13.4}  {at:>5.2}  {:>26.1e}", slope.powi(LAYERS as i32));
    }
    if sigmoid.1 > 0.25 || tanh.1 > 1.0 {
        return Err("a slope is beyond its bound".into());
    }

    let digits = data::digits()?.seed(1).split(0.2)?;
    let runs = [
        run::<Sigmoid>("sigmoid", plot::VERMILLION, Style::Line, &digits)?,
        run::<Tanh>("tanh", plot::BLUE, Style::Line, &digits)?,
        run::<Relu>("relu", plot::GREEN, Style::Line, &digits)?,
        run::<NormSigmoid>("norm, sigmoid", plot::VERMILLION, Style::Dashes, &digits)?,
        run::<NormTanh>("norm, tanh", plot::BLUE, Style::Dashes, &digits)?,
    ];
    table(&runs);
    pictures(&runs).save("vanishing")?;
    let [sigmoid, _, relu, normed, _] = runs.map(|run| run.gradients[0]);
    if sigmoid > 1e-3 * relu.min(normed) {
        return Err("the gradient of the sigmoids has not vanished".into());
    }
    dying()
}

/// Where between -8 and 8 a function is steepest, and how steep, by its compiled derivative.
fn steepest<N>(name: &str) -> Result<(f32, f32), Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = ArrayView2<'a, f32>, Targets<'a> = ()>,
{
    let mut net = Trainer::<N>::new(Sgd::new(0.0)).max_batch(1).build()?;
    let mut steepest = (0.0, 0.0);
    for at in (-800..=800).map(|at| at as f32 / 100.0) {
        let slope = net.gradients(array![[at]].view(), ())?.get(name)?.sum();
        if slope > steepest.1 {
            steepest = (at, slope);
        }
    }
    Ok(steepest)
}

// ---- Gradients and losses -------------------------------------------------------------------------------------------

/// What became of a network.
struct Run {
    name: &'static str,
    color: RGBColor,
    style: Style,
    /// The mean magnitude of the gradient in every dense layer before the first step.
    gradients: Vec<f32>,
    /// The mean loss of every epoch.
    losses: Vec<f32>,
    accuracy: f32,
}

/// Trains a network, whichever it is, and says how far it got.
fn run<N: Supervised>(
    name: &'static str,
    color: RGBColor,
    style: Style,
    (train, test): &(DatasetOf<N>, DatasetOf<N>),
) -> Result<Run, Box<dyn Error>> {
    let mut train = train.clone();
    let mut net = Trainer::<N>::new(Sgd::new(RATE).momentum(0.9)).max_batch(train.len()).seed(1).build()?;
    let said = net.diagnose(train.inputs(), train.targets())?;
    let layers = (1..=LAYERS).map(|layer| format!("repeat1.{layer}.dense1")).chain(["dense1".to_string()]);
    let gradient = |path: String| said.layer(&path).and_then(|layer| layer.gradient);
    let gradients = layers.map(gradient).collect::<Option<_>>().ok_or("a layer has no gradient")?;

    let history = net.fit(&mut train).epochs(EPOCHS).batch_size(BATCH).progress(Progress::Quiet).run()?;
    let losses = history.epochs.iter().map(|epoch| epoch.train.loss()).collect();
    let accuracy = net.evaluate(test.inputs(), test.targets())?.metric("accuracy").ok_or("it has no accuracy")?;
    Ok(Run { name, color, style, gradients, losses, accuracy })
}

fn table(runs: &[Run]) {
    let line = |head: &str, cells: &dyn Fn(&Run) -> String| {
        let cells: Vec<String> = runs.iter().map(|run| format!("{:>13}", cells(run))).collect();
        println!("{head:<10}  {}", cells.join("  "));
    };
    println!("\nmean |gradient| before the first step, from the first layer to the last");
    line("", &|run| run.name.to_string());
    for layer in 0..=LAYERS {
        line(&format!("dense {}", layer + 1), &|run| format!("{:.1e}", run.gradients[layer]));
    }
    println!("\nloss of an epoch, and accuracy on digits held out");
    line("", &|run| run.name.to_string());
    for epoch in [1, 3, 10, EPOCHS] {
        line(&format!("epoch {epoch}"), &|run| format!("{:.4}", run.losses[epoch - 1]));
    }
    line("accuracy", &|run| format!("{:.3}", run.accuracy));
}

fn pictures(runs: &[Run]) -> Picture {
    let curves = |values: fn(&Run) -> &[f32]| -> Vec<Curve> {
        let curve = |run: &Run| Curve::series(run.name, run.color, run.style, 1, values(run).iter().copied());
        runs.iter().map(curve).collect()
    };
    let (layer, epoch) = (Axis::linear("layer, from the input"), Axis::linear("epoch"));
    let gradient = Axis::logarithmic("mean |gradient| of weights and biases");
    let loss = Axis::logarithmic("mean cross-entropy, nats");
    let panels = vec![
        Panel::new("before the first step", layer, gradient, curves(|run| &run.gradients)),
        Panel::new("training", epoch, loss, curves(|run| &run.losses)),
    ];
    let title = format!("{LAYERS} hidden layers, with and without batch norm");
    Picture { title, columns: 2, panels }
}

// ---- Dead rectifiers ------------------------------------------------------------------------------------------------

const STEPS: usize = 100;

/// What became of rectifiers.
struct Life {
    name: &'static str,
    color: RGBColor,
    /// The share of all hidden units that are dead, before every step and at the end.
    dead: Vec<f32>,
    losses: Vec<f32>,
    /// What diagnostics say at the beginning and at the end.
    first: Diagnostics,
    last: Diagnostics,
}

impl Life {
    /// The share of a layer's units that are dead at the end.
    fn dead(&self, layer: &str) -> f32 {
        self.last.layer(layer).and_then(|layer| layer.dead).unwrap_or(f32::NAN)
    }
}

fn dying() -> Result<(), Box<dyn Error>> {
    let lives = [
        live("rate 0.1", plot::BLUE, 0.1, 0.0)?,
        live("rate 1", plot::ORANGE, 1.0, 0.0)?,
        live("rate 3", plot::VERMILLION, 3.0, 0.0)?,
        live("biases of -10", plot::INK, 0.1, -10.0)?,
    ];
    let [healthy, _, fast, biased] = &lives;
    println!("\nrectifiers whose second layer begins with biases of -10: nothing passes it, forward or backward");
    print!("{}", biased.first);

    println!(
        "\nshare of dead units after {STEPS} steps: a layer that is dead stays so, and a large rate kills the others"
    );
    println!("                relu1    relu2    relu3    loss");
    for life in &lives {
        let dead = |layer| format!("{:>5.1} %", 100.0 * life.dead(layer));
        let [first, second, third] = ["relu1", "relu2", "relu3"].map(dead);
        println!("{:<13}  {first}  {second}  {third}  {:.4}", life.name, life.last.loss);
    }
    if biased.dead("relu2") < 1.0 || fast.dead("relu3") < 0.5 || healthy.dead("relu3") > 0.2 {
        return Err("the rectifiers did not die as they should".into());
    }
    let curves = |values: fn(&Life) -> &[f32]| -> Vec<Curve> {
        let curve = |life: &Life| Curve::series(life.name, life.color, Style::Line, 0, values(life).iter().copied());
        lives.iter().map(curve).collect()
    };
    let (step, share) = (|| Axis::linear("step"), Axis::linear("share of dead units"));
    let loss = Axis::logarithmic("cross-entropy, nats").range(0.3, 30.0);
    let panels = vec![
        Panel::new("hidden units that are dead", step(), share, curves(|life| &life.dead)),
        Panel::new("training; a loss above 30 is left out", step(), loss, curves(|life| &life.losses)),
    ];
    Picture { title: "how rectifiers die".to_string(), columns: 2, panels }.save("vanishing_dead")
}

/// Trains rectifiers on all images at once, whose second layer begins with these biases.
fn live(name: &'static str, color: RGBColor, rate: f64, bias: f32) -> Result<Life, Box<dyn Error>> {
    let (train, _) = data::digits()?.seed(1).split(0.2)?;
    let (images, labels) = (train.inputs(), train.targets());
    let mut net = Mortal::trainer(Sgd::new(rate)).max_batch(train.len()).seed(1).build()?;
    net.set_param("dense2.bias", Array1::from_elem(32, bias).view())?;

    let first = net.diagnose(images, labels)?;
    let (dead, losses) = (Vec::new(), Vec::new());
    let mut life = Life { name, color, dead, losses, last: first.clone(), first };
    for step in 0..=STEPS {
        let said = net.diagnose(images, labels)?;
        let shares: Vec<f32> = said.layers.iter().filter_map(|layer| layer.dead).collect();
        life.dead.push(shares.iter().sum::<f32>() / shares.len() as f32);
        life.losses.push(said.loss);
        life.last = said;
        if step < STEPS {
            net.step(images, labels)?;
        }
    }
    Ok(life)
}
