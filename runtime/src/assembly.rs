//! Networks that are put together when a program runs: their sizes are chosen then, or blocks and functions of other
//! `network! { .. }` are part of them, which the macro does not see.
//!
//! In: what the expansion of such a network calls, with its sizes. Out: a [`Definition`] like any other, with everything in its
//! place. It lives as long as the program, and is assembled once for the same sizes. What makes no sense is kept in it as a
//! mistake, which `elaborate` reports with all others.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::elaborate::words::too_many_stages;
use crate::elaborate::{MOST_NESTED, MOST_STAGES, arguments};
use crate::network::{
    Act, Assembled, At, Definition, Expr, Kind, Number, Outcome, Size, SourcePlace, Stage, Use, Value, fits_f32,
};

/// The sizes of a network that are chosen when a program runs: a struct with a field for each, `()` where there are none.
pub trait Sizes: Copy + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static {
    /// The names, in the order of the declaration.
    const NAMES: &'static [&'static str];

    /// From sizes in this order; those that are missing are as declared.
    fn from_values(values: &[usize]) -> Self;
}

impl Sizes for () {
    const NAMES: &'static [&'static str] = &[];

    fn from_values(_: &[usize]) {}
}

/// What an argument of a block stands for: `7 / 2` is 3 where a size is wanted, and 3.5 where a number is.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// As a size, or a truth value.
    pub size: Outcome,
    /// As a number, or a truth value.
    pub number: Outcome,
}

/// An argument as it is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The name, where it is given by one.
    pub name: Option<&'a str>,
    /// What it stands for.
    pub value: Bound,
    /// As the declaration writes it.
    pub text: &'a str,
    /// Where.
    pub at: At,
}

/// An operand of a function from elsewhere, as it is given.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The name, where it is given by one.
    pub name: Option<&'a str>,
    /// The operand.
    pub value: Expr<'static>,
    /// As the declaration writes it.
    pub text: &'a str,
    /// Where.
    pub at: At,
}

/// A block or a function that other networks use by its path: what `pub block` and `pub act` expand to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a block nor a function of a network",
    label = "no block and no function",
    note = "what other networks use by its path is declared with `pub block` or `pub act` in a `network! {{ .. }}`"
)]
pub trait Fragment: 'static {
    /// The name of the declaration.
    const NAME: &'static str;
    /// What a function is applied to; none of a block.
    const OPERAND: Option<&'static str>;
    /// The names of the arguments: of a block, or the trainable numbers of a function.
    const PARAMS: &'static [&'static str];
    /// Where everything in it is declared.
    const PLACES: &'static [SourcePlace];
    /// How many functions belong to it.
    const ACTS: usize;

    /// What an argument is that is left out, with those before it.
    fn default(param: usize, args: &[Bound]) -> Option<Bound>;

    /// Its stages, with these arguments.
    fn assemble(base: Base, args: &[Bound], assembly: &mut Assembly) -> Piece;
}

/// What a fragment comes to.
#[derive(Debug)]
pub enum Piece {
    /// The stages of a block.
    Block(&'static [Stage<'static>]),
    /// The function of this index.
    Act(usize),
}

/// Where the places and functions of a fragment begin among those of the whole.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// The first place.
    pub at: u32,
    /// The first function.
    pub act: usize,
}

impl Base {
    /// A place.
    pub fn at(self, index: u32) -> At {
        At(self.at + index)
    }
}

