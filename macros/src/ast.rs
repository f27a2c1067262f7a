//! A declaration as it is written: names are not resolved and nothing is known to make sense.
//!
//! Where the parser had to skip something there is a `Broken` node, on which the later phases stay silent.

use std::fmt;

use gradloom_runtime::network::{BinaryOp, UNARY_LEVEL};
use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::{Attribute, Visibility};

/// Everything inside one `network! { .. }`.
#[derive(Default)]
pub struct Program {
    pub consts: Vec<Const>,
    pub acts: Vec<Act>,
    pub blocks: Vec<Block>,
    pub nets: Vec<Net>,
}

/// `act name = |x| ..;`
pub struct Act {
    /// Whether other networks may use it, by its path.
    pub vis: Visibility,
    pub docs: Vec<Attribute>,
    pub name: Ident,
    pub lambda: Lambda,
}

/// `|x, beta = 1.0| x * sigmoid(beta * x)`
pub struct Lambda {
    pub operand: Ident,
    /// Trainable numbers and how they start.
    pub extras: Vec<(Ident, Expr)>,
    pub body: Expr,
}

/// `block Name(c, heads = 4) { .. }`
pub struct Block {
    /// Whether other networks may use it, by its path.
    pub vis: Visibility,
    pub docs: Vec<Attribute>,
    pub name: Ident,
    pub params: Vec<(Ident, Option<Expr>)>,
    pub body: Body,
}

/// `const NAME = value;`
pub struct Const {
    pub docs: Vec<Attribute>,
    pub name: Ident,
    pub value: Expr,
}

/// A network with its loss and its metrics.
pub struct Net {
    /// Those of Rust.
    pub attrs: Vec<Attribute>,
    /// How loudly this network is to be told of which lint of the macro, where it says so; the last of several holds.
    pub levels: Vec<Setting>,
    pub vis: Visibility,
    pub name: Ident,
    /// Those that are chosen when the program runs.
    pub sizes: Vec<Size>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// The stages, where the body is a list of them.
    pub body: Body,
    /// The lines, where the body is made of named flows.
    pub lines: Vec<Line>,
    pub losses: Vec<Loss>,
    pub metrics: Vec<Metric>,
    pub scalars: Vec<Scalar>,
}

/// `name: usize = default`
pub struct Size {
    pub docs: Vec<Attribute>,
    pub name: Ident,
    pub default: Expr,
}

/// A block or a function of another `network! { .. }`, by its path.
#[derive(Clone)]
pub struct Foreign {
    /// As written: `blocks::Res`.
    pub text: String,
    /// As rustc is to read it.
    pub path: TokenStream,
    /// The end of the path.
    pub name: Ident,
}

/// How loudly a network is told of a lint, and where it says so.
pub struct Setting {
    pub lint: &'static str,
    pub level: Level,
    pub span: Span,
}

/// As rustc has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Allow,
    Warn,
    Deny,
}

/// `name: [dtype; dims]`
pub struct Port {
    pub name: Option<Ident>,
    pub dtype: Option<Ident>,
    pub dims: Vec<Expr>,
    /// The brackets.
    pub site: Site,
}

/// `{ stage, stage, .. }`
pub struct Body {
    pub stages: Vec<Stage>,
    /// From the opening to the closing brace.
    pub site: Site,
}

/// A line of a body of named flows.
pub enum Line {
    Flow(Flow),
    /// `layer name = stage;`
    Layer(Ident, Stage),
}

/// `let u = x -> stage, ..;`, `let (u, v) = x -> .., split;` or `y = expression;`
pub struct Flow {
    /// Whether there is a `let`.
    pub is_let: bool,
    pub names: Vec<Ident>,
    pub sources: Vec<Expr>,
    pub stages: Vec<Stage>,
}

/// `.. as alias`
pub struct Stage {
    pub kind: StageKind,
    pub alias: Option<Ident>,
    /// Without the alias, and without bodies.
    pub site: Site,
}

/// What a stage does.
pub enum StageKind {
    /// `Name(args)`: a layer, an activation, an `act` or a block.
    Call(Ident, Vec<Argument>),
    /// `blocks::Res(64)`: a block or a function of another `network! { .. }`.
    Elsewhere(Box<Foreign>, Vec<Argument>),
    Lambda(Lambda),
    /// `residual { .. } skip { .. }`
    Residual(Body, Option<Body>),
    /// `repeat(count) { .. }`
    Repeat(Vec<Argument>, Body),
    /// `concat { { .. }, { .. } }`
    Concat(Vec<Body>),
    /// `scan(args) |x, h| ..`
    Scan(Box<Scan>),
    /// `{ .. }`, what a layer with a name stands for.
    Body(Body),
    Broken,
}

