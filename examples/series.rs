//! Forecasts how many bicycles will be rented in the next hour: a year of rides in Washington, real data.
//!
//! ```text
//! cargo run --example series
//! ```
//!
//! Recurrent networks learn from the hours of ten months, three days at a time, to say after every hour what the next one brings. Then
//! a stream goes through the whole year hour by hour, and the last two months count, which no network has seen. Prints the progress,
//! then the errors of forecasts that need no network (the hour before, the same hour a week ago), of linear least squares over the
//! same three days, and of the networks. Draws, as `target/series.svg`, a week of forecasts, and how much a forecast depends on the
//! state after each of the hours before it: the norm of its gradient, which `diagnose` says, step by step back in time. It vanishes
//! within a day where an `Rnn` starts with small weights, more slowly from the starts that are the default, and not at all in an
//! `Lstm` that hardly forgets.
//! `data/README.md` says where the table comes from.

mod data;
mod least_squares;
mod plot;

use std::error::Error;
use std::f32::consts::TAU;
use std::time::Instant;

use gradloom::ndarray::{Array2, Array3, ArrayView3, s};
use gradloom::{
    AdamW, BuildError, Dataset, Metrics, Network, Progress, Schedule, Session, Sgd, Supervised, Trainer, network,
};
use least_squares::least_squares;
use plot::{Axis, Curve, Panel, Picture, Style};

network! {
    /// Hours -> for each of them, the rides of the next one.
    pub Elman<x: [B, 72, 4] -> y: [B, 72, 1]> { Rnn(32), Dense(1) }
    loss(t: [B, 72, 1]) = mse(y, t);

    /// The same with gates.
    pub Gated<x: [B, 72, 4] -> y: [B, 72, 1]> { Gru(32), Dense(1) }
    loss(t: [B, 72, 1]) = mse(y, t);

    /// The same with a cell.
    pub Cell<x: [B, 72, 4] -> y: [B, 72, 1]> { Lstm(32), Dense(1) }
    loss(t: [B, 72, 1]) = mse(y, t);

    /// The last forecast of `Elman`, as the loss, so that diagnostics speak of its gradient.
    pub ElmanHours<x: [B, 72, 4] -> y: [B, 1]> { Rnn(32, last = true), Dense(1) }
    loss = sum(y);

    /// The same, with weights of the state as small as they often start elsewhere.
    pub SmallHours<x: [B, 72, 4] -> y: [B, 1]> { Rnn(32, last = true, recurrent_init = uniform(0.18)), Dense(1) }
    loss = sum(y);

    /// The last forecast of `Cell`.
    pub CellHours<x: [B, 72, 4] -> y: [B, 1]> { Lstm(32, last = true), Dense(1) }
    loss = sum(y);
}

/// The hours that networks and least squares look back.
const STEPS: usize = 72;
/// Rides, in hundreds; the time of day of the hour that comes, as a point of a circle; whether it is one of a working day.
const FEATURES: usize = 4;
const SCALE: f32 = 100.0;
/// The hour with which the test begins, the first of November.
const TEST: usize = 304 * 24;
const WEEK: usize = 7 * 24;
const EPOCHS: usize = 30;
const BATCH: usize = 32;
const RATE: f64 = 5e-3;
/// Of the test, for the gradients.
const SEQUENCES: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let hours = Hours::read()?;
    println!("{} hours to learn from, {} to be tested on", TEST, hours.rides.len() - TEST);
    let (elman, elman_said) = learn::<Elman>("Rnn", &hours)?;
    let (_, gated_said) = learn::<Gated>("Gru", &hours)?;
    let (cell, cell_said) = learn::<Cell>("Lstm", &hours)?;

    let forecasts = [
        hours.forecast("hour before", |hour| hours.rides[hour - 1]),
        hours.forecast("week before", |hour| hours.rides[hour - WEEK]),
        linear(&hours)?,
        elman_said,
        gated_said,
        cell_said,
    ];
    println!("forecast     mean error  root mean square, in rides an hour");
    for forecast in &forecasts {
        let [mean, root] = forecast.errors(&hours);
        println!("{:<11} {mean:>11.1} {root:>17.1}", forecast.name);
    }

    let gradients = [
        ("small Rnn", plot::ORANGE, Style::Dashes, gradients(start::<SmallHours>()?, &hours)?),
        ("Rnn at start", plot::VERMILLION, Style::Dashes, gradients(start::<ElmanHours>()?, &hours)?),
        ("Lstm at start", plot::SKY, Style::Dashes, gradients(start::<CellHours>()?, &hours)?),
        ("open Lstm", plot::GREEN, Style::Dashes, gradients(open()?, &hours)?),
        ("trained Rnn", plot::VERMILLION, Style::Line, gradients(with_those_of::<ElmanHours>(&elman)?, &hours)?),
        ("trained Lstm", plot::BLUE, Style::Line, gradients(with_those_of::<CellHours>(&cell)?, &hours)?),
    ];
    println!("gradient of a forecast by the states after the hours before it");
    println!("network         1 hour   a day  two days  three days");
    for (name, _, _, norms) in &gradients {
        let [one, day, two, three] = [1, 24, 48, STEPS - 1].map(|back| norms[back]);
        println!("{name:<13} {one:>8.1e} {day:>7.1e} {two:>9.1e} {three:>11.1e}");
    }
    let [small, _, _, open, ..] = gradients.each_ref().map(|(_, _, _, norms)| norms[STEPS - 1] / norms[0]);
    if small > 1e-6 || open < 1e-2 {
        return Err("the gradient has not vanished where it should, or has where the cell is open".into());
    }
    let curves = gradients.map(|(name, color, style, norms)| Curve::series(name, color, style, 0, norms)).to_vec();
    let (hours_back, norm) = (Axis::linear("hours back"), Axis::logarithmic("norm").range(1e-18, 10.0));
    let gradients = Panel::new("gradient of a forecast by earlier states", hours_back, norm, curves);
    let title = "Forecasts of the next hour, and how far back they look".to_string();
    Picture { title, columns: 2, panels: vec![week(&hours, &forecasts), gradients] }.save("series")?;

    let [linear, lstm] = [2, 5].map(|forecast: usize| forecasts[forecast].errors(&hours)[0]);
    println!("mean error of lstm: {lstm:.1}, of linear: {linear:.1}");
    Ok(())
}

