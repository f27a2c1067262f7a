//! Sequences that grow token by token, against predictions of the whole.

use gradloom::ndarray::{Array2, s};
use gradloom::{AdamW, Network, Predictor, RunError, Sampling, Session, network};
use gradloom_runtime::compile::{Purpose, Target, compile};
use insta::assert_snapshot;

network! {
    block Transformer(d, heads, ff = 4 * d) {
        residual { LayerNorm, Attention(heads, causal = true) },
        residual { LayerNorm, Dense(ff), gelu, Dropout(0.1), Dense(d) },
    }

    Gpt<tokens: [u16; B, 12] -> logits: [B, 12, 17]> {
        Embedding(17, 12), Positional, repeat(2) { Transformer(12, heads = 3) }, LayerNorm, Dense(17),
    }
    loss(next: [u16; B, 12]) = cross_entropy(logits, next);

    /// Heads that share keys, turned by their position, and the weights of the first layer once more.
    Llama<tokens: [u8; B, 9] -> logits: [B, 9, 8]> {
        Embedding(8, 8),
        residual { RmsNorm, Attention(4, causal = true, kv = 2, rope = true, bias = false) },
        residual { RmsNorm, concat_of, Dense(8) },
        RmsNorm, Dense(8, weight = embedding1.weight),
    }
    act concat_of = |x| silu(x) * x;
    loss(next: [u8; B, 9]) = cross_entropy(logits, next);

    /// Flows, and positions that nothing learns.
    Flows<tokens: [u32; B, 7] -> logits: [B, 7, 5]> {
        let x = tokens -> Embedding(5, 6), positions(sinusoidal);
        let seen = x -> Attention(1, causal = true);
        let (gate, value) = (x, seen) -> concat, Dense(8), split;
        logits = gate * softmax(value) + 0.5 * where(value > 0.0, value, gate) -> Dense(5);
    }
    loss(next: [u32; B, 7]) = cross_entropy(logits, next);

    Single<token: [u8; B, 1] -> logits: [B, 1, 2]> { Embedding(2, 2), Positional, Attention(1, causal = true) }
    loss(next: [u8; B, 1]) = cross_entropy(logits, next);
}

/// Some steps of training, so that no parameter is where it started.
fn trained<N: Network>(
    classes: usize,
    length: usize,
    step: impl Fn(&mut Session<N>, &Array2<u32>, &Array2<u32>),
) -> Predictor<N> {
    let mut net = gradloom::Trainer::<N>::new(AdamW::new(0.02)).max_batch(3).seed(5).build().expect("it builds");
    let text = Array2::from_shape_fn((3, length + 1), |(row, at)| ((7 * row + 3 * at * at + at) % classes) as u32);
    for _ in 0..5 {
        step(&mut net, &text.slice(s![.., ..length]).to_owned(), &text.slice(s![.., 1..]).to_owned());
    }
    net.predictor().expect("it builds")
}

/// Whether the logits after each token are those of a prediction of everything up to it.
fn agree<N: Network>(
    predictor: &mut Predictor<N>,
    length: usize,
    classes: usize,
    whole: impl Fn(&mut Predictor<N>, &Array2<u32>) -> Vec<f32>,
) {
    let text: Vec<u32> = (0..length).map(|at| ((5 * at + at / 2) % classes) as u32).collect();
    let mut generator = predictor.generator().expect("it looks back alone");
    let padded = |upto: usize| Array2::from_shape_fn((1, length), |(_, at)| if at < upto { text[at] } else { 0 });
    for (at, &token) in text.iter().enumerate() {
        generator.feed(token).expect("it is a class");
        let expected = whole(predictor, &padded(at + 1));
        let expected = &expected[at * classes..][..classes];
        let found = generator.logits().expect("a token went in");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-5 * (1.0 + expected.abs()), "at {at}: {found} and not {expected}");
        }
    }
    assert_eq!(generator.len(), length);
}

macro_rules! cases {
    ($($name:ident: $network:ty, $id:ty, $classes:literal, $length:literal;)*) => {$(
        #[test]
        fn $name() {
            let mut predictor = trained::<$network>($classes, $length, |net, x, y| {
                let [x, y] = [x, y].map(|ids| ids.mapv(|id| id as $id));
                net.step(x.view(), y.view()).expect("the shapes fit");
            });
            agree(&mut predictor, $length, $classes, |predictor, ids| {
                let ids = ids.mapv(|id| id as $id);
                predictor.predict(ids.view()).expect("the shapes fit").iter().copied().collect()
            });
        }
    )*};
}

cases! {
    a_gpt_goes_on_as_it_predicts: Gpt, u16, 17, 12;
    turned_heads_that_share_keys_go_on_as_they_predict: Llama, u8, 8, 9;
    flows_go_on_as_they_predict: Flows, u32, 5, 7;
    one_position_is_a_sequence: Single, u8, 2, 1;
}