/// `scan(64) |x, h, decay = 0.9| { let z = ..; z }`
pub struct Scan {
    pub args: Vec<Argument>,
    pub element: Ident,
    pub state: Ident,
    /// Trainable numbers and how they start.
    pub extras: Vec<(Ident, Expr)>,
    pub lines: Vec<Line>,
    /// What the next state is made of.
    pub next: Next,
}

/// The end of the body of a loop: an expression, or `(x, h) -> concat, Dense(8)`.
pub struct Next {
    pub sources: Vec<Expr>,
    pub stages: Vec<Stage>,
    pub site: Site,
}

impl Scan {
    /// The names before the body.
    pub fn names(&self) -> impl Iterator<Item = &Ident> {
        [&self.element, &self.state].into_iter().chain(self.extras.iter().map(|(name, _)| name))
    }

    /// The stages of all lines.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        let of_lines = self.lines.iter().flat_map(|line| match line {
            Line::Layer(_, stage) => std::slice::from_ref(stage),
            Line::Flow(flow) => &flow.stages[..],
        });
        of_lines.chain(&self.next.stages)
    }

    /// What flows into all lines.
    pub fn sources(&self) -> impl Iterator<Item = &Expr> {
        let of_lines = self.lines.iter().flat_map(|line| match line {
            Line::Layer(..) => &[][..],
            Line::Flow(flow) => &flow.sources[..],
        });
        of_lines.chain(&self.next.sources)
    }
}

/// `value` or `name = value`
pub struct Argument {
    pub name: Option<Ident>,
    pub value: Expr,
}

/// `loss(targets) = expr;`
pub struct Loss {
    pub docs: Vec<Attribute>,
    pub keyword: Ident,
    pub targets: Vec<Port>,
    pub expr: Expr,
}

/// `metric name = expr;`
pub struct Metric {
    pub docs: Vec<Attribute>,
    pub name: Ident,
    pub expr: Expr,
}

/// `scalar name = number;`
pub struct Scalar {
    pub name: Ident,
    pub value: Expr,
}

/// An expression and where it stands.
pub struct Expr {
    pub kind: ExprKind,
    pub site: Site,
    /// Levels of nesting, bounded by the parser so that everything after it may recurse.
    pub depth: usize,
}

pub enum ExprKind {
    /// The value and the digits as written.
    Int(i64, String),
    /// The value and the digits as written.
    Float(f64, String),
    Flag(bool),
    /// `[1.0, 2.0]`
    List(Vec<Expr>),
    /// `(3, 5)`
    Tuple(Vec<Expr>),
    /// `crate::HIDDEN`, as written and as rustc is to read it.
    Path(String, TokenStream),
    /// A string or character literal, which the language has no use for; as written, and its content.
    Text(String, String),
    Name(Ident),
    /// `repeat1.2.dense1.weight`: as written, and the names in it.
    Member(String, Vec<Ident>),
    Paren(Box<Expr>),
    Neg(Box<Expr>),
    Not(Box<Expr>),
    Binary(Operator, Site, Box<Expr>, Box<Expr>),
    Call(Ident, Vec<Argument>),
    /// `acts::swish(x)`: a function of another `network! { .. }`.
    Elsewhere(Box<Foreign>, Vec<Argument>),
    /// `if p { x } else { y }`
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `x[.., 0..8]`
    Part(Box<Expr>, Vec<Range>),
    Broken,
}

/// What is taken along an axis.
pub enum Range {
    /// `..`, `2..8`, `2..` or `..8`
    Between(Option<Expr>, Option<Expr>),
    /// `3`
    One(Expr),
}

impl Range {
    /// The numbers in it.
    pub fn bounds(&self) -> impl Iterator<Item = &Expr> {
        let bounds = match self {
            Range::Between(from, to) => [from.as_ref(), to.as_ref()],
            Range::One(at) => [Some(at), None],
        };
        bounds.into_iter().flatten()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Between(from, to) => {
                from.iter().try_for_each(|from| write!(f, "{from}"))?;
                f.write_str("..")?;
                to.iter().try_for_each(|to| write!(f, "{to}"))
            }
            Range::One(at) => write!(f, "{at}"),
        }
    }
}

/// An infix operator; `%` only works on sizes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Of(BinaryOp),
    Rem,
}

impl Operator {
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Of(op) => op.symbol(),
            Operator::Rem => "%",
        }
    }

    /// How tightly it binds, and how tightly its operands have to.
    fn levels(self) -> (u8, (u8, u8)) {
        let op = match self {
            Operator::Of(op) => op,
            Operator::Rem => BinaryOp::Div,
        };
        (op.level(), op.operand_levels())
    }
}

/// From one token to another. Stable Rust cannot join spans, so both are kept and rustc underlines what is between.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub start: Span,
    pub end: Span,
}

