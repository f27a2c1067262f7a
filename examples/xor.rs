//! The smallest network that one layer cannot be: exclusive or.
//!
//! ```text
//! cargo run --release --example xor
//! ```
//!
//! Prints the loss as it falls and the four answers.

use gradloom::ndarray::{Array2, array};
use gradloom::{Sgd, network};

network! {
    /// Two inputs, eight hidden units, one probability.
    pub Xor<x: [B, 2] -> y: [B, 1]> { Dense(8), tanh, Dense(1), sigmoid }
    loss(target: [B, 1]) = mse(y, target);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let x = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    let target: Array2<f32> = array![[0.0], [1.0], [1.0], [0.0]];
    let mut net = Xor::trainer(Sgd::new(1.0)).max_batch(4).seed(1).build()?;
    for step in 0..=5000 {
        let report = net.step(x.view(), target.view())?;
        if step % 1000 == 0 {
            println!("step {step:>5}  loss {:.5}", report.loss);
        }
    }
    let y = net.predict(x.view())?;
    for (input, answer) in x.rows().into_iter().zip(y.rows()) {
        println!("{} xor {} = {:.3}", input[0], input[1], answer[0]);
    }
    Ok(())
}
