//! burn with autodiff on its `flex` backend for CPUs.

use std::hint::black_box;

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use peer_harness::{Workload, measure};

#[derive(Module, Debug)]
struct Stack {
    hidden: Vec<Linear>,
    norms: Vec<BatchNorm>,
    last: Linear,
    /// The place of the workload in the list of all.
    workload: usize,
}

const WORKLOADS: [Workload; 4] = [Workload::Xor, Workload::Mlp, Workload::Wide, Workload::DeepBn];

impl Stack {
    fn new(workload: Workload, device: &Device) -> Stack {
        let widths = workload.widths();
        let (inner, outer) = widths.split_at(widths.len() - 1);
        let bias = workload != Workload::DeepBn;
        let dense = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).with_bias(bias).init(device);
        let norms = if workload == Workload::Xor { &[][..] } else { &inner[1..] };
        Stack {
            hidden: inner.windows(2).map(dense).collect(),
            norms: norms.iter().map(|&width| BatchNormConfig::new(width).init(device)).collect(),
            last: LinearConfig::new(inner[inner.len() - 1], outer[0]).init(device),
            workload: WORKLOADS.iter().position(|&other| other == workload).expect("all are listed"),
        }
    }

    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        let workload = WORKLOADS[self.workload];
        for (index, dense) in self.hidden.iter().enumerate() {
            x = dense.forward(x);
            if let Some(norm) = self.norms.get(index) {
                x = norm.forward(x);
            }
            x = match workload {
                Workload::Mlp => activation::relu(x),
                Workload::Wide => activation::gelu_approximate(x),
                Workload::Xor | Workload::DeepBn => activation::tanh(x),
            };
        }
        let y = self.last.forward(x);
        if workload == Workload::Xor { activation::sigmoid(y) } else { y }
    }
}

struct Network<L> {
    /// Taken out for a moment by every update.
    stack: Option<Stack>,
    update: ModuleOptimizer,
    rate: f64,
    x: Tensor<2>,
    criterion: L,
    /// Without gradients: made anew after training.
    inference: Option<Stack>,
    row: Tensor<2>,
    rows: Tensor<2>,
    loss: f32,
}

impl<L> Network<L> {
    fn stack(&self) -> &Stack {
        self.stack.as_ref().expect("it is back after every step")
    }

    fn predict(&mut self, x: Tensor<2>) {
        if self.inference.is_none() {
            self.inference = Some(self.stack().valid());
        }
        black_box(self.inference.as_ref().expect("just made").forward(x));
    }
}

impl<L: Fn(Tensor<2>) -> Tensor<1>> peer_harness::Network for Network<L> {
    fn step(&mut self) {
        self.inference = None;
        let stack = self.stack.take().expect("it is back after every step");
        let loss = (self.criterion)(stack.forward(self.x.clone()));
        let gradients = GradientsParams::from_grads(loss.backward(), &stack);
        self.stack = Some(self.update.step(self.rate, stack, gradients));
        self.loss = loss.into_scalar::<f32>();
    }

    fn loss(&mut self) -> f32 {
        self.loss
    }

    fn predict_one(&mut self) {
        self.predict(self.row.clone());
    }

    fn predict_batch(&mut self) {
        self.predict(self.rows.clone());
    }
}

fn build(workload: Workload) -> Box<dyn peer_harness::Network> {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let (batch, width) = (workload.batch(), workload.widths()[0]);
    let inputs = |device: &Device| Tensor::<2>::from_data(TensorData::new(workload.inputs(), [batch, width]), device);
    let (update, rate): (ModuleOptimizer, f64) = match workload {
        Workload::Xor => (SgdConfig::new().init(), 0.1),
        Workload::Mlp => (AdamConfig::new().with_epsilon(1e-8).init(), 1e-3),
        Workload::Wide => (AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init(), 1e-3),
        Workload::DeepBn => {
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            (SgdConfig::new().with_momentum(Some(momentum)).init(), 0.01)
        }
    };
    let rows = inputs(&plain);
    macro_rules! network {
        ($criterion:expr) => {
            Box::new(Network {
                stack: Some(Stack::new(workload, &device)),
                update,
                rate,
                x: inputs(&device),
                criterion: $criterion,
                inference: None,
                row: rows.clone().narrow(0, 0, 1),
                rows,
                loss: 0.0,
            })
        };
    }
    if workload == Workload::Xor {
        let target = Tensor::<2>::from_data(TensorData::new(Workload::numbers(), [batch, 1]), &device);
        return network!(move |y| MseLoss::new().forward(y, target.clone(), Reduction::Mean));
    }
    let classes: Vec<i32> = workload.classes().into_iter().map(|class| class as i32).collect();
    let target = Tensor::<1, Int>::from_data(TensorData::new(classes, [batch]), &device);
    let criterion = CrossEntropyLossConfig::new().init(&device);
    network!(move |y| criterion.forward(y, target.clone()))
}

fn main() {
    measure("burn", "0.22.1", "flex", build);
}
