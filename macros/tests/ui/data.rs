//! Data that are not those of the network, and networks that no dataset fits.

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Dataset, Metrics, MetricsOf, Session, network};

network! {
    Net<x: [B, 8] -> y: [B, 4]> { Dense(4) }
    loss(label: [u8; B]) = cross_entropy(y, label);

    Two<x: [B, 8] -> y: [B, 4]> { Dense(4) }
}

fn main() {
    let _ = Dataset::new(Array2::<f32>::zeros((3, 8)), Array1::<i64>::zeros(3));
}

fn fit(net: &mut Session<Net>, two: &mut Session<Two>) {
    let mut data = Dataset::new(Array2::<f32>::zeros((3, 8)), Array1::<u16>::zeros(3)).unwrap();
    net.fit(&mut data);
    two.fit(&mut data);
}

fn accuracy(found: MetricsOf<Net>) -> Option<f32> {
    found.accuracy;
    found.metric("accuracy")
}
