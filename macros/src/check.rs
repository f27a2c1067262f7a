//! Whether a network's shapes and types fit.
//!
//! In: a network whose names are resolved. Out: nothing but mistakes. A shape is followed through the body until
//! something is not known; expressions that depend on something unknown are passed over.

use std::collections::HashMap;

use gradloom_runtime::layers::Gain;
use gradloom_runtime::types::{DType, Shape, TensorType};

use crate::diagnostics::{Errors, closest, declared};
use crate::resolve::{Clause, Expr, Network, Port, Stage, is_absurd};

/// Checks one network.
pub fn network(network: &Network<'_>, errors: &mut Errors) {
    let mut checker = Checker { network, types: HashMap::new(), params: Some(HashMap::new()), errors };
    checker.ports(&network.inputs);
    let result = checker.body();
    checker.outputs(result);
    checker.ports(&network.targets);
    checker.clauses();
}

struct Checker<'c> {
    network: &'c Network<'c>,
    /// What is known of the names in expressions.
    types: HashMap<&'c str, TensorType>,
    /// All parameters by path; `None` if some are not known.
    params: Option<HashMap<String, Shape>>,
    errors: &'c mut Errors,
}

impl<'c> Checker<'c> {
    fn ports(&mut self, ports: &'c [Port]) {
        self.types.extend(ports.iter().filter_map(|port| Some((port.name.as_str(), port.ty()?))));
    }

    /// The type after the last stage.
    fn body(&mut self) -> Option<TensorType> {
        let input = match &self.network.inputs[..] {
            [input] => Some(input),
            _ => None,
        };
        let mut x = input.and_then(Port::ty);
        let mut trace = match (&input, &x) {
            (Some(input), Some(ty)) => format!("{} {}", input.name, compact(&declared(ty))),
            _ => String::new(),
        };
        for stage in &self.network.body {
            x = x.and_then(|x| self.stage(stage.as_ref()?, &x, &mut trace));
            if x.is_none() {
                self.params = None;
            }
            if let (Some(alias), Some(ty)) = (stage.as_ref().and_then(|stage| stage.alias.as_ref()), &x) {
                self.types.insert(alias, ty.clone());
            }
        }
        x
    }

    fn stage(&mut self, stage: &'c Stage, x: &TensorType, trace: &mut String) -> Option<TensorType> {
        if x.dtype != DType::F32 {
            let port = &self.network.inputs[0].name;
            self.errors.layer_needs_floats(stage.site, &stage.text, port, x.dtype);
            return None;
        }
        let args = stage.args.as_ref()?;
        let shape = match (stage.layer.shape)(&x.shape, args) {
            Ok(shape) => shape,
            Err(misfit) => {
                self.errors.misfit(stage.site, &stage.text, &misfit, &x.shape, trace);
                return None;
            }
        };
        if is_absurd(&shape) {
            self.errors.too_large(stage.site, &format!("one row of the result of `{}`", stage.text));
            return None;
        }
        for param in (stage.layer.params)(&x.shape, args, Gain::Xavier) {
            let path = format!("{}.{}", stage.path, param.name);
            let shape = Shape::fixed(&param.shape);
            if is_absurd(&shape) {
                self.errors.too_large(stage.site, &format!("`{path}` {}", shape.declared()));
                return None;
            }
            if let Some(params) = &mut self.params {
                params.insert(path, shape);
            }
        }
        if shape != x.shape {
            trace.push_str(&format!(" -> {} {}", compact(&stage.text), compact(&shape.declared())));
        }
        Some(TensorType::f32(shape))
    }

    fn outputs(&mut self, result: Option<TensorType>) {
        let [output] = &self.network.outputs[..] else { return };
        let Some(declared) = output.ty() else { return };
        match (result, self.network.body.last()) {
            (Some(found), Some(Some(last))) if found != declared => {
                let types = [&declared, &found];
                self.errors.output_mismatch(output.site, &self.network.ast.name, &output.prefix, &last.text, types);
            }
            _ => drop(self.types.insert(&output.name, declared)),
        }
    }

    fn clauses(&mut self) {
        let network = self.network;
        if let Some(loss) = &network.loss {
            self.clause(loss, "the loss");
        }
        for metric in &network.metrics {
            self.clause(metric, &format!("the metric `{}`", metric.name));
        }
    }

    fn clause(&mut self, clause: &'c Clause<'_>, what: &str) {
        let Some(ty) = clause.expr.as_ref().and_then(|expr| self.expr(expr)) else { return };
        if ty != TensorType::scalar() {
            self.errors.not_a_number(clause.written.site, what, &ty);
        }
    }

    fn expr(&mut self, expr: &Expr<'_>) -> Option<TensorType> {
        match expr {
            Expr::Number(_) => Some(TensorType::scalar()),
            Expr::Name(name) => self.types.get(name.as_str()).cloned(),
            Expr::Param(path, site) => {
                let params = self.params.as_ref()?;
                if let Some(shape) = params.get(path) {
                    return Some(TensorType::f32(shape.clone()));
                }
                let mut paths: Vec<&str> = params.keys().map(String::as_str).collect();
                paths.sort_unstable();
                self.errors.unknown_parameter(*site, path, closest(path, paths));
                None
            }
            Expr::Neg(site, x) => {
                let ty = self.expr(x)?;
                if ty.dtype != DType::F32 {
                    self.errors.operator_misfit(*site, format!("`-` does not apply to {}", ty.dtype));
                    return None;
                }
                Some(ty)
            }
            Expr::Binary(op, site, x, y) => {
                let (x, y) = (self.expr(x), self.expr(y));
                let result = op.result(&x?, &y?);
                result.map_err(|reason| self.errors.operator_misfit(*site, reason)).ok()
            }
            Expr::Call(function, name, args, operands) => {
                let types: Vec<Option<TensorType>> = operands.iter().map(|operand| self.expr(operand)).collect();
                let types: Vec<&TensorType> = types.iter().map(Option::as_ref).collect::<Option<_>>()?;
                (function.ty)(&types, args).map_err(|reason| self.errors.function_misfit(name, &reason)).ok()
            }
            Expr::Apply(layer, name, args, x) => {
                let x = self.expr(x)?;
                if x.dtype != DType::F32 {
                    self.errors.function_misfit(name, &format!("needs f32, found {}", x.dtype));
                    return None;
                }
                let misfit = match (layer.shape)(&x.shape, args) {
                    Ok(shape) => return Some(TensorType::f32(shape)),
                    Err(misfit) => misfit,
                };
                let found = x.shape.declared();
                self.errors.function_misfit(name, &format!("needs {}, found {found}", misfit.needs));
                None
            }
        }
    }
}

/// As the trace writes it.
fn compact(text: &str) -> String {
    text.replace(' ', "")
}