/// The year, hour by hour.
struct Hours {
    /// In hundreds.
    rides: Vec<f32>,
    /// What is known before an hour: the rides of the one before it, and what kind of hour it is.
    known: Array2<f32>,
}

impl Hours {
    fn read() -> Result<Hours, Box<dyn Error>> {
        let days = data::bikes()?;
        let rides: Vec<f32> = days.iter().flat_map(|day| day.rides).map(|rides| rides / SCALE).collect();
        let known = Array2::from_shape_fn((rides.len(), FEATURES), |(hour, feature)| {
            let (day, turn) = (&days[hour / 24], TAU * (hour % 24) as f32 / 24.0);
            match feature {
                0 => hour.checked_sub(1).map_or(0.0, |before| rides[before]),
                1 => turn.sin(),
                2 => turn.cos(),
                _ => f32::from(u8::from(day.working)),
            }
        });
        Ok(Hours { rides, known })
    }

    /// What is said of each hour of the test before it comes.
    fn forecast(&self, name: &'static str, said: impl Fn(usize) -> f32) -> Forecast {
        Forecast { name, rides: (TEST..self.rides.len()).map(said).collect() }
    }

    /// Sequences that end with these hours, and the rides of their hours.
    fn sequences(&self, ends: impl Iterator<Item = usize>) -> (Array3<f32>, Array3<f32>) {
        let ends: Vec<usize> = ends.collect();
        let hour = |row: usize, step: usize| ends[row] + step + 1 - STEPS;
        let x = Array3::from_shape_fn((ends.len(), STEPS, FEATURES), |(row, step, feature)| {
            self.known[[hour(row, step), feature]]
        });
        let t = Array3::from_shape_fn((ends.len(), STEPS, 1), |(row, step, _)| self.rides[hour(row, step)]);
        (x, t)
    }
}

/// The rides of every hour of the test, as they were foretold.
struct Forecast {
    name: &'static str,
    rides: Vec<f32>,
}

impl Forecast {
    /// The mean of the errors' magnitudes, and the root of that of their squares, in rides.
    fn errors(&self, hours: &Hours) -> [f32; 2] {
        let errors = self.rides.iter().zip(&hours.rides[TEST..]).map(|(said, rides)| SCALE * (said - rides));
        let [sum, squares] = errors.fold([0.0, 0.0], |[sum, squares], e| [sum + e.abs(), squares + e * e]);
        let count = self.rides.len() as f32;
        [sum / count, (squares / count).sqrt()]
    }
}

/// Least squares over the rides of as many hours as the networks see, those of a week before, and what kind of hour it is.
fn linear(hours: &Hours) -> Result<Forecast, Box<dyn Error>> {
    let columns = |hour: usize| -> Vec<f32> {
        let rides = hours.rides[hour - STEPS..hour].iter().copied();
        rides.chain([hours.rides[hour - WEEK]]).chain(hours.known.row(hour).iter().skip(1).copied()).collect()
    };
    let rows: Vec<f32> = (WEEK..TEST).flat_map(|hour| [columns(hour), vec![hours.rides[hour]]].concat()).collect();
    let table = Array2::from_shape_vec((TEST - WEEK, rows.len() / (TEST - WEEK)), rows)?;
    let weights = least_squares(table.view())?;
    let sum = |row: Vec<f32>| row.iter().zip(&weights).map(|(x, weight)| x * weight).sum::<f32>();
    Ok(hours.forecast("linear", |hour| sum(columns(hour)) + weights[weights.len() - 1]))
}

