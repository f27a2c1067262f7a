//! Networks with a state, as users write them: what they learn, what lengths and initial states do, and that a sequence in pieces is
//! the sequence.

use gradloom::ndarray::{Array1, Array2, Array3, s};
use gradloom::{Adam, Network as _, Sgd, Stage, network};
use gradloom_runtime::init::Random;
use insta::assert_snapshot;

use crate::oracle::agreement::{Verdict, agree};

network! {
    /// Says at the end what it was shown first.
    Recall<x: [B, 12, 4] -> logits: [B, 4]> { Lstm(16, last = true), Dense(4) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

/// Rows whose first element is one of four; all others are noise.
fn recall(rows: usize, seed: u64) -> (Array3<f32>, Array1<u8>) {
    let mut random = Random::new(seed, 0);
    let labels = Array1::from_shape_fn(rows, |_| random.below(4) as u8);
    let x = Array3::from_shape_fn((rows, 12, 4), |(row, step, at)| match step {
        0 => f32::from(u8::from(labels[row] as usize == at)),
        _ => 0.1 * random.normal() as f32,
    });
    (x, labels)
}

#[test]
fn a_state_remembers_what_it_was_shown_first() {
    let mut net = Recall::trainer(Adam::new(0.02)).max_batch(64).seed(3).build().expect("it builds");
    for step in 0..150 {
        let (x, labels) = recall(64, step);
        net.step(x.view(), labels.view()).expect("the loss is finite");
    }
    let (x, labels) = recall(64, 999);
    let found = net.evaluate(x.view(), labels.view()).expect("it is finite");
    assert!(found.accuracy > 0.95, "{}", found.accuracy);
}

network! {
    /// Both ways, two deep, of rows with lengths of their own.
    Tagger<(x: [B, 7, 3], n: [u8; B]) -> y: [B, 7, 2]> {
        let mixed = x -> repeat(2) { Gru(4), Dropout(0.25) }, Dense(4);
        let forth = mixed -> Lstm(5, lengths = n);
        let back = mixed -> Lstm(5, reverse = true, lengths = n);
        y = (forth, back) -> concat, Dense(2, bias = false);
    }
    loss(t: [B, 7, 2]) = sum(y * t);
}

network! {
    /// A part of a series: the state that one part leaves is that before the next.
    Part<(x: [B, 4, 3], before: [B, 10]) -> (y: [B, 4, 2], state: [B, 10])> {
        let all = x -> Lstm(5, initial = before, cell = true);
        state = reshape(all[.., 3..4, ..], [B, 10]);
        y = all[.., .., 0..5] -> Dense(2);
    }
    loss(t: [B, 4, 2]) = mean(square(y - t));
}

network! {
    /// The same series at once.
    Whole<x: [B, 12, 3] -> y: [B, 12, 2]> {
        let all = x -> Lstm(5) as lstm1;
        y = all -> Dense(2);
    }
    loss(t: [B, 12, 2]) = mean(square(y - t));
}

#[test]
fn every_program_of_a_network_with_a_state_computes_what_its_declaration_says() {
    for definition in [Recall::declared(), Tagger::declared(), Part::declared(), Whole::declared()] {
        for (rows, seed) in [(1, 5), (3, 6), (4, 7)] {
            // Lengths are drawn like class ids, from 0 on.
            match agree(definition, rows, seed) {
                Ok(Verdict::Agrees { slopes, .. }) => assert!(slopes > 0),
                other => panic!("{}, {rows} rows: {other:?}", definition.name),
            }
        }
    }
}

fn drawn(shape: (usize, usize, usize), seed: u64) -> Array3<f32> {
    let mut random = Random::new(seed, 1);
    Array3::from_shape_simple_fn(shape, || random.normal() as f32)
}

#[test]
fn what_is_past_the_length_of_a_row_changes_nothing() {
    let mut net = Tagger::trainer(Sgd::new(0.1)).max_batch(3).seed(1).build().expect("it builds");
    let lengths = Array1::from_vec(vec![7u8, 0, 3]);
    let x = drawn((3, 7, 3), 1);
    let mut other = x.clone();
    other.slice_mut(s![1, .., ..]).fill(9.0);
    other.slice_mut(s![2, 3.., ..]).fill(-9.0);
    let target = drawn((3, 7, 2), 2);
    let y = net.predict((x.view(), lengths.view())).expect("it runs").to_owned();
    assert_eq!(y, net.predict((other.view(), lengths.view())).expect("it runs").to_owned());
    assert!(y.slice(s![1, .., ..]).iter().chain(y.slice(s![2, 3.., ..]).iter()).all(|&y| y == 0.0));
    // A shorter row is what the same row is alone.
    let alone = net.predict((x.slice(s![2..3, .., ..]), lengths.slice(s![2..3]))).expect("it runs").to_owned();
    assert_eq!(alone, y.slice(s![2..3, .., ..]));
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let gradients = |x: &Array3<f32>, net: &mut gradloom::Session<Tagger>| {
        let gradients = net.gradients((x.view(), lengths.view()), target.view()).expect("it runs");
        names.iter().map(|name| gradients.get(name).expect("it is trained").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(gradients(&x, &mut net), gradients(&other, &mut net));
    let error = net.predict((x.view(), Array1::from_vec(vec![7u8, 8, 3]).view())).expect_err("there are 7 positions");
    assert_snapshot!(error, @"`n` has class id 8 in row 1, but there are 8 classes (0 to 7)");
}

network! {
    Padded<(x: [B, 7, 3], n: [u8; B]) -> y: [B, 7, 3]> {
        let own = x -> scan(lengths = n, reverse = true) |x, h, keep = 0.5| tanh(keep * h + x);
        let other = x -> Lstm(3, lengths = n);
        y = own + other;
    }
    loss(t: [B, 7, 3]) = mse(y, t);
}

#[test]
fn padding_may_be_anything() {
    let mut net = Padded::trainer(Sgd::new(0.1)).max_batch(2).seed(1).build().expect("it builds");
    let (x, t, n) = (drawn((2, 7, 3), 1), drawn((2, 7, 3), 2), Array1::from_vec(vec![2u8, 5]));
    let mut other = x.clone();
    other.slice_mut(s![0, 2.., ..]).fill(f32::NAN);
    other.slice_mut(s![1, 5.., ..]).fill(f32::INFINITY);
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let mut of = |x: &Array3<f32>| {
        let gradients = net.gradients((x.view(), n.view()), t.view()).expect("it is finite");
        names.iter().map(|name| gradients.get(name).expect("it is trained").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&x), of(&other));
}

#[test]
fn a_series_in_pieces_is_the_series() {
    let mut whole = Whole::trainer(Sgd::new(0.1)).max_batch(3).seed(4).build().expect("it builds");
    let mut part = Part::trainer(Sgd::new(0.1)).max_batch(3).seed(5).build().expect("it builds");
    for (from, to) in whole.names().map(str::to_string).zip(part.names().map(str::to_string).collect::<Vec<_>>()) {
        let value = whole.param(&from).expect("it is one of its parameters").to_owned();
        part.set_param(&to, value.view()).expect("it has the same shape");
    }
    let x = drawn((3, 12, 3), 6);
    let y = whole.predict(x.view()).expect("it runs").to_owned();
    let mut state = Array2::zeros((3, 10));
    for piece in 0..3 {
        let own = s![.., 4 * piece..4 * piece + 4, ..];
        let found = part.predict((x.slice(own), state.view())).expect("it runs");
        assert_eq!(found.y, y.slice(own));
        state = found.state.to_owned();
    }
}

network! {
    /// Two outputs: one for each position, one of the last state.
    Watch<x: [B, 9, 3] -> (y: [B, 9, 2], z: [B, 4])> {
        let h = x -> Dense(6), tanh, Gru(5), LayerNorm, Rnn(4);
        y = h -> Dense(2);
        z = h -> Lstm(3, last = true), Dense(4), softmax;
    }
    loss = mean(y) + mean(z);
}

network! {
    Placed<x: [B, 4, 2] -> y: [B, 4, 2]> { Positional, Lstm(2) }
    Back<x: [B, 4, 2] -> y: [B, 4, 2]> { Lstm(2, reverse = true) }
    Text<tokens: [u8; B, 8] -> y: [B, 8, 5]> { Embedding(5, 4), repeat(2) { Gru(6) }, Dense(5) }
    loss(next: [u8; B, 8]) = cross_entropy(y, next);
}

#[test]
fn a_stream_gives_the_bits_of_the_whole_sequence() {
    let mut predictor = Watch::predictor().max_batch(2).seed(8).build().expect("it builds");
    let x = drawn((2, 9, 3), 9);
    let found = predictor.predict(x.view()).expect("it runs");
    let (y, z) = (found.y.to_owned(), found.z.to_owned());
    let mut stream = predictor.stream().expect("it looks back alone");
    for row in 0..2 {
        assert!(stream.is_empty() && stream.output(0).is_none());
        for step in 0..9 {
            let element: Vec<f32> = x.slice(s![row, step, ..]).to_vec();
            assert_eq!(stream.feed(&element).expect("it fits"), y.slice(s![row, step, ..]).to_vec());
        }
        assert_eq!(stream.output(1).expect("there is a second port"), z.slice(s![row, ..]).to_vec());
        assert_eq!((stream.len(), stream.output(2)), (9, None));
        // No end: it goes on past the positions that were declared.
        stream.feed(&[0.0; 3]).expect("it fits");
        stream.clear();
    }
}

#[test]
fn text_is_continued_from_a_state() {
    let mut predictor = Text::predictor().max_batch(1).seed(2).build().expect("it builds");
    let tokens = [3u8, 1, 4, 1, 0, 2, 2, 3];
    let whole = gradloom::ndarray::Array2::from_shape_vec((1, 8), tokens.to_vec()).expect("one row");
    let y = predictor.predict(whole.view()).expect("it runs").to_owned();
    let mut generator = predictor.generator().expect("it looks back alone");
    for (position, token) in tokens.into_iter().enumerate() {
        generator.feed(token.into()).expect("it is a class");
        assert_eq!(generator.logits().expect("a token went in"), y.slice(s![0, position, ..]).to_vec());
    }
}

#[test]
fn what_is_no_stream_is_said() {
    let mut placed = Placed::predictor().build().expect("it builds").stream().expect("it looks back alone");
    for _ in 0..4 {
        placed.feed(&[0.0; 2]).expect("there is a position for it");
    }
    let long = placed.feed(&[0.0; 2]).expect_err("there are four positions").to_string();
    let wide = placed.feed(&[0.0; 3]).expect_err("an element has two numbers").to_string();
    let back = Back::predictor().build().expect("it builds").stream().expect_err("it looks ahead").to_string();
    let text = Text::predictor().build().expect("it builds").stream().expect_err("it takes ids").to_string();
    let two = Tagger::predictor().build().expect("it builds").stream().expect_err("it takes two").to_string();
    // Without the place, which moves with every line above.
    let [back, text, two] =
        [back, text, two].map(|said| said.splitn(4, ':').nth(3).expect("a place").trim().to_string());
    let all = [long, wide, back, text, two].join("\n");
    assert_snapshot!(all, @"
    `x` has 4 positions, and all of them are taken; `clear` begins a new sequence
    `x` wants an element of 2 numbers, got [3]
    `Lstm(2, reverse = true)` cannot be asked one position at a time: it looks at others
    a stream is one of numbers [B, T, ..], the only input of its network
    a stream is one of numbers [B, T, ..], the only input of its network
    ");
}

network! {
    /// A state that grows a thousandfold with every step.
    Growing<x: [B, 20, 1] -> y: [B, 1]> { Rnn(1, activation = relu, last = true, bias = false) }
    loss = mean(y);
}

#[test]
fn a_state_that_is_not_finite_is_named_with_its_step() {
    let mut net = Growing::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    for name in ["rnn1.input.weight", "rnn1.recurrent.weight"] {
        net.set_param(name, Array2::from_elem((1, 1), 1000.0f32).view()).expect("it is one number");
    }
    let mut x = Array3::zeros((2, 20, 1));
    x[(1, 4, 0)] = 1.0f32;
    let error = net.step(x.view(), ()).expect_err("it overflows").to_string();
    let here = error.find(".rs:").map_or(0, |at| at + 4);
    let place: String = error[here..].chars().take_while(|c| *c != ')').collect();
    assert_snapshot!(error.replace(&place, "..").replace("tests/it/", ""), @"the loss of step 1 is inf: in the forward pass of `rnn1` at step 16 (recurrent.rs:..), element [1, 0] is the sum of 1 products, the largest 9.999999e35 * 1000 = inf, where rnn1.recurrent.weight[0, 0] is 1000; parameters and statistics are as before the step");
}

network! {
    Gates<x: [B, 3, 2] -> y: [B, 2]> { Lstm(2, last = true) }
    loss = mean(y);
}

#[test]
fn a_step_of_an_lstm_is_a_product_and_its_gates() {
    assert_snapshot!(Gates::predictor().ir(Stage::Fused), @"
    kernel 0: 3*B x 8, 144*B FLOP, 120*B + 128 bytes
      %6 = dot x, lstm1.input.weight : f32[3*B,8]                    # lstm1
      %10 = add %6, lstm1.input.bias[i] : f32[B,3,8]                 # lstm1
      %13 = add %10, lstm1.recurrent.bias[i] : f32[B,3,8]            # lstm1
      materialize %13                                                # for kernel 2: a loop reads it
    kernel 1: b B, i 4, 0 FLOP, 16*B bytes                           # no kernel over B x 4 has its operands
      materialize 0 as %35                                           # for kernels 2, 3, 4: one step leaves it to the next
    loop of 3 steps: kernels 2, 3                                    # each sample by itself
    kernel 2: b B, i 8, 120*B FLOP, 216*B + 192 bytes                # a matmul
      %18 = dot %35, lstm1.recurrent.weight : f32[B,8]               # lstm1
      %19 = add %13[b, p, i], %18 : f32[B,8]                         # lstm1
      materialize %19                                                # for kernel 3: used in another shape
    kernel 3: b B, i 2, 54*B FLOP, 168*B bytes                       # %19 comes from kernel 2, over B x 8
      %25 = sigmoid %19[b, i] : f32[B,2]                             # lstm1
      %26 = sigmoid %19[b, i+2] : f32[B,2]                           # lstm1
      %27 = sigmoid %19[b, i+6] : f32[B,2]                           # lstm1
      %28 = tanh %19[b, i+4] : f32[B,2]                              # lstm1
      %29 = mul %26, %35[b, i+2] : f32[B,2]                          # lstm1
      %30 = mul %25, %28 : f32[B,2]                                  # lstm1
      %31 = add %29, %30 : f32[B,2]                                  # lstm1
      %32 = tanh %31 : f32[B,2]                                      # lstm1
      %33 = mul %27, %32 : f32[B,2]                                  # lstm1
      materialize %31 as %35[b, i+2]                                 # for kernel 4: a part of a concatenation
      materialize %33 as %35[b, i]                                   # for kernel 4: a part of a concatenation
    kernel 4: b B, i 2, 0 FLOP, 16*B bytes                           # no kernel over B x 2 has its operands
      materialize %35[b, i]                                          # output y
    in all: 5 kernels, 318*B FLOP, 536*B + 320 bytes
    unfused: 318*B FLOP, 2,872*B + 320 bytes
    ");
}