#[test]
fn texts_are_those_that_predictions_of_everything_would_give() {
    let mut predictor = Gpt::predictor().seed(3).build().expect("it builds");
    let prompt: [u16; 3] = [4, 9, 1];
    let found = predictor.generate(&prompt, 9, &Sampling::greedy()).expect("it looks back alone");
    let mut text: Vec<u16> = prompt.to_vec();
    for &token in &found {
        let padded = Array2::from_shape_fn((1, 12), |(_, at)| text.get(at).copied().unwrap_or(0));
        let logits = predictor.predict(padded.view()).expect("the shapes fit");
        let row = logits.slice(s![0, text.len() - 1, ..]);
        let best = (0..17).rev().reduce(|best, at| if row[at] >= row[best] { at } else { best });
        assert_eq!(Some(token as usize), best);
        text.push(token as u16);
    }
    let drawn = |seed| {
        let sampling = Sampling::temperature(1.5).top_k(9).top_p(0.9).seed(seed);
        predictor.generate(&prompt, 40, &sampling).expect("it looks back alone")
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    assert!(drawn(3).iter().all(|&token| token < 17) && drawn(3).len() == 40, "longer than the network looks back");
}

#[test]
fn what_is_longer_than_the_network_is_read_anew_from_its_second_half() {
    let predictor = Gpt::predictor().seed(3).build().expect("it builds");
    let text: Vec<u32> = (0..15).map(|at| (3 * at + 1) % 17).collect();
    let logits = |tokens: &[u32]| {
        let mut generator = predictor.generator().expect("it looks back alone");
        tokens.iter().for_each(|&token| generator.feed(token).expect("it is a class"));
        (generator.len(), generator.logits().expect("tokens went in").to_vec())
    };
    assert_eq!(logits(&text[..12]).0, 12);
    // The thirteenth stands after the seventh to the twelfth.
    assert_eq!(logits(&text[..13]), (7, logits(&text[6..13]).1));
    assert_eq!(logits(&text), (9, logits(&text[6..15]).1));
    let mut generator = predictor.generator().expect("it looks back alone");
    text.iter().for_each(|&token| generator.feed(token).expect("it is a class"));
    generator.clear();
    assert_eq!((generator.is_empty(), generator.logits()), (true, Err(RunError::NoToken { name: "tokens" })));
    text[6..13].iter().for_each(|&token| generator.feed(token).expect("it is a class"));
    assert_eq!(generator.logits().expect("tokens went in"), logits(&text[6..13]).1);
}

#[test]
fn mistakes() {
    let predictor = Gpt::predictor().build().expect("it builds");
    let said =
        |prompt: &[u16], sampling| predictor.generate(prompt, 2, &sampling).expect_err("it is refused").to_string();
    assert_snapshot!([said(&[], Sampling::greedy()), said(&[16, 17], Sampling::greedy()), said(&[1], Sampling::temperature(-1.0))].join("\n"), @"
    `tokens` has no token to go on from; a prompt needs at least one
    `tokens` has class id 17 in row 0, but there are 17 classes (0 to 16)
    temperature must be finite and above 0, got -1
    ");
    let refused = |said: Result<(), gradloom::BuildError>| {
        said.expect_err("it looks elsewhere").to_string().replace("tests/it/generate.rs", "here")
    };
    let of = |definition| refused(compile(definition, Purpose::Next, Target::new(1)).forward().map(drop));
    assert_snapshot!([of(Seeing::declared()), of(Norm::declared()), of(Mean::declared()), of(Rows::declared()), of(Bytes::declared()), of(Masked::declared())].join("\n"), @"
    here:170:67: `Attention(2)` cannot be asked one position at a time: it looks at others
    here:171:65: `BatchNorm` cannot be asked one position at a time: it looks at others
    here:174:9: `y` cannot be asked one position at a time: it looks at others
    here:176:26: a sequence is continued by a network from class ids [B, T] to numbers [B, T, classes]
    here:177:66: `normalize([0.5, 0.25], [1.0, 2.0])` cannot be asked one position at a time: it looks at others
    here:180:40: `Attention(2, causal = true, mask = keep)` cannot be asked one position at a time: it looks at others
    ");
}

network! {
    Seeing<tokens: [u8; B, 4] -> y: [B, 4, 4]> { Embedding(4, 4), Attention(2) }
    Norm<tokens: [u8; B, 4] -> y: [B, 4, 4]> { Embedding(4, 4), BatchNorm, Attention(2, causal = true) }
    Mean<tokens: [u8; B, 4] -> y: [B, 4, 4]> {
        let x = tokens -> Embedding(4, 4);
        y = x - mean(x, axis = 1, keep = true);
    }
    Rows<x: [B, 4] -> y: [B, 4]> { Dense(4) }
    Bytes<tokens: [u8; B, 2] -> y: [B, 2, 4]> { Embedding(4, 4), normalize([0.5, 0.25], [1.0, 2.0]) }
    Masked<tokens: [u8; B, 4] -> y: [B, 4, 4]> {
        let keep = where(tokens != 0, 1.0, 0.0);
        y = tokens -> Embedding(4, 4), Attention(2, causal = true, mask = keep);
    }
}

network! {
    /// With flows that the output is not made of: some look along the positions, and one is the first to use a layer of the output's.
    Aside<tokens: [u8; B, 6] -> logits: [B, 6, 5]> {
        layer head = { Dense(5), swell };
        let keep = where(tokens != 0, 1.0, 0.0);
        let share = keep -> LayerNorm, Dense(1), softmax;
        let x = tokens -> Embedding(5, 8);
        let mixed = x - mean(x, axis = 1, keep = true) -> head;
        logits = x -> Attention(2, causal = true), head;
    }
    act swell = |x, by = 1.5| by * x;
    loss(next: [u8; B, 6]) = cross_entropy(logits, next) + 0.1 * mean(square(mixed)) + 0.1 * mean(share);
}

cases! {
    what_the_output_is_not_made_of_is_passed_over: Aside, u8, 5, 6;
}
