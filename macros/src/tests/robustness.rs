//! Whatever it is given, the macro gives Rust back, and either constants or mistakes.

use std::collections::VecDeque;

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};
use quote::ToTokens;

const PROGRAMS: [&str; 5] = [
    "const H = 4 * (16 - 2) / 3 % 7;
     /// Docs.
     pub(crate) Mlp<image: [B, 784] -> logits: [B, 10]> {
         Dense(256, bias = false), BatchNorm(momentum = 0.9, every = 1), relu as h,
         Dense(H, init = zeros), gelu(approx = tanh), Dense(10),
     }
     loss(label: [u8; B], weight: [B]) = cross_entropy(logits, label) + 1e-4 * mean(dense3.weight * -2) - mean(abs(h));
     metric accuracy = mean(argmax(logits) == label);",
    "act swish = |x, beta = 1.0| x * sigmoid(beta * x);
     block Res(c) { residual { Conv2d(c, 3, pad = 1, bias = false), BatchNorm, relu } skip { Dense(4) }, relu, }
     pub Net<tokens: [u16; B, 64] -> [B, 64, 65]> { Embedding(65, 128), repeat(4) { Res(128, heads = 4) }, |x| x * tanh(x) }
     loss(next: [u16; B, 64]) = if next > 0 { 1 } else { 2 };",
    "Two<(user: [B, 64], item: [B, 32]) -> (score: [B], emb: [B, 16])> {
         let u = user -> Dense(128), relu, Dense(16);
         emb = (u, v) -> concat, Dense(16), relu, LayerNorm;
     }
     loss(y: [B]) = bce_with_logits(score, y);",
    "block Cell(n) { scan(n, last = true) |x, h, a = 0.5| a * h + x }
     Loops<(x: [B, 5, 4], s: [B, 4], n: [u8; B]) -> y: [B, 5, 4]> {
         y = x -> scan(4, initial = s, lengths = n, reverse = true) |x, h, decay = 0.9| {
             let (a, b) = (x, h) -> concat, Dense(8) as both, split;
             let z = if a > 0.0 { a } else { decay * b + both[.., 4..] };
             (z, h) -> concat, repeat(2) { Dense(4), tanh }
         } as all, scan |x, h| tanh(x + h);
     }
     loss(t: [B, 5, 4]) = mse(y, t) + mean(all);",
    "fn f<'a>(x: &'a str) -> Vec<u8> { match x { \"a\" => b'c' .. 1.5e3f32 => 'd', _ if x::y!() || !z >= 3 <= #[a] $ } }",
];

/// Numbers without a pattern that matters (Marsaglia's xorshift).
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// All tokens of a program, groups among them.
fn vocabulary(tokens: TokenStream, words: &mut Vec<TokenTree>) {
    for tree in tokens {
        if let TokenTree::Group(group) = &tree {
            vocabulary(group.stream(), words);
        }
        words.push(tree);
    }
}

/// Drops, doubles, swaps, replaces and cuts off tokens, at a few places and at any depth.
fn mutate(tokens: TokenStream, words: &[TokenTree], dice: &mut Dice) -> TokenStream {
    let mut trees: Vec<TokenTree> = tokens.into_iter().collect();
    for _ in 0..dice.below(3) {
        let (at, word) = (dice.below(trees.len()), words[dice.below(words.len())].clone());
        match dice.below(8) {
            _ if trees.is_empty() => trees.push(word),
            0 => drop(trees.remove(at)),
            1 => trees.insert(at, word),
            2 => trees[at] = word,
            3 => trees.insert(at, trees[at].clone()),
            4 => {
                let other = dice.below(trees.len());
                trees.swap(at, other);
            }
            5 if dice.below(4) == 0 => trees.truncate(at),
            6 => trees[at] = TokenTree::from(Group::new(Delimiter::None, trees[at].clone().into())),
            _ => trees[at] = TokenTree::from(Literal::u64_unsuffixed(dice.0)),
        }
    }
    let inner = |tree| match tree {
        TokenTree::Group(group) if dice.below(2) == 0 => {
            let inner = mutate(group.stream(), words, dice);
            TokenTree::from(Group::new(group.delimiter(), inner))
        }
        tree => tree,
    };
    trees.into_iter().map(inner).collect()
}

/// Expands, and looks at what came out.
fn survive(tokens: TokenStream) {
    let text = tokens.to_string();
    let expanded = super::expand(tokens).to_string();
    if let Err(error) = syn::parse_str::<syn::File>(&expanded) {
        panic!("{error}\n{text}\n{expanded}");
    }
}

