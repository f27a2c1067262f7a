//! Batch norm in training and in inference: what differs, how running statistics follow, and what is left of it in the code.
//!
//! ```text
//! cargo run --example batch_norm
//! ```
//!
//! Three networks learn digits from the same start; they differ in when their running statistics are brought up to date, and by
//! how much. Half way the images become paler. Prints the kernels of training and of inference beside each other, and the loss on
//! images that are held out, in training mode, which normalizes by the batch, and in inference, which normalizes by the running
//! statistics; draws how the statistics follow and what that costs.

mod data;
mod plot;

use std::error::Error;

use gradloom::ndarray::{Array1, Array2, ArrayView2, Axis};
use gradloom::{Adam, DatasetOf, Drift, Metrics, Stage, Supervised, Trainer, network};
use plot::{Curve, Panel, Picture, Style};
use plotters::style::RGBColor;

network! {
    block Classifier(momentum, every) {
        Dense(32, bias = false), BatchNorm(momentum = momentum, every = every), relu, Dense(10),
    }
    /// A tenth of the way at every step.
    pub Usual<image: [B, 64] -> logits: [B, 10]> { Classifier(0.9, 1) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// A hundredth of the way at every step.
    pub Slow<image: [B, 64] -> logits: [B, 10]> { Classifier(0.99, 1) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// A tenth of the way at every twentieth step.
    pub Rare<image: [B, 64] -> logits: [B, 10]> { Classifier(0.9, 20) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// Small enough to read what becomes of it.
    pub Small<x: [B, 4] -> y: [B, 3]> { Dense(3, bias = false), BatchNorm, relu }
    loss(t: [B, 3]) = mse(y, t);
}

const BATCH: usize = 32;
const RATE: f64 = 3e-3;
/// After so many steps the images become paler and the parameters are held; after so many it ends.
const SHIFT: usize = 200;
const STEPS: usize = 400;

/// What happened to a network, after every step.
struct Course {
    name: &'static str,
    color: RGBColor,
    /// The loss on the images held out, normalized by themselves.
    training: Vec<f32>,
    /// The same, normalized by the running statistics.
    inference: Vec<f32>,
    /// The means of all features in the batch of the step, and their running means.
    batch: Vec<Array1<f32>>,
    running: Vec<Array1<f32>>,
    /// How far the statistics of the images held out are from the running ones.
    drift: Vec<Drift>,
    /// The inference loss at the end, with running statistics recomputed from all images.
    recalibrated: f32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let training = Small::trainer(Adam::new(RATE)).ir(Stage::Fused);
    // As far as the output; loss, gradients and updates follow.
    let forward = training.lines().take_while(|line| !line.contains("# loss"));
    let inference = Small::predictor().ir(Stage::Fused);
    beside(("training, as far as the output", forward.collect()), ("inference", inference.lines().collect()));

    let digits = data::digits()?.seed(1).split(0.2)?;
    let courses = [
        course::<Usual>("momentum 0.9", plot::BLUE, &digits)?,
        course::<Slow>("momentum 0.99", plot::VERMILLION, &digits)?,
        course::<Rare>("every = 20", plot::GREEN, &digits)?,
    ];
    if courses.iter().any(|course| course.training != courses[0].training) {
        return Err("training has read the running statistics".into());
    }

    let [usual, slow, rare] = &courses;
    println!(
        "\nloss on digits held out, and the drift of mean and variance with momentum 0.9; in training mode all three"
    );
    println!("networks are the same to the last bit, since training never reads the running statistics");
    println!(
        "step          training  inference: {:>12}  {:>13}  {:>10}  mean drift  var drift",
        usual.name, slow.name, rare.name
    );
    for step in [1, 10, 20, 50, 100, SHIFT, SHIFT + 1, SHIFT + 10, SHIFT + 20, SHIFT + 50, SHIFT + 100, STEPS] {
        let [training, a, b, c] =
            [&usual.training, &usual.inference, &slow.inference, &rare.inference].map(|loss| loss[step - 1]);
        let Drift { mean, variance, .. } = usual.drift[step - 1];
        println!("{step:<12}  {training:>8.3}  {a:>23.3}  {b:>13.3}  {c:>10.3}  {mean:>10.3}  {variance:>9.3}");
        if step == SHIFT {
            println!("now the images become paler, and nothing is trained any more: only the statistics follow");
        }
    }
    let [a, b, c] = [usual, slow, rare].map(|course| course.recalibrated);
    println!("recalibrated            {a:>23.3}  {b:>13.3}  {c:>10.3}");
    picture(&courses).save("batch_norm")
}

/// Trains a network until the images become paler, then lets its statistics follow alone.
fn course<N: Supervised<InputArrays = Array2<f32>, TargetArrays = Array1<u8>>>(
    name: &'static str,
    color: RGBColor,
    (train, test): &(DatasetOf<N>, DatasetOf<N>),
) -> Result<Course, Box<dyn Error>> {
    let mut train = train.clone();
    let paler = |images: ArrayView2<'_, f32>| images.mapv(|pixel| 0.3 + 0.5 * pixel);
    let mut net = Trainer::<N>::new(Adam::new(RATE)).max_batch(test.len()).seed(1).build()?;
    let [training, inference] = [const { Vec::new() }; 2];
    let [batch, running] = [const { Vec::new() }; 2];
    let drift = Vec::new();
    let mut course = Course { name, color, training, inference, batch, running, drift, recalibrated: 0.0 };
    let mut held_out = test.inputs().to_owned();

    let mut steps = 0;
    while steps < STEPS {
        for (images, labels) in train.batches(BATCH).take(STEPS - steps) {
            if steps == SHIFT {
                held_out = paler(test.inputs());
                net.set_learning_rate(0.0)?;
            }
            let images = if steps < SHIFT { images.to_owned() } else { paler(images) };
            let weight: Array2<f32> = net.param("classifier1.dense1.weight")?.to_owned().into_dimensionality()?;
            course.batch.extend(images.dot(&weight).mean_axis(Axis(0)));
            net.step(images.view(), labels)?;
            steps += 1;

            let said = net.diagnose(held_out.view(), test.targets())?;
            course.training.push(said.loss);
            course.drift.extend(said.layer("classifier1.batch_norm1").and_then(|layer| layer.drift));
            course.inference.push(net.evaluate(held_out.view(), test.targets())?.loss());
            course.running.push(net.param("classifier1.batch_norm1.running_mean")?.to_owned().into_dimensionality()?);
        }
    }
    net.recalibrate(paler(train.inputs()).view())?;
    course.recalibrated = net.evaluate(held_out.view(), test.targets())?.loss();
    Ok(course)
}

/// Lines of an IR in two columns; what belongs to the only batch norm goes by its last name.
fn beside(left: (&str, Vec<&str>), right: (&str, Vec<&str>)) {
    let lines = |(name, lines): (&str, Vec<&str>)| {
        let lines = lines.into_iter().map(|line| line.split('#').next().unwrap_or(line).replace("batch_norm1.", ""));
        Vec::from_iter([name.to_string()].into_iter().chain(lines.map(|line| line.trim_end().to_string())))
    };
    let (left, right) = (lines(left), lines(right));
    let width = left.iter().map(String::len).max().unwrap_or(0);
    for row in 0..left.len().max(right.len()) {
        let [left, right] = [&left, &right].map(|lines| lines.get(row).map_or("", String::as_str));
        println!("{}", format!("{left:<width$}  | {right}").trim_end());
    }
}

fn picture(courses: &[Course]) -> Picture {
    let first = &courses[0];
    // The feature that the change moves most.
    let moved = (&first.running[STEPS - 1] - &first.running[SHIFT - 1]).mapv(f32::abs);
    let feature = (0..moved.len()).max_by(|&a, &b| moved[a].total_cmp(&moved[b])).unwrap_or(0);

    let series = |name: &str, color, values: &dyn Fn(usize) -> f32| {
        Curve::series(name, color, Style::Line, 1, (0..STEPS).map(values))
    };
    let batch = Curve { style: Style::Dots, ..series("a batch", plot::GRAY, &|step| first.batch[step][feature]) };
    let mut means = vec![batch];
    let mut losses = vec![series("training mode", plot::INK, &|step| first.training[step])];
    for Course { name, color, running, inference, .. } in courses {
        means.push(series(name, *color, &|step| running[step][feature]));
        losses.push(series(name, *color, &|step| inference[step]));
    }
    let step = || plot::Axis::linear("step");
    let (mean, loss) = (plot::Axis::linear("mean"), plot::Axis::logarithmic("mean cross-entropy, nats"));
    let panels = vec![
        Panel::new("one feature before batch norm: means of batches, running means", step(), mean, means),
        Panel::new("images held out: loss in training mode, and in inference", step(), loss, losses),
    ];
    let title = format!("running statistics follow the data; after step {SHIFT} the images are paler");
    Picture { title, columns: 2, panels }
}
