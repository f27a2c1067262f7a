//! The smallest problem that one layer cannot solve: exclusive or.
//!
//! ```text
//! cargo run --example xor
//! ```
//!
//! Prints the loss as it falls, then the four answers: near 0 where the inputs agree, near 1 where they differ.

use std::error::Error;
use std::time::Instant;

use gradloom::ndarray::{Array2, array};
use gradloom::{Sgd, network};

network! {
    /// Two inputs, eight hidden units, one probability.
    pub Xor<x: [B, 2] -> y: [B, 1]> { Dense(8), tanh, Dense(1), sigmoid }
    loss(target: [B, 1]) = mse(y, target);
}

const STEPS: u32 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let x: Array2<f32> = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    let target: Array2<f32> = array![[0.0], [1.0], [1.0], [0.0]];
    let mut net = Xor::trainer(Sgd::new(2.0)).max_batch(4).seed(1).build()?;

    let start = Instant::now();
    for step in 1..=STEPS {
        let report = net.step(x.view(), target.view())?;
        if step == 1 || step % 200 == 0 {
            println!("step {step:>4}  loss {:.4}", report.loss);
        }
    }
    println!("{:.2} us a step\n", 1e6 * start.elapsed().as_secs_f64() / f64::from(STEPS));

    let y = net.predict(x.view())?;
    for (input, answer) in x.rows().into_iter().zip(y.rows()) {
        println!("{} xor {} = {:.3}", input[0], input[1], answer[0]);
    }
    Ok(())
}
