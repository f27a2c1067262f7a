//! Whatever it is given, the macro gives Rust back, and either constants or mistakes.

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

const PROGRAMS: [&str; 4] = [
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
    "fn f<'a>(x: &'a str) -> Vec<u8> { match x { \"a\" => b'c' .. 1.5e3f32 => 'd', _ if x::y!() || !z >= 3 <= #[a] $ } }",
];

/// Numbers without a pattern that matters (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
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
    let expanded = crate::expand(tokens).to_string();
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
    for round in 0..8000 {
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

#[test]
fn no_depth_makes_it_panic() {
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
