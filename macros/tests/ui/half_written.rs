//! While a body is being written there is one error, though the rest of the program uses all of the network.

use std::error::Error;

use gradloom::ndarray::{ArrayView1, ArrayView2};
use gradloom::{Adam, Session, Stage, network};

macro_rules! used {
    () => {
        pub fn run(images: ArrayView2<'_, f32>, labels: ArrayView1<'_, u8>) -> Result<f32, Box<dyn Error>> {
            let mut net: Session<Mlp> = Mlp::trainer(Adam::new(1e-3)).max_batch(8).build()?;
            let step: gradloom::MetricsOf<Mlp> = net.step(images, labels)?;
            let sum = net.predict(images)?.sum() + net.gradients(images, labels)?.get("dense1.weight")?.sum();
            println!("{net} {} {}", Mlp::gradcheck(images, labels)?, Mlp::ir(Stage::Static));
            Ok(step.loss + step.accuracy + sum)
        }
    };
}

mod stage {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(256), Batch }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod nothing {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> {}
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod no_body {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]>
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod arguments {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(256, bias = ), relu, Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod no_size {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(), relu, Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod path {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(crate::), relu, Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod alias {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(256), relu as , Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod function {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(256), |x| x * , Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod structure {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(256), residual { Dense(256), }, repeat }
        loss(label: [u8; B]) = cross_entropy(logits, label);
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

mod clauses {
    use super::*;
    network! {
        pub Mlp<image: [B, 784] -> logits: [B, 10]> { Dense(10) }
        loss(label: [u8; B]) = cross_entropy(logits, );
        metric accuracy = mean(argmax(logits) == label);
    }
    used!();
}

fn main() {}