/// A definition that is being assembled.
#[derive(Debug, Default)]
pub struct Assembly {
    places: Vec<SourcePlace>,
    acts: Vec<Option<Act<'static>>>,
    uses: Vec<Use<'static>>,
    mistakes: Vec<(At, &'static str)>,
    /// How many fragments were put in so far.
    n_fragments: usize,
    /// Those that the present one is inside of, with itself.
    inside: Vec<TypeId>,
}

/// Lives as long as the program, as constants do.
pub fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Axes or extents, which are kept with the network that has them.
pub fn list(numbers: &[Number<'static>]) -> Value<'static> {
    Value::list(numbers.to_vec().leak())
}

/// As [`keep`], of several.
pub fn keep_all<T, const N: usize>(values: [T; N]) -> &'static [T] {
    keep(values)
}

/// The definition of a network with these sizes: assembled when it is asked for the first time.
pub fn assembled<N: 'static>(
    sizes: &[Size<'static>],
    assemble: impl FnOnce(&mut Assembly) -> Definition<'static>,
) -> &'static Definition<'static> {
    type Known = HashMap<(TypeId, Vec<Size<'static>>), &'static Definition<'static>>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    // Nothing can be half done in it: an entry is made of a finished definition.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (TypeId::of::<N>(), sizes.to_vec());
    known.entry(key).or_insert_with(|| {
        let mut assembly = Assembly::default();
        let definition = assemble(&mut assembly);
        assembly.finish(sizes, definition)
    })
}

impl Assembly {
    fn finish(self, sizes: &[Size<'static>], definition: Definition<'static>) -> &'static Definition<'static> {
        let assembled =
            Assembled { sizes: sizes.to_vec().leak(), uses: self.uses.leak(), mistakes: self.mistakes.leak() };
        let broken = || Act { name: None, operand: "x", extras: &[], expr: Expr::Broken };
        let acts: Vec<Act<'static>> = self.acts.into_iter().map(|act| act.unwrap_or_else(broken)).collect();
        keep(Definition {
            acts: acts.leak(),
            places: self.places.leak(),
            assembled: Some(keep(assembled)),
            ..definition
        })
    }

    /// Makes room for the places and functions of a network, or of one use of a fragment: a function in the body of a block may
    /// depend on the arguments of that use.
    pub fn begin(&mut self, places: &[SourcePlace], n_acts: usize) -> Base {
        let base = Base { at: self.places.len() as u32, act: self.acts.len() };
        self.places.extend_from_slice(places);
        self.acts.resize_with(base.act + n_acts, || None);
        base
    }

    /// Puts a function in its place.
    pub fn act(&mut self, index: usize, act: Act<'static>) {
        if let Some(place) = self.acts.get_mut(index) {
            *place = Some(act);
        }
    }

    fn mistake(&mut self, at: At, message: String) {
        self.mistakes.push((at, message.leak()));
    }

    /// A block or a function from elsewhere as a stage.
    pub fn stage<F: Fragment>(&mut self, at: At, text: &'static str, given: &[Given<'_>]) -> Kind<'static> {
        let Some(args) = self.args::<F>(at, given) else { return Kind::Broken };
        match self.fragment::<F>(at, text, &args) {
            Some(Piece::Block(stages)) => Kind::Block(stages),
            Some(Piece::Act(index)) => {
                let starts: Vec<f64> = args.iter().map(|arg| arg.number.to_f64()).collect();
                for (arg, name) in args.iter().zip(F::PARAMS) {
                    if !fits_f32(arg.number.to_f64()) {
                        self.mistake(at, arguments::no_start(F::NAME, name, arg.number));
                    }
                }
                Kind::Act(index, starts.leak())
            }
            None => Kind::Broken,
        }
    }

    /// A function from elsewhere in an expression, applied to operands, some of which may have names.
    pub fn function<F: Fragment>(&mut self, at: At, text: &'static str, given: &[Operand<'_>]) -> Expr<'static> {
        let Some(operand) = F::OPERAND else {
            self.mistake(at, arguments::stage_as_function(F::NAME));
            return Expr::Broken;
        };
        let names: Vec<&str> = std::iter::once(operand).chain(F::PARAMS.iter().copied()).collect();
        let mut operands = vec![None; names.len()];
        for (position, operand) in given.iter().enumerate() {
            let place = match operand.name {
                Some(name) => names
                    .iter()
                    .position(|known| *known == name)
                    .ok_or_else(|| arguments::unknown_argument(name, F::NAME, &names)),
                None if position == 0 => Ok(0),
                None if position < names.len() => {
                    Err(arguments::option_without_name(F::NAME, names[position], operand.text))
                }
                None => Err(arguments::too_many_arguments(F::NAME, &names)),
            };
            let message = match place {
                Ok(place) if operands[place].is_none() => {
                    operands[place] = Some(operand.value);
                    continue;
                }
                Ok(place) => arguments::duplicate_argument(F::NAME, names[place]),
                Err(message) => message,
            };
            self.mistake(operand.at, message);
            return Expr::Broken;
        }
        let missing = operands.iter().position(Option::is_none);
        if let Some(missing) = missing {
            let message = match missing {
                0 => arguments::missing_argument(F::NAME, names[0], ""),
                _ => arguments::extra_without_owner(F::NAME, names[missing]),
            };
            self.mistake(at, message);
            return Expr::Broken;
        }
        let defaults = defaults::<F>(vec![None; F::PARAMS.len()]).unwrap_or_default();
        match self.fragment::<F>(at, text, &defaults) {
            Some(Piece::Act(index)) => {
                let operands: Vec<Expr<'static>> = operands.into_iter().flatten().collect();
                Expr::Inline(index, at, operands.leak())
            }
            _ => Expr::Broken,
        }
    }

