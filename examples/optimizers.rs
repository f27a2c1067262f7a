//! Every optimizer from one start: down a valley of two coordinates, and on handwritten digits.
//!
//! ```text
//! cargo run --example optimizers
//! ```
//!
//! A comparison at one rate would say who likes that rate. So each optimizer takes every rate of a grid, 1, 3, 10, 30 and so
//! on, and the best of them counts. Prints rate and result of all, for the valley and for the digits, and draws the paths over the
//! level lines of the valley and the losses over the epochs.

mod data;
mod plot;

use std::error::Error;
use std::iter::successors;

use gradloom::ndarray::{Array2, ArrayView2, arr0, s};
use gradloom::{
    AdaDelta, AdaGrad, Adam, AdamW, Epoch, History, Lion, Network, Progress, RmsProp, Session, Sgd, Trainer, network,
};
use plot::{Axis, Curve, Panel, Picture, Style, Surface};
use plotters::style::RGBColor;

network! {
    // Rosenbrock's valley (1960), ten times as steep across as along. Each row of a batch moves its floor a little to one
    // side; the mean over all rows leaves it where it is.
    act valley = |shift, u = -1.2, v = 1.0| square(1.0 - u) + 10.0 * square(v - u * u + shift);

    /// The height at `u` and `v`, the only parameters.
    pub Valley<shift: [B, 1] -> height: [B, 1]> { valley }
    loss = mean(height);

    /// No batch norm, which would help the weaker ones.
    pub Digits<image: [B, 64] -> logits: [B, 10]> { Dense(64), relu, Dense(32), relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

/// An optimizer at any rate, and how it is drawn.
struct Method<N> {
    name: &'static str,
    /// Sees all rows at every step, instead of a batch.
    whole: bool,
    at: fn(f64) -> Trainer<N>,
    color: RGBColor,
    style: Style,
}

fn methods<N: Network>() -> Vec<Method<N>> {
    use Style::{Dashes, Line};
    let method = |name, at, color, style| Method { name, whole: name == "gradient descent", at, color, style };
    vec![
        method("gradient descent", |rate| Trainer::new(Sgd::new(rate)), plot::BLACK, Line),
        method("SGD", |rate| Trainer::new(Sgd::new(rate)), plot::BLACK, Dashes),
        method("momentum", |rate| Trainer::new(Sgd::new(rate).momentum(0.9)), plot::BLUE, Line),
        method("Nesterov", |rate| Trainer::new(Sgd::new(rate).momentum(0.9).nesterov()), plot::BLUE, Dashes),
        method("AdaGrad", |rate| Trainer::new(AdaGrad::new(rate)), plot::GREEN, Line),
        method("RMSProp", |rate| Trainer::new(RmsProp::new(rate)), plot::SKY, Line),
        method("AdaDelta", |rate| Trainer::new(AdaDelta::new(rate)), plot::GREEN, Dashes),
        method("Adam", |rate| Trainer::new(Adam::new(rate)), plot::VERMILLION, Line),
        method("AdamW", |rate| Trainer::new(AdamW::new(rate)), plot::VERMILLION, Dashes),
        method("Lion", |rate| Trainer::new(Lion::new(rate)), plot::PURPLE, Line),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    valley()?;
    digits()
}

// ---- The valley -----------------------------------------------------------------------------------------------------

const ROWS: usize = 16;
const STEPS: usize = 300;
/// The end of a path: the height there is a mean, since a step from one row may lead up.
const END: usize = 50;

/// Where a descent went, and how high it was there.
struct Descent {
    rate: f64,
    places: Vec<(f64, f64)>,
    heights: Vec<f64>,
}

impl Descent {
    fn end(&self) -> f64 {
        self.heights[STEPS + 1 - END..].iter().sum::<f64>() / END as f64
    }
}

fn valley() -> Result<(), Box<dyn Error>> {
    // Spread evenly around 0, in an order that jumps.
    let shifts = Array2::from_shape_fn((ROWS, 1), |(row, _)| 0.025 * (((7 * row) % ROWS) as f32 - 7.5));
    let mut map = Valley::trainer(Sgd::new(0.0)).max_batch(ROWS).build()?;
    let floor = height(&mut map, shifts.view(), 1.0, 1.0)?;

    let rates = grid(1e-4, 30.0);
    println!(
        "{STEPS} steps from (-1.2, 1) towards the minimum at (1, 1): each sees one of {ROWS} rows, gradient descent all."
    );
    println!(
        "The rate is the one, of {} from {} to {}, that ends lowest.",
        rates.len(),
        rates[0],
        rates[rates.len() - 1]
    );
    println!("optimizer            rate  below 0.1 at step  height at the end  refused rates");
    let mut panels = Vec::new();
    for method in methods() {
        let runs = rates.iter().map(|&rate| descend(&method, rate, shifts.view(), floor));
        let (finite, refused): (Vec<_>, Vec<_>) = runs.partition(|run| run.is_ok());
        let best = finite.into_iter().flatten().min_by(|a, b| a.end().total_cmp(&b.end())).ok_or("no rate works")?;
        let below = best.heights.iter().position(|height| *height < 0.1);
        let below = below.map_or("never".to_string(), |step| step.to_string());
        println!("{:<16} {:>8}  {below:>17}  {:>17.4}  {:>13}", method.name, best.rate, best.end(), refused.len());
        panels.push(panel(&method, &best, panels.len()));
    }

    let levels = successors(Some(0.1), |level| (*level < 100.0).then_some(level * 2.5)).collect();
    let above = |u, v| Ok::<_, Box<dyn Error>>(height(&mut map, shifts.view(), u, v)? - floor);
    let surface = Surface::measure(-1.75..=1.75, -0.5..=3.2, levels, above)?;
    panels.iter_mut().for_each(|panel| panel.surface = Some(surface.clone()));
    let title =
        format!("{STEPS} steps down Rosenbrock's valley from (-1.2, 1) to the cross, each optimizer at its best rate");
    Picture { title, columns: 5, panels }.save("optimizers_valley")
}

/// The way of one optimizer. A loss that is not finite is refused by `step`, and the rate with it.
fn descend(
    method: &Method<Valley>,
    rate: f64,
    shifts: ArrayView2<'_, f32>,
    floor: f64,
) -> Result<Descent, Box<dyn Error>> {
    let mut net = (method.at)(rate).max_batch(ROWS).build()?;
    let mut descent = Descent { rate, places: Vec::new(), heights: Vec::new() };
    for step in 0..=STEPS {
        let place = |name: &str| net.param(name).map(|value| f64::from(value.sum()));
        descent.places.push((place("valley1.u")?, place("valley1.v")?));
        descent.heights.push(f64::from(net.evaluate(shifts, ())?.loss) - floor);
        let row = step % ROWS;
        net.step(if method.whole { shifts } else { shifts.slice_move(s![row..=row, ..]) }, ())?;
    }
    Ok(descent)
}

/// How high the valley is somewhere, all rows together.
fn height(net: &mut Session<Valley>, shifts: ArrayView2<'_, f32>, u: f64, v: f64) -> Result<f64, Box<dyn Error>> {
    net.set_param("valley1.u", arr0(u as f32).view())?;
    net.set_param("valley1.v", arr0(v as f32).view())?;
    Ok(f64::from(net.evaluate(shifts, ())?.loss))
}

fn panel(method: &Method<Valley>, best: &Descent, index: usize) -> Panel {
    let curve = |name: &str, color, style, points| Curve { name: name.to_string(), color, style, points };
    Panel {
        title: format!("{}, rate {}", method.name, best.rate),
        x: Axis::linear(if index < 5 { "" } else { "u" }).range(-1.75, 1.75),
        y: Axis::linear(if index.is_multiple_of(5) { "v" } else { "" }).range(-0.5, 3.2),
        surface: None,
        tiles: None,
        curves: vec![
            curve("", method.color, Style::Line, best.places.clone()),
            curve("", plot::INK, Style::Crosses, vec![(1.0, 1.0)]),
        ],
    }
}

// ---- Digits ---------------------------------------------------------------------------------------------------------

const BATCH: usize = 32;
const EPOCHS: usize = 20;

fn digits() -> Result<(), Box<dyn Error>> {
    let (train, test) = data::digits()?.seed(1).split(0.2)?;
    let (train, held) = train.split(0.2)?;
    let rates = grid(1e-4, 3.0);
    println!("\n{EPOCHS} epochs of {} digits in batches of {BATCH}, for gradient descent in one.", train.len());
    println!(
        "The rate is the one, of {} from {} to {}, with the least loss on {} digits that are held out.",
        rates.len(),
        rates[0],
        rates[rates.len() - 1],
        held.len()
    );
    println!("optimizer            rate  steps   loss  held out  test accuracy  seconds");
    let (mut losses, mut held_out) = (Vec::new(), Vec::new());
    for method in methods::<Digits>() {
        let mut best: Option<(f32, f64, Session<Digits>, History<Digits>)> = None;
        for &rate in &rates {
            let batch = if method.whole { train.len() } else { BATCH };
            let mut net = (method.at)(rate).max_batch(batch).seed(1).build()?;
            let run = net.fit(&mut train.clone()).epochs(EPOCHS).validation(&held).progress(Progress::Quiet).run();
            let Ok(history) = run else { continue };
            let last = history.epochs.last().and_then(|epoch| epoch.validation);
            let loss = last.map_or(f32::INFINITY, |metrics| metrics.loss);
            if best.as_ref().is_none_or(|best| loss < best.0) {
                best = Some((loss, rate, net, history));
            }
        }
        let (loss, rate, mut net, history) = best.ok_or("no rate works")?;
        let seconds: f64 = history.epochs.iter().map(|epoch| epoch.seconds).sum();
        let accuracy = net.evaluate(test.inputs(), test.targets())?.accuracy;
        let Method { name, color, style, .. } = method;
        let own = history.epochs[EPOCHS - 1].train.loss;
        println!("{name:<16} {rate:>8}  {:>5}  {own:.3}  {loss:>8.3}  {accuracy:>13.3}  {seconds:>7.2}", net.steps());

        let curve =
            |value: fn(&Epoch<Digits>) -> f32| Curve::series(name, color, style, 1, history.epochs.iter().map(value));
        losses.push(curve(|epoch| epoch.train.loss));
        held_out.push(curve(|epoch| epoch.validation.map_or(f32::NAN, |metrics| metrics.loss)));
    }
    let panel =
        |title, curves| Panel::new(title, Axis::linear("epoch"), Axis::logarithmic("mean cross-entropy, nats"), curves);
    let panels = vec![panel("images it learns from", losses), panel("images held out", held_out)];
    let title = "handwritten digits, each optimizer at its best rate".to_string();
    Picture { title, columns: 2, panels }.save("optimizers_digits")
}

/// 1, 3, 10, 30, .. times the first, up to the last.
fn grid(first: f64, last: f64) -> Vec<f64> {
    let powers = (0..).map(|power| first * 10f64.powi(power));
    let rates = powers.flat_map(|power| [power, 3.0 * power]);
    // As it would be written: without the digits that rounding leaves.
    let round = |rate: f64| format!("{rate:.1e}").parse().unwrap_or(rate);
    rates.map(round).take_while(|rate| *rate <= last).collect()
}
