//! Time and depth follow what is declared. None of these would end within a test if anything took the square of it, or
//! wrote out what it is about to refuse.

use std::fmt::Write;

use super::mistakes;

/// So many pieces of text, made from their numbers.
fn many(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

fn lines(source: &str) -> usize {
    mistakes(source).lines().count()
}

#[test]
fn thousands_of_unknown_names() {
    let known = many(3000, |n| format!("Dense(4) as a_value_of_some_length_{n}, "));
    let unknown = many(3000, |n| format!("metric m{n} = mean(a_value_of_sone_length_{n}x);"));
    let source = format!("Net<x: [B, 4] -> y: [B, 4]> {{ {known} Dense(4) }} loss = mean(y); {unknown}");
    assert_eq!(lines(&source), 3000);
}

#[test]
fn thousands_of_unknown_paths() {
    let layers = many(3000, |_| "Dense(4), ".to_string());
    let unknown = many(3000, |n| format!("metric m{n} = mean(dense{n}.weigth_of_a_layer);"));
    let source = format!("Net<x: [B, 4] -> y: [B, 4]> {{ {layers} }} loss = mean(y); {unknown}");
    assert_eq!(lines(&source), 3000);
}

#[test]
fn thousands_of_unknown_layers_sizes_and_functions() {
    let consts = many(3000, |n| format!("const SOME_WIDTH_{n} = 4;"));
    let acts = many(3000, |n| format!("act an_activation_{n} = |x| x;"));
    let stages = many(3000, |n| format!("An_activation_{n}, Dense(SONE_WIDTH_{n}X), |x| an_activatoin_{n}x(x), "));
    let source = format!("{consts} {acts} Net<x: [B, 4] -> y: [B, 4]> {{ {stages} }}");
    assert_eq!(lines(&source), 9000);
}

#[test]
fn what_follows_many_mistakes_is_suggested_still() {
    let unknown = many(50, |n| format!("metric m{n} = mean(unknown{n});"));
    let text = mistakes(&format!("Net<x: [B, 4] -> y: [B, 4]> {{ Dense(4) as hidden }} loss = mean(hiden); {unknown}"));
    assert!(text.contains("unknown name `hiden`; did you mean `hidden`?"), "{text}");
}

#[test]
fn chains_of_blocks_are_refused_where_they_become_too_deep() {
    for count in [200, 5000] {
        let chain = many(count, |n| format!("block Z{n}(c) {{ Z{}(c) }}\n", n + 1));
        let source =
            format!("{chain} block Z{count}(c) {{ Dense(c) }} Net<x: [B, 4] -> y: [B, 4]> {{ Z0(4), Dense(4) }}");
        let (line, deep) = (count - 127, count - 128);
        let expected = format!(
            "{line}:{}: with `Z{line}`, the block `Z{deep}` nests more than 128 bodies\n",
            format!("block Z{deep}(c) {{ ").len() + 1
        );
        assert_eq!(mistakes(&source), expected);
    }
}

#[test]
fn deep_blocks_are_written_out_up_to_the_limit() {
    let chain = many(127, |n| format!("block Z{n}(c) {{ Z{}(c) }}\n", n + 1));
    let source =
        format!("{chain} block Z127(c) {{ Dense(c) }} Net<x: [B, 4] -> y: [B, 4]> {{ Z0(4) }} loss = mean(y);");
    assert_eq!(mistakes(&source), "");
    assert!(super::expand(source.parse().expect("tokens")).to_string().len() > 1000);
}

#[test]
fn nested_bodies_count_as_levels_of_blocks() {
    let body = "residual { ".repeat(50) + "Z" + &" }".repeat(50);
    let source = format!(
        "block Z0() {{ relu }} block Z1() {{ {} }} block Z2() {{ {} }} block Z3() {{ {} }}",
        body.replace('Z', "Z0"),
        body.replace('Z', "Z1"),
        body.replace('Z', "Z2")
    );
    let text = mistakes(&source);
    assert!(text.ends_with("with `Z2`, the block `Z3` nests more than 128 bodies\n"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn blocks_that_double_are_refused_before_they_are_written_out() {
    for count in [25, 500] {
        let doubling = many(count, |n| format!("block Z{n}() {{ Z{}, Z{} }}\n", n + 1, n + 1));
        let source = format!("{doubling} block Z{count}() {{ relu }} Net<x: [B, 4] -> y: [B, 4]> {{ Z0, Dense(4) }}");
        let refused = count - 12;
        let expected = format!("with `Z{}`, the block `Z{refused}` stands for more than 10000 stages\n", refused + 1);
        let text = mistakes(&source);
        assert!(text.ends_with(&expected), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}

#[test]
fn blocks_that_go_round_in_circles_of_any_size() {
    let circle = many(20_000, |n| format!("block Z{n}() {{ Z{} }}\n", (n + 1) % 20_000));
    let text = mistakes(&format!("{circle} Net<x: [B, 4] -> y: [B, 4]> {{ Z0, Dense(4) }}"));
    assert_eq!(text.lines().count(), 20_000);
    assert!(text.starts_with("1:14: the block `Z1` contains itself\n"), "{text}");
    let circle = many(2000, |n| format!("act f{n} = |x| f{}(x) + 1;\n", (n + 1) % 2000));
    assert_eq!(mistakes(&circle), "2000:17: the function `f0` is defined by itself\n");
}

#[test]
fn chains_of_functions_are_refused_where_they_become_too_deep() {
    let chain = |count: usize, last: &str| many(count, |n| format!("act f{n} = |x| f{}(x);\n", n + 1)) + last;
    let net = "Net<x: [B, 4] -> y: [B, 4]> { f0 } loss = mean(y);";
    assert_eq!(mistakes(&(chain(100, "act f100 = |x| 2 * x;") + net)), "");
    for count in [200, 5000] {
        let text = mistakes(&(chain(count, &format!("act f{count} = |x| 2 * x;")) + net));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.ends_with("this expression nests too deeply\n"), "{text}");
    }
}

#[test]
fn functions_that_double_are_refused_before_they_are_written_out() {
    let doubling = many(500, |n| format!("act f{n} = |x| f{}(x) * f{}(x);\n", n + 1, n + 1));
    let text =
        mistakes(&format!("{doubling} act f500 = |x| 2 * x; Net<x: [B, 4] -> y: [B, 4]> {{ f0 }} loss = mean(y);"));
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn thousands_of_everything_that_is_right() {
    let mut source = many(1500, |n| format!("const C{n} = {};", n + 1));
    source += &many(1500, |n| format!("act f{n} = |x, a = 1.0| a * x;"));
    source += &many(1500, |n| format!("block Z{n}(c, d = c) {{ Dense(c), Dense(d) }}"));
    source += "Net<x: [B, 4] -> y: [B, 4]> {";
    source += &many(1500, |n| format!("Z{n}(C{n}), f{n} as v{n}, residual {{ relu }}, "));
    source += "Dense(4) } loss = mean(y);";
    for n in 0..1500 {
        write!(source, "metric m{n} = mean(v{n}) + l2(z{n}_1.dense1.weight);").expect("text takes everything");
    }
    assert_eq!(mistakes(&source), "");
}
