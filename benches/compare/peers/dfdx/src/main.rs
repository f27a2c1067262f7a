//! dfdx on the CPU, whose shapes are known when it is compiled.

use std::hint::black_box;

use dfdx::optim::{Adam, AdamConfig, Momentum, Sgd, SgdConfig, WeightDecay};
use dfdx::prelude::*;
use peer_harness::{Workload, measure};

type Hidden<const I: usize, const O: usize, A> = (Linear<I, O>, BatchNorm1D<O>, A);
type Xor = ((Linear<2, 8>, Tanh), (Linear<8, 1>, Sigmoid));
type Mlp = (Hidden<784, 256, ReLU>, Hidden<256, 128, ReLU>, Linear<128, 10>);
type Same = Hidden<1024, 1024, FastGeLU>;
type Wide = (Same, Same, Same, Linear<1024, 10>);
type DeepBn = (Repeated<(UnbiasedLinear<256, 256>, BatchNorm1D<256>, Tanh), 20>, Linear<256, 10>);

/// The targets as dfdx wants them: numbers, or a row with a 1 for each class.
fn targets(workload: Workload) -> Vec<f32> {
    if workload == Workload::Xor {
        return Workload::numbers();
    }
    let one_hot = |class: u32| (0..10).map(move |other| f32::from(u8::from(other == class)));
    workload.classes().into_iter().flat_map(one_hot).collect()
}

/// A network of these types, in a module of its own, because the optimizer's type names that of the network.
macro_rules! network {
    ($name:ident, $workload:expr, $model:ty, $batch:literal x $inputs:literal -> $outputs:literal, $loss:expr, $optimizer:ident, $settings:expr) => {
        mod $name {
            use super::*;

            type Built = <$model as BuildOnDevice<Cpu, f32>>::Built;

            struct Network {
                model: Built,
                gradients: Option<Gradients<f32, Cpu>>,
                update: $optimizer<Built, f32, Cpu>,
                x: Tensor<Rank2<$batch, $inputs>, f32, Cpu>,
                row: Tensor<Rank2<1, $inputs>, f32, Cpu>,
                target: Tensor<Rank2<$batch, $outputs>, f32, Cpu>,
                loss: f32,
            }

            pub fn build() -> Box<dyn peer_harness::Network> {
                let device = Cpu::default();
                let model = device.build_module::<$model, f32>();
                let inputs = $workload.inputs();
                let row = inputs[..$inputs].to_vec();
                Box::new(Network {
                    gradients: Some(model.alloc_grads()),
                    update: $optimizer::new(&model, $settings),
                    x: device.tensor_from_vec(inputs, (Const::<$batch>, Const::<$inputs>)),
                    row: device.tensor_from_vec(row, (Const::<1>, Const::<$inputs>)),
                    target: device.tensor_from_vec(targets($workload), (Const::<$batch>, Const::<$outputs>)),
                    model,
                    loss: 0.0,
                })
            }

            impl peer_harness::Network for Network {
                fn step(&mut self) {
                    let gradients = self.gradients.take().expect("they are back after every step");
                    let loss = $loss(self.model.forward_mut(self.x.trace(gradients)), self.target.clone());
                    self.loss = loss.array();
                    let mut gradients = loss.backward();
                    self.update.update(&mut self.model, &gradients).expect("every parameter has a gradient");
                    self.model.zero_grads(&mut gradients);
                    self.gradients = Some(gradients);
                }

                fn loss(&mut self) -> f32 {
                    self.loss
                }

                fn predict_one(&mut self) {
                    black_box(self.model.forward(self.row.clone()));
                }

                fn predict_batch(&mut self) {
                    black_box(self.model.forward(self.x.clone()));
                }
            }
        }
    };
}

fn adam(weight_decay: Option<WeightDecay>) -> AdamConfig {
    AdamConfig { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay }
}

fn sgd(lr: f64, momentum: Option<Momentum>) -> SgdConfig {
    SgdConfig { lr, momentum, weight_decay: None }
}

network!(xor, Workload::Xor, Xor, 4 x 2 -> 1, mse_loss, Sgd, sgd(0.1, None));
network!(mlp, Workload::Mlp, Mlp, 128 x 784 -> 10, cross_entropy_with_logits_loss, Adam, adam(None));
network!(
    wide, Workload::Wide, Wide, 256 x 1024 -> 10,
    cross_entropy_with_logits_loss, Adam, adam(Some(WeightDecay::Decoupled(0.01)))
);
network!(
    deep_bn, Workload::DeepBn, DeepBn, 1024 x 256 -> 10,
    cross_entropy_with_logits_loss, Sgd, sgd(0.01, Some(Momentum::Classic(0.9)))
);

fn main() {
    measure("dfdx", "0.13.0", "eager", |workload| match workload {
        Workload::Xor => xor::build(),
        Workload::Mlp => mlp::build(),
        Workload::Wide => wide::build(),
        Workload::DeepBn => deep_bn::build(),
    });
}