/// Trains a network, whichever it is, and lets it forecast the test hour by hour.
fn learn<N>(name: &'static str, hours: &Hours) -> Result<(Session<N>, Forecast), Box<dyn Error>>
where
    N: Supervised<InputArrays = Array3<f32>, TargetArrays = Array3<f32>>,
{
    let (x, t) = hours.sequences((STEPS - 1..TEST).step_by(6));
    let mut data = Dataset::new(x, t)?.seed(1);
    let rate = Schedule::cosine(RATE, (EPOCHS * data.len().div_ceil(BATCH)) as u64);
    let mut net = Trainer::<N>::new(AdamW::new(rate)).clip_norm(1.0).max_batch(BATCH).seed(1).build()?;
    println!("{name}: {} parameters", net.param_count());
    let start = Instant::now();
    net.fit(&mut data)
        .epochs(EPOCHS)
        .progress(Progress::Quiet)
        .on_epoch(|_, epoch| {
            if epoch.epoch % 10 == 0 {
                let seconds = start.elapsed().as_secs_f64();
                println!("  epoch {:>2}, loss {:.4}, {seconds:.1} s", epoch.epoch, epoch.train.loss());
            }
        })
        .run()?;

    // The state goes through the whole year; what it says before the test is left out.
    let mut stream = net.predictor()?.stream()?;
    let mut said = Vec::new();
    for known in hours.known.rows() {
        said.push(stream.feed(&known.to_vec())?[0]);
    }
    let forecast = hours.forecast(name, |hour| said[hour]);
    Ok((net, forecast))
}

/// How far the last forecast of a network moves with the state after each hour that it has seen, counted back from the last one: the
/// norm of its gradient, the root of the mean square over some sequences of the test.
fn gradients<N>(mut net: Session<N>, hours: &Hours) -> Result<Vec<f32>, Box<dyn Error>>
where
    N: for<'a> Network<Inputs<'a> = ArrayView3<'a, f32>, Targets<'a> = ()>,
{
    let (x, _) = hours.sequences((TEST..hours.rides.len()).step_by(25).take(SEQUENCES));
    let said = net.diagnose(x.view(), ())?;
    let norms = said.layers.iter().find_map(|layer| layer.state_gradients.as_ref()).ok_or("there is a state")?;
    Ok(norms.iter().rev().map(|norm| norm / (SEQUENCES as f32).sqrt()).collect())
}

/// A network as it starts.
fn start<N: Network>() -> Result<Session<N>, BuildError> {
    Trainer::<N>::new(Sgd::new(0.0)).max_batch(SEQUENCES).seed(1).build()
}

/// The same with the parameters of a trained one.
fn with_those_of<N: Network>(trained: &Session<impl Network>) -> Result<Session<N>, Box<dyn Error>> {
    let mut net = start::<N>()?;
    for path in trained.names().filter(|path| net.param(path).is_ok()).map(String::from).collect::<Vec<_>>() {
        net.set_param(&path, trained.param(&path)?)?;
    }
    Ok(net)
}

/// An `Lstm` whose cell forgets hardly anything.
fn open() -> Result<Session<CellHours>, Box<dyn Error>> {
    let mut net = start::<CellHours>()?;
    let mut bias = net.param("lstm1.input.bias")?.to_owned();
    bias.slice_mut(s![32..64]).fill(5.0);
    net.set_param("lstm1.input.bias", bias.view())?;
    Ok(net)
}

/// A week of forecasts.
fn week(hours: &Hours, forecasts: &[Forecast]) -> Panel {
    // Of the test, from a Monday on.
    let shown = 6 * 24..6 * 24 + WEEK;
    let curve = |name: &str, color, style, rides: &[f32]| {
        Curve::series(name, color, style, 0, rides[shown.clone()].iter().map(|rides| SCALE * rides))
    };
    let mut curves = vec![curve("rides", plot::BLACK, Style::Dots, &hours.rides[TEST..])];
    for (name, color) in [("week before", plot::GRAY), ("linear", plot::ORANGE), ("Lstm", plot::BLUE)] {
        let found = forecasts.iter().filter(|forecast| forecast.name == name);
        curves.extend(found.map(|forecast| curve(name, color, Style::Line, &forecast.rides)));
    }
    Panel::new("a week of November", Axis::linear("hours from Monday"), Axis::linear("rides an hour"), curves)
}
