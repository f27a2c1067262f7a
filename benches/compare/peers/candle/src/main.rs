//! candle on the CPU, with its own matrix products. Its optimizers know no momentum, so that is written out here.

use std::hint::black_box;

use candle_core::{D, DType, Device, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{self as nn, BatchNorm, Linear, Module, ModuleT, Optimizer, VarBuilder, VarMap};
use peer_harness::{Workload, measure};

struct Stack {
    hidden: Vec<(Linear, Option<BatchNorm>)>,
    last: Linear,
    workload: Workload,
}

impl Stack {
    fn new(workload: Workload, vars: &VarBuilder<'_>) -> Result<Stack> {
        let widths = workload.widths();
        let (inner, outer) = widths.split_at(widths.len() - 1);
        let hidden = inner.windows(2).enumerate().map(|(index, pair)| {
            let vars = vars.pp(format!("hidden{index}"));
            let dense = match workload {
                Workload::DeepBn => nn::linear_no_bias(pair[0], pair[1], vars.pp("dense"))?,
                _ => nn::linear(pair[0], pair[1], vars.pp("dense"))?,
            };
            let norm = match workload {
                Workload::Xor => None,
                _ => Some(nn::batch_norm(pair[1], 1e-5, vars.pp("norm"))?),
            };
            Ok((dense, norm))
        });
        let last = nn::linear(inner[inner.len() - 1], outer[0], vars.pp("last"))?;
        Ok(Stack { hidden: hidden.collect::<Result<_>>()?, last, workload })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for (dense, norm) in &self.hidden {
            x = dense.forward(&x)?;
            if let Some(norm) = norm {
                x = norm.forward_t(&x, train)?;
            }
            x = match self.workload {
                Workload::Mlp => x.relu()?,
                Workload::Wide => x.gelu()?,
                Workload::Xor | Workload::DeepBn => x.tanh()?,
            };
        }
        let y = self.last.forward(&x)?;
        if self.workload == Workload::Xor { nn::ops::sigmoid(&y) } else { Ok(y) }
    }
}

enum Update {
    Sgd(nn::SGD),
    Adam(nn::AdamW),
    Momentum(Vec<(Var, Option<Tensor>)>),
}

impl Update {
    fn new(workload: Workload, vars: Vec<Var>) -> Result<Update> {
        let adam = |vars, weight_decay| {
            nn::AdamW::new(vars, nn::ParamsAdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay })
        };
        Ok(match workload {
            Workload::Xor => Update::Sgd(nn::SGD::new(vars, 0.1)?),
            Workload::Mlp => Update::Adam(adam(vars, 0.0)?),
            Workload::Wide => Update::Adam(adam(vars, 0.01)?),
            Workload::DeepBn => Update::Momentum(vars.into_iter().map(|var| (var, None)).collect()),
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        match self {
            Update::Sgd(sgd) => sgd.step(gradients),
            Update::Adam(adam) => adam.step(gradients),
            Update::Momentum(vars) => {
                for (var, velocity) in vars {
                    let Some(gradient) = gradients.get(var) else { continue };
                    let next = match velocity.take() {
                        Some(velocity) => ((velocity * 0.9)? + gradient)?,
                        None => gradient.copy()?,
                    };
                    var.set(&var.sub(&(&next * 0.01)?)?)?;
                    *velocity = Some(next.detach());
                }
                Ok(())
            }
        }
    }
}

struct Network {
    stack: Stack,
    update: Update,
    x: Tensor,
    row: Tensor,
    target: Tensor,
    loss: f32,
}

impl Network {
    fn new(workload: Workload) -> Result<Network> {
        let device = Device::Cpu;
        let vars = VarMap::new();
        let stack = Stack::new(workload, &VarBuilder::from_varmap(&vars, DType::F32, &device))?;
        let x = Tensor::from_vec(workload.inputs(), (workload.batch(), workload.widths()[0]), &device)?;
        let target = match workload {
            Workload::Xor => Tensor::from_vec(Workload::numbers(), (4, 1), &device)?,
            _ => Tensor::from_vec(workload.classes(), workload.batch(), &device)?,
        };
        // Running statistics are variables as well, but nothing trains them.
        let data = vars.data().lock().expect("one thread");
        let trained = data.iter().filter(|(name, _)| !name.contains("running_")).map(|(_, var)| var.clone()).collect();
        let (update, row) = (Update::new(workload, trained)?, x.narrow(0, 0, 1)?.copy()?);
        Ok(Network { stack, update, x, row, target, loss: 0.0 })
    }

    fn train(&mut self) -> Result<()> {
        let y = self.stack.forward(&self.x, true)?;
        let loss = match self.stack.workload {
            Workload::Xor => nn::loss::mse(&y, &self.target)?,
            _ => nn::loss::cross_entropy(&y.reshape(((), y.dim(D::Minus1)?))?, &self.target)?,
        };
        self.update.step(&loss.backward()?)?;
        self.loss = loss.to_scalar()?;
        Ok(())
    }
}

impl peer_harness::Network for Network {
    fn step(&mut self) {
        self.train().expect("shapes fit");
    }

    fn loss(&mut self) -> f32 {
        self.loss
    }

    fn predict_one(&mut self) {
        black_box(self.stack.forward(&self.row, false).expect("shapes fit"));
    }

    fn predict_batch(&mut self) {
        black_box(self.stack.forward(&self.x, false).expect("shapes fit"));
    }
}

fn main() {
    measure("candle", "0.11.1", "eager", |workload| Box::new(Network::new(workload).expect("it builds")));
}