impl Site {
    pub fn to(self, end: impl Into<Site>) -> Site {
        Site { start: self.start, end: end.into().end }
    }
}

impl From<Span> for Site {
    fn from(span: Span) -> Site {
        Site { start: span, end: span }
    }
}

impl From<&Ident> for Site {
    fn from(ident: &Ident) -> Site {
        ident.span().into()
    }
}

/// The name without `r#`.
pub fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

impl Expr {
    /// What stands where the parser could not go on.
    pub fn broken(site: impl Into<Site>) -> Expr {
        Expr { kind: ExprKind::Broken, site: site.into(), depth: 1 }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Int(_, digits) | ExprKind::Float(_, digits) => f.write_str(digits),
            ExprKind::Flag(value) => write!(f, "{value}"),
            ExprKind::Text(literal, _) => f.write_str(literal),
            ExprKind::Name(name) => f.write_str(&text(name)),
            ExprKind::Member(path, _) => f.write_str(path),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Neg(x) => write!(f, "-{}", x.least(UNARY_LEVEL)),
            ExprKind::Not(x) => write!(f, "!{}", x.least(UNARY_LEVEL)),
            ExprKind::Binary(op, _, x, y) => {
                let (_, (left, right)) = op.levels();
                write!(f, "{} {} {}", x.least(left), op.symbol(), y.least(right))
            }
            ExprKind::Call(name, args) => write!(f, "{}({})", text(name), list(args)),
            ExprKind::Elsewhere(foreign, args) => write!(f, "{}({})", foreign.text, list(args)),
            ExprKind::List(elements) => {
                let elements: Vec<String> = elements.iter().map(Expr::to_string).collect();
                write!(f, "[{}]", elements.join(", "))
            }
            ExprKind::Tuple(elements) => {
                let elements: Vec<String> = elements.iter().map(Expr::to_string).collect();
                write!(f, "({})", elements.join(", "))
            }
            ExprKind::Path(path, _) => f.write_str(path),
            ExprKind::If(condition, x, y) => match y.kind {
                ExprKind::If(..) => write!(f, "if {condition} {{ {x} }} else {y}"),
                _ => write!(f, "if {condition} {{ {x} }} else {{ {y} }}"),
            },
            ExprKind::Part(x, ranges) => {
                let ranges: Vec<String> = ranges.iter().map(Range::to_string).collect();
                write!(f, "{}[{}]", x.least(UNARY_LEVEL + 1), ranges.join(", "))
            }
            ExprKind::Broken => f.write_str("?"),
        }
    }
}

/// What another macro put in has no parentheses of its own, so it gets them where it would read as something else.
struct Least<'e>(&'e Expr, u8);

impl fmt::Display for Least<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Least(expr, least) = self;
        let level = match &expr.kind {
            ExprKind::Binary(op, ..) => op.levels().0,
            ExprKind::If(..) => 0,
            ExprKind::Neg(_) | ExprKind::Not(_) => UNARY_LEVEL,
            _ => UNARY_LEVEL + 1,
        };
        if level < *least { write!(f, "({expr})") } else { write!(f, "{expr}") }
    }
}

impl Expr {
    fn least(&self, level: u8) -> Least<'_> {
        Least(self, level)
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} = {}", text(name), self.value),
            None => write!(f, "{}", self.value),
        }
    }
}

/// As messages and tables write it: without bodies.
impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageKind::Call(name, args) if args.is_empty() => f.write_str(&text(name)),
            StageKind::Call(name, args) => write!(f, "{}({})", text(name), list(args)),
            StageKind::Elsewhere(foreign, args) if args.is_empty() => f.write_str(&foreign.text),
            StageKind::Elsewhere(foreign, args) => write!(f, "{}({})", foreign.text, list(args)),
            StageKind::Lambda(lambda) => write!(f, "{lambda}"),
            StageKind::Residual(..) => f.write_str("residual"),
            StageKind::Repeat(args, _) => write!(f, "repeat({})", list(args)),
            StageKind::Concat(_) => f.write_str("concat"),
            StageKind::Scan(scan) if scan.args.is_empty() => f.write_str("scan"),
            StageKind::Scan(scan) => write!(f, "scan({})", list(&scan.args)),
            StageKind::Body(_) => f.write_str("{ .. }"),
            StageKind::Broken => f.write_str("?"),
        }
    }
}

impl fmt::Display for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extras = self.extras.iter().map(|(name, value)| format!("{} = {value}", text(name)));
        let names: Vec<String> = std::iter::once(text(&self.operand)).chain(extras).collect();
        write!(f, "|{}| {}", names.join(", "), self.body)
    }
}

pub fn list(args: &[Argument]) -> String {
    let args: Vec<String> = args.iter().map(Argument::to_string).collect();
    args.join(", ")
}