    /// The arguments in the order of the declaration; none if they do not fit it.
    fn args<F: Fragment>(&mut self, at: At, given: &[Given<'_>]) -> Option<Vec<Bound>> {
        let mut bound = vec![None; F::PARAMS.len()];
        for (position, argument) in given.iter().enumerate() {
            let place = match argument.name {
                Some(name) => F::PARAMS.iter().position(|known| *known == name),
                None => Some(position),
            };
            let message = match place.map(|place| bound.get_mut(place)) {
                Some(Some(place)) if place.is_none() => {
                    *place = Some(argument.value);
                    continue;
                }
                Some(Some(_)) => arguments::duplicate_argument(F::NAME, argument.name.unwrap_or_default()),
                Some(None) => arguments::too_many_arguments(F::NAME, F::PARAMS),
                None => arguments::unknown_argument(argument.name.unwrap_or_default(), F::NAME, F::PARAMS),
            };
            self.mistake(argument.at, message);
            return None;
        }
        match defaults::<F>(bound) {
            Ok(args) => Some(args),
            Err(missing) => {
                self.mistake(at, arguments::missing_argument(F::NAME, F::PARAMS[missing], ""));
                None
            }
        }
    }

    /// A fragment with its arguments, inside the one that is assembled now.
    fn fragment<F: Fragment>(&mut self, at: At, text: &'static str, args: &[Bound]) -> Option<Piece> {
        self.n_fragments += 1;
        if self.n_fragments > MOST_STAGES {
            if self.n_fragments == MOST_STAGES + 1 {
                self.mistake(at, too_many_stages());
            }
            return None;
        }
        let message = match () {
            () if self.inside.contains(&TypeId::of::<F>()) => match F::OPERAND {
                Some(_) => arguments::recursive_act(F::NAME),
                None => arguments::recursive_block(F::NAME),
            },
            () if self.inside.len() == MOST_NESTED => arguments::nested_too_deeply(text),
            () => String::new(),
        };
        if !message.is_empty() {
            self.mistake(at, message);
            return None;
        }
        let base = self.begin(F::PLACES, F::ACTS);
        self.uses.push(Use { first: base.at, count: F::PLACES.len() as u32, text, at });
        self.inside.push(TypeId::of::<F>());
        let piece = F::assemble(base, args, self);
        self.inside.pop();
        Some(piece)
    }
}

/// What is left out, as the fragment declares it; the first argument that has to be given if it is not.
fn defaults<F: Fragment>(given: Vec<Option<Bound>>) -> Result<Vec<Bound>, usize> {
    let mut args = Vec::with_capacity(given.len());
    for (param, given) in given.into_iter().enumerate() {
        args.push(given.or_else(|| F::default(param, &args)).ok_or(param)?);
    }
    Ok(args)
}