#[test]
fn no_tokens_make_it_panic() {
    let programs = PROGRAMS.map(|program| program.parse::<TokenStream>().expect("tokens"));
    let mut words = Vec::new();
    for program in &programs {
        vocabulary(program.clone(), &mut words);
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // Several mutations near every token of every program; more if the environment says so.
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    for round in 0..asked.unwrap_or(0).max(1500) {
        let program = programs[[0, 0, 0, 1, 2, 3][round % 6]].clone();
        survive(mutate(program, &words, &mut dice));
    }
}

#[test]
fn no_length_makes_it_panic() {
    for program in PROGRAMS {
        let trees: Vec<TokenTree> = program.parse::<TokenStream>().expect("tokens").into_iter().collect();
        for length in 0..trees.len() {
            survive(trees[..length].iter().cloned().collect());
            survive(trees[length..].iter().cloned().collect());
        }
    }
}

/// As much as rustc gives the thread in which it expands macros.
const STACK: usize = 8 << 20;

#[test]
fn no_depth_makes_it_panic() {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(go_deep).expect("a thread can be had");
    thread.join().expect("nothing is too deep");
}

fn go_deep() {
    let network = |expr: String| format!("Net<[B, 1] -> [B, 1]> {{ Dense({expr}) }} loss = {expr};");
    for expr in [
        "-".repeat(50_000) + "1",
        vec!["1"; 50_000].join("+"),
        vec!["out"; 50_000].join("."),
        "(".repeat(500) + "1" + &")".repeat(500),
        "mean(".repeat(500) + "out" + &")".repeat(500),
    ] {
        survive(network(expr).parse().expect("tokens"));
    }
    let consts = (0..5000).map(|n| format!("const C{n} = C{} + 1;", n + 1)).collect::<String>();
    survive(consts.parse().expect("tokens"));
    let stages = "residual { ".repeat(500) + &" }".repeat(500);
    survive(format!("Net<[B, 1] -> [B, 1]> {{ {stages} }}").parse().expect("tokens"));
}

/// The first `left` tokens, groups and what is in them. The group in which they end ends with them; `rest` is whether what
/// stands after it is there.
fn cut(tokens: TokenStream, left: &mut usize, rest: bool) -> TokenStream {
    let mut kept = Vec::new();
    for tree in tokens {
        if *left == 0 {
            break;
        }
        *left -= 1;
        kept.push(match tree {
            TokenTree::Group(group) => {
                let inner = cut(group.stream(), left, rest);
                if *left == 0 && rest {
                    *left = usize::MAX;
                }
                TokenTree::from(Group::new(group.delimiter(), inner))
            }
            tree => tree,
        });
    }
    kept.into_iter().collect()
}

/// What other code may use of a network: the header of each item, and the types in the trait.
fn surface(expanded: &str) -> Vec<String> {
    let file = syn::parse_str::<syn::File>(expanded).expect("the expansion is Rust");
    let mut surface = Vec::new();
    let vis = |vis: &syn::Visibility| vis.to_token_stream().to_string();
    let mut items: VecDeque<syn::Item> = file.items.into();
    while let Some(item) = items.pop_front() {
        match item {
            syn::Item::Const(item) => {
                if let syn::Expr::Block(block) = *item.expr {
                    items.extend(block.block.stmts.into_iter().filter_map(|statement| match statement {
                        syn::Stmt::Item(item) => Some(item),
                        _ => None,
                    }));
                }
            }
            syn::Item::Struct(item) => {
                let fields = item.fields.iter().map(|field| field.ident.to_token_stream().to_string());
                surface.push(format!("{} struct {} {:?}", vis(&item.vis), item.ident, fields.collect::<Vec<_>>()));
            }
            syn::Item::Impl(item) => {
                let (of, name) = (&item.trait_, &item.self_ty);
                let of = of.as_ref().map_or(String::new(), |(path, _)| path.to_token_stream().to_string());
                for inner in &item.items {
                    let header = match inner {
                        syn::ImplItem::Fn(inner) => inner.sig.to_token_stream().to_string(),
                        syn::ImplItem::Type(inner) => inner.to_token_stream().to_string(),
                        syn::ImplItem::Const(inner) => inner.ident.to_string(),
                        other => panic!("{}", other.to_token_stream()),
                    };
                    surface.push(format!("impl {of} for {}: {header}", name.to_token_stream()));
                }
            }
            _ => {}
        }
    }
    surface
}

#[test]
fn a_half_written_body_leaves_all_that_other_code_uses() {
    for program in &PROGRAMS[..2] {
        let tokens: TokenStream = program.parse().expect("tokens");
        let mut words = Vec::new();
        vocabulary(tokens.clone(), &mut words);
        let whole = surface(&super::expand(tokens.clone()).to_string());
        assert_eq!(whole.len(), 2 + 6 + 6 + 4 + 2 + 2, "a type, its metrics, and what they have");
        let without_clauses = |surface: &[String]| -> Vec<String> {
            let of_clauses =
                |line: &&String| ["Metrics", "Targets", "Supervised"].iter().any(|word| line.contains(word));
            surface.iter().filter(|line| !of_clauses(line)).cloned().collect()
        };
        let (mut bodies, mut clauses) = (0, 0);
        // From the brace of the network's body on.
        let begun = |length: &usize| cut(tokens.clone(), &mut length.clone(), false).to_string().contains("> {");
        let text = tokens.to_string();
        let start = text.find("loss (").expect("there is a loss");
        let end = start + text[start..].find(") =").expect("it has targets") + ") =".len();
        let targets_of_loss = &text[start..end];
        let first = (0..=words.len()).find(begun).expect("the network has a body");
        for length in first..=words.len() {
            for rest in [false, true] {
                let text = cut(tokens.clone(), &mut length.clone(), rest).to_string();
                let (_, after) = text.split_once("> {").expect("the body has begun");
                let expanded = super::expand(text.parse().expect("tokens")).to_string();
                let found = surface(&expanded);
                assert_eq!(without_clauses(&found), without_clauses(&whole), "{text}");
                bodies += 1;
                if after.contains(targets_of_loss) {
                    let of_targets = |line: &&String| line.contains("Targets") || line.contains("Supervised");
                    let targets = |surface: &[String]| surface.iter().filter(of_targets).cloned().collect::<Vec<_>>();
                    assert_eq!(targets(&found), targets(&whole), "{text}");
                    clauses += 1;
                }
            }
        }
        assert!(bodies > 50 && clauses > 5, "{bodies} {clauses}");
    }
}

#[test]
fn a_name_alone_is_a_type_already() {
    for text in ["pub Net", "pub Net;", "pub Net<", "pub Net<x: [B, 3]", "pub Net<x: [B, 3] ->", "pub Net { relu }"] {
        let surface = surface(&super::expand(text.parse().expect("tokens")).to_string());
        assert!(surface.contains(&"pub struct Net []".to_string()), "{text}: {surface:?}");
    }
}
