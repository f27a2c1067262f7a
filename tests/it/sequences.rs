//! Sequences from the outside: networks of tokens, attention from one flow to another, images in pieces.

use gradloom::ndarray::{Array1, Array2, Array3, Array4, s};
use gradloom::{Adam, AdamW, Error, RunError, Sgd, Stage, network};
use insta::assert_snapshot;

network! {
    block Transformer(d, heads, ff = 4 * d) {
        residual { LayerNorm, Attention(heads, causal = true) },
        residual { LayerNorm, Dense(ff), gelu, Dense(d) },
    }

    /// A small language model.
    pub Gpt<tokens: [u16; B, 8] -> logits: [B, 8, 6]> {
        Embedding(6, 16), Positional, repeat(2) { Transformer(16, heads = 4) }, LayerNorm, Dense(6),
    }
    loss(next: [u16; B, 8]) = cross_entropy(logits, next);
    metric accuracy = mean(argmax(logits) == next);

    /// The same of other parts: groups of heads, turned queries and keys, norms of squares, positions without parameters.
    pub Llama<tokens: [u8; B, 8] -> logits: [B, 8, 6]> {
        Embedding(6, 16), positions(sinusoidal),
        residual { RmsNorm, Attention(4, causal = true, kv = 2, rope = true, bias = false, dropout = 0.1) },
        residual { RmsNorm, Dense(32, bias = false), silu, Dense(16, bias = false) },
        RmsNorm, Dense(6),
    }
    loss(next: [u8; B, 8]) = cross_entropy(logits, next);

    /// An encoder of one sequence, a decoder of another that looks at it.
    pub Translate<(source: [u8; B, 5], target: [u8; B, 4]) -> logits: [B, 4, 6]> {
        let memory = source -> Embedding(6, 12), Positional, residual { LayerNorm, Attention(3) };
        let own = target -> Embedding(6, 12), Positional, residual { LayerNorm, Attention(3, causal = true) };
        let seen = (own, memory) -> CrossAttention(3);
        logits = own + seen -> LayerNorm, Dense(6);
    }
    loss(next: [u8; B, 4]) = cross_entropy(logits, next);

    /// An image as a sequence of its pieces.
    pub Vit<image: [B, 1, 8, 8] -> logits: [B, 2]> {
        let pieces = image -> Conv2d(12, 4, stride = 4);
        let rows = transpose(reshape(pieces, [B, 12, 4]));
        let seen = rows -> Positional, residual { LayerNorm, Attention(3) }, residual { LayerNorm, Dense(24), gelu, Dense(12) };
        logits = mean(seen, axis = 1) -> LayerNorm, Dense(2);
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// One class, one position, heads of one number.
    pub Least<token: [u8; B, 1] -> y: [B, 1, 2]> { Embedding(1, 2), Positional, Attention(2, causal = true) }
    loss(t: [B, 1, 2]) = mse(y, t);
}

/// Every token follows from the two before it.
fn tokens(rows: usize, length: usize, from: usize) -> Array2<u16> {
    Array2::from_shape_fn((rows, length), |(row, at)| ((row + (at + from) * (1 + row % 3)) % 6) as u16)
}

#[track_caller]
fn falls(what: &str, times: f32, mut loss: impl FnMut() -> f32) {
    let first = loss();
    let last = (0..60).fold(first, |_, _| loss());
    assert!(last < times * first, "{what}: {last} after {first}");
}

#[test]
fn networks_of_sequences_train_as_they_are_written() {
    let (x, next) = (tokens(12, 8, 0), tokens(12, 8, 1));
    let mut net = Gpt::trainer(AdamW::new(1e-2)).max_batch(12).build().expect("it builds");
    falls("gpt", 0.3, || net.step(x.view(), next.view()).expect("it runs").loss);

    let [x, next] = [x, next].map(|ids| ids.mapv(|id| id as u8));
    let mut net = Llama::trainer(Adam::new(1e-2)).max_batch(12).build().expect("it builds");
    falls("llama", 0.5, || net.step(x.view(), next.view()).expect("it runs").loss);

    let mut net = Translate::trainer(Adam::new(1e-2)).max_batch(12).build().expect("it builds");
    let (source, target, next) = (x.slice(s![.., ..5]), x.slice(s![.., ..4]), next.slice(s![.., ..4]));
    falls("translation", 0.3, || net.step((source, target), next).expect("it runs").loss);

    let images = Array4::from_shape_fn((8, 1, 8, 8), |(row, _, i, j)| {
        let bright = if row % 2 == 0 { i < 4 } else { j < 4 };
        if bright { 1.0 } else { -0.2 * (row + i + j) as f32 / 8.0 }
    });
    let labels = Array1::from_shape_fn(8, |row| (row % 2) as u8);
    let mut net = Vit::trainer(Adam::new(1e-2)).max_batch(8).build().expect("it builds");
    falls("pieces of images", 0.3, || net.step(images.view(), labels.view()).expect("it runs").loss);
}

#[test]
fn gradients_of_two_sequences_are_those_of_differences() {
    let [x, next] = [0, 1].map(|from| tokens(1, 5, from).mapv(|id| id as u8));
    let report = Translate::gradcheck((x.view(), x.slice(s![.., ..4])), next.slice(s![.., ..4])).expect("it runs");
    assert!(report.passed(), "{report}");
}

#[test]
fn a_causal_network_does_not_see_what_comes_later() {
    let mut net = Gpt::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let ids = tokens(2, 8, 0);
    let before = net.predict(ids.view()).expect("it runs").to_owned();
    let mut others = ids.clone();
    others.slice_mut(s![.., 5..]).mapv_inplace(|id| (id + 1) % 6);
    let after = net.predict(others.view()).expect("it runs").to_owned();
    assert_eq!(before.slice(s![.., ..5, ..]), after.slice(s![.., ..5, ..]));
    assert_ne!(before.slice(s![.., 5.., ..]), after.slice(s![.., 5.., ..]));
}

#[test]
fn an_embedding_learns_only_the_rows_that_occur() {
    let mut net = Gpt::trainer(Sgd::new(0.5)).max_batch(4).build().expect("it builds");
    let before = net.param("embedding1.weight").expect("it is there").to_owned();
    let ids = Array2::from_shape_fn((4, 8), |(row, at)| ((row + at) % 2 * 3) as u16);
    net.step(ids.view(), ids.view()).expect("it runs");
    let after = net.param("embedding1.weight").expect("it is there").to_owned();
    for (id, (before, after)) in before.outer_iter().zip(after.outer_iter()).enumerate() {
        assert_eq!(before != after, matches!(id, 0 | 3), "row {id}");
    }
}

#[test]
fn an_id_that_no_row_stands_for_is_refused() {
    let mut net = Gpt::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let mut ids = tokens(2, 8, 0);
    ids[[1, 3]] = 6;
    let next = tokens(2, 8, 1);
    let refused = net.step(ids.view(), next.view());
    assert!(matches!(refused, Err(RunError::Class { name: "tokens", id: 6, classes: 6, row: 1 })), "{refused:?}");
    let refused = net.predict(ids.view());
    let wanted = Err(Error::Run(RunError::Class { name: "tokens", id: 6, classes: 6, row: 1 }));
    assert_eq!(
        refused.map(|_| ()).map_err(|error| error.to_string()),
        wanted.map_err(|error: Error| error.to_string())
    );
}

#[test]
fn sequences_of_one_position_and_one_class() {
    let mut net = Least::trainer(Sgd::new(0.1)).max_batch(3).build().expect("it builds");
    let ids = Array2::<u8>::zeros((3, 1));
    let t = Array3::<f32>::ones((3, 1, 2));
    falls("least", 0.1, || net.step(ids.view(), t.view()).expect("it runs").loss);
}

#[test]
fn sequences_have_the_same_bits_on_any_number_of_threads() {
    let run = |threads| {
        let mut net = Gpt::trainer(AdamW::new(1e-2)).max_batch(96).threads(threads).build().expect("it builds");
        let losses: Vec<u32> = (0..4)
            .map(|at| net.step(tokens(96, 8, at).view(), tokens(96, 8, at + 1).view()).expect("it runs").loss.to_bits())
            .collect();
        (
            losses,
            net.param("attention").err().map(|_| ()),
            net.predict(tokens(96, 8, 0).view()).expect("it runs").to_owned(),
        )
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

#[test]
fn every_stage_of_a_network_of_sequences_is_printed() {
    for stage in [Stage::Static, Stage::Forward, Stage::Backward] {
        assert!(!Gpt::ir(stage).is_empty());
    }
    let trainer = Gpt::trainer(AdamW::new(1e-3));
    for stage in [Stage::Fused, Stage::Plan] {
        assert!(trainer.ir(stage).contains("attention1"), "{}", trainer.ir(stage));
    }
}

#[test]
fn sequences_are_diagnosed_and_profiled_layer_by_layer() {
    let (x, next) = (tokens(4, 8, 0), tokens(4, 8, 1));
    let mut net = Gpt::trainer(AdamW::new(1e-2)).max_batch(4).build().expect("it builds");
    let found = net.diagnose(x.view(), next.view()).expect("it runs");
    let names: Vec<&str> = found.layers.iter().map(|layer| &*layer.layer).collect();
    assert_eq!(names[..3], ["embedding1", "positional1", "repeat1.1.transformer1.residual1.layer_norm1"]);
    let attention = found.layer("repeat1.1.transformer1.residual1.attention1").expect("it is a layer");
    assert!(attention.gradient.is_some_and(|size| size > 0.0) && attention.update_ratio.is_some(), "{attention:?}");
    let profile = net.profile(x.view(), next.view()).expect("it runs").to_string();
    assert!(profile.contains("repeat1.2.transformer1.residual1.attention1"), "{profile}");
}

#[test]
fn a_saved_sequence_network_predicts_the_same() {
    let folder = std::env::temp_dir().join(format!("gradloom-sequences-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is a folder for what is thrown away");
    let file = folder.join("llama.safetensors");
    let x = tokens(3, 8, 0).mapv(|id| id as u8);
    let mut net = Llama::trainer(Adam::new(1e-2)).max_batch(3).seed(5).build().expect("it builds");
    net.step(x.view(), x.view()).expect("it runs");
    net.save(&file).expect("it is saved");
    let mut other = Llama::predictor().max_batch(3).load(&file).expect("it is loaded");
    assert_eq!(net.predict(x.view()).expect("it runs"), other.predict(x.view()).expect("it runs"));
    std::fs::remove_dir_all(&folder).expect("it was made here");
}

network! {
    /// Attention with all that it may be given.
    pub Looking<(x: [B, 5, 4], memory: [B, 3, 6], keep: [B, 5], seen: [B, 3]) -> y: [B, 5, 4]> {
        let m = memory -> Dense(4);
        let own = x -> Attention(2, mask = keep, bias = false);
        y = (own, m) -> CrossAttention(2, mask = seen), relu, Attention(1, mask = keep);
    }
}

#[test]
fn attention_is_printed_with_what_it_takes_and_all_of_its_parameters() {
    assert_snapshot!(Looking::ir(Stage::Static), @"
    network Looking<(x: f32[B,5,4], memory: f32[B,3,6], keep: f32[B,5], seen: f32[B,3]) -> y: f32[B,5,4]>
      m.dense1            Dense(4) of memory                                          f32[B,3,4]  28 parameters
      own.attention1      Attention(2, bias = false, mask = keep) of x                f32[B,5,4]  64 parameters
      y.cross_attention1  CrossAttention(2, mask = seen) of own.attention1, m.dense1  f32[B,5,4]  80 parameters
      y.relu1             relu                                                        f32[B,5,4]
      y.attention1        Attention(1, mask = keep)                                   f32[B,5,4]  80 parameters
      252 parameters
    ");
    let predictor = Looking::predictor().build().expect("it builds");
    let count = |name: &str| predictor.param(name).expect("it is there").len();
    let total: usize = predictor.names().map(count).sum();
    assert!(Looking::ir(Stage::Static).ends_with(&format!("  {total} parameters")), "{total}");
    assert!(Looking::predictor().to_string().contains(&format!(" {total} ")), "{}", Looking::predictor());
}

/// Of the scores, those of later positions; of the sums over positions, the terms whose probabilities are 0.
#[test]
fn what_lies_above_the_diagonal_of_causal_attention_is_left_out() {
    let text = Gpt::trainer(AdamW::new(1e-2)).max_batch(4).ir(Stage::Fused);
    let parts = |part: &str| text.lines().filter(|line| line.contains(" = dot ") && line.contains(part)).count();
    // In each of two layers: scores, twice, and their gradient; means and the gradient of queries; those of keys and values.
    assert_eq!(["column <= row", "term <= row", "term >= row"].map(parts), [6, 4, 4], "{text}");
    assert_eq!(parts("rematerialized: larger than what it is made of"), 2, "{text}");
    // Everybody looks at everything.
    let other = Vit::trainer(AdamW::new(1e-2)).max_batch(4).ir(Stage::Fused);
    assert!(!other.contains("<= row") && !other.contains(">= row"), "{other}");
}
