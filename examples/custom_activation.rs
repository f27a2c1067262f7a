//! A function of one's own as activation: its derivative, the check of its gradient, and what it learns.
//!
//! ```text
//! cargo run --example custom_activation
//! ```
//!
//! Prints what differentiation makes of the function, line by line of the IR; the gradients of the whole network against the
//! slopes of its loss; and how well the same network fits a curve with this function and with `relu`.

use std::error::Error;

use gradloom::ndarray::Array2;
use gradloom::{Adam, Network, Session, Stage, network};

network! {
    // Serf (Nag & Bhattacharyya 2021), with a sharpness that is trained. The compiler writes ln(1 + exp) as softplus, which
    // does not overflow.
    act serf = |x, beta = 1.0| x * erf(ln(1.0 + exp(beta * x)));

    /// A curve over one variable, put together of smooth bends.
    pub Smooth<x: [B, 1] -> y: [B, 1]> { Dense(24), serf, Dense(24), serf, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    /// The same of straight pieces.
    pub Straight<x: [B, 1] -> y: [B, 1]> { Dense(24), relu, Dense(24), relu, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

const STEPS: usize = 3000;
const RATE: f64 = 5e-3;

fn main() -> Result<(), Box<dyn Error>> {
    let backward = Smooth::ir(Stage::Backward);
    println!("the first `serf` and its derivative:");
    backward.lines().filter(|line| line.contains("# serf1")).for_each(|line| println!("  {line}"));

    let (x, t) = curve(256);
    let (few, targets) = curve(8);
    let report = Smooth::gradcheck(few.view(), targets.view())?;
    println!("\n{report}");
    if !report.passed() {
        return Err("a gradient is wrong".into());
    }

    let mut smooth = Smooth::trainer(Adam::new(RATE)).max_batch(256).seed(1).build()?;
    let mut straight = Straight::trainer(Adam::new(RATE)).max_batch(256).seed(1).build()?;
    println!("step      serf      relu");
    for step in 1..=STEPS {
        anneal(&mut smooth, step)?;
        anneal(&mut straight, step)?;
        let (serf, relu) = (smooth.step(x.view(), t.view())?.loss, straight.step(x.view(), t.view())?.loss);
        if step == 1 || step % 500 == 0 {
            println!("{step:>4}  {serf:.2e}  {relu:.2e}");
        }
    }
    let beta = |name: &str| smooth.param(name).map(|beta| beta.sum());
    println!("beta went from 1 to {:.3} and {:.3}", beta("serf1.beta")?, beta("serf2.beta")?);
    Ok(())
}

/// Half a cosine from the first rate to zero.
fn anneal<N: Network>(net: &mut Session<N>, step: usize) -> Result<(), Box<dyn Error>> {
    let turn = std::f64::consts::PI * step as f64 / STEPS as f64;
    Ok(net.set_learning_rate(RATE * 0.5 * (1.0 + turn.cos()))?)
}

/// Two waves over [-1, 1].
fn curve(n: usize) -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((n, 1), |(row, _)| 2.0 * (row as f32 + 0.5) / n as f32 - 1.0);
    let t = x.mapv(|x| (3.0 * x).sin() + 0.3 * (11.0 * x).cos());
    (x, t)
}
