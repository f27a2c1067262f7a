//! What the README and the guide show as printed is what the compiler prints, and what they say of files and figures is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gradloom::ndarray::{Array1, Array2, array};
use gradloom::{Adam, Sgd, Stage, network};
use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, initializers};

network! {
    /// The network of the README and of the guide's first chapter.
    pub Iris<x: [B, 4] -> logits: [B, 3]> {
        Dense(8, bias = false), BatchNorm, relu,
        Dense(3),
    }
    loss(kind: [u8; B]) = cross_entropy(logits, kind);
    metric accuracy = mean(argmax(logits) == kind);
}

network! {
    Logs<x: [B, 2] -> y: [B, 1]> { Dense(3, init = constant(0.25)), |x| ln(x) as logs, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

/// A text of the project by its path.
fn text(path: &str) -> String {
    fs::read_to_string(crate::project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README and the chapters of the guide, the reference among them, each with its path.
fn pages() -> Vec<(String, String)> {
    let folder = fs::read_dir(crate::project().join("guide")).expect("there is a guide");
    let name = |file: fs::DirEntry| format!("guide/{}", file.file_name().to_string_lossy());
    let mut paths: Vec<String> = folder.map(|file| name(file.expect("the guide can be read"))).collect();
    paths.retain(|path| path.ends_with(".md"));
    paths.push("README.md".to_string());
    paths.sort();
    paths.into_iter().map(|path| (text(&path), path)).map(|(text, path)| (path, text)).collect()
}

/// Every block that is said to be printed is what `printed` gives, and there is at least one.
fn shown(name: &str, printed: &str) {
    let marker = format!("<!-- printed: {name} -->\n```text\n");
    let mut found = 0;
    for (path, text) in pages() {
        for (at, _) in text.match_indices(&marker) {
            let (block, _) = text[at + marker.len()..].split_once("```").expect("a text block ends");
            assert!(block == printed, "{path} should show\n{printed}");
            found += 1;
        }
    }
    assert!(found > 0, "no page shows `{name}`");
}

/// The kernels of a text, each with its lines.
fn kernels(text: &str) -> Vec<String> {
    let ends = |line: &str| line.starts_with("kernel ") || line.starts_with("check ") || line.starts_with("in all: ");
    let mut kernels: Vec<String> = Vec::new();
    for line in text.lines() {
        if ends(line) {
            kernels.push(String::new());
        }
        if let Some(kernel) = kernels.last_mut() {
            kernel.push_str(&format!("{line}\n"));
        }
    }
    kernels
}

#[test]
fn the_first_and_last_product_are_shown_as_they_are() {
    let text = Iris::trainer(Sgd::new(0.1).momentum(0.9)).ir(Stage::Fused);
    let products: Vec<String> = kernels(&text).into_iter().filter(|kernel| kernel.contains(" = dot ")).collect();
    let [first, .., last] = &products[..] else { panic!("{text}") };
    shown("products", &format!("{first}...\n{last}"));
}

#[test]
fn the_fused_kernels_are_shown_as_they_are() {
    let text = Iris::trainer(Adam::new(1e-2)).ir(Stage::Fused);
    let end = text.find("check that").expect("a training step checks its loss");
    shown("fused", &text[..end]);
}

#[test]
fn inference_is_shown_as_it_is() {
    shown("inference", &Iris::predictor().ir(Stage::Fused));
}

#[test]
fn the_table_is_shown_as_it_is() {
    shown("table", &Iris::trainer(Adam::new(1e-2)).to_string());
}

network! {
    /// The smallest that shows the chain rule.
    pub Unit<x: [B, 1] -> y: [B, 1]> { Dense(1), tanh }
    loss(t: [B, 1]) = mse(y, t);
}

#[test]
fn back_propagation_is_shown_as_it_is() {
    shown("backward", &Unit::ir(Stage::Backward));
}

#[test]
fn mistakes_are_shown_as_they_are() {
    let first =
        |name: &str| text(&format!("macros/tests/ui/{name}.stderr")).lines().next().map(|line| format!("{line}\n"));
    shown("mistakes", &["unknown_layer", "misfit", "output"].into_iter().filter_map(first).collect::<String>());
}

#[test]
fn a_misfit_is_shown_as_it_is() {
    let all = text("macros/tests/ui/misfit.stderr");
    let (first, _) = all.split_once("\n\n").expect("there are several");
    shown("misfit", &format!("{}\n", first.replace("tests/ui/misfit.rs:8:9", "src/main.rs:8:9")));
}

#[test]
fn errors_of_a_run_are_shown_as_they_are() {
    let mut net = Iris::trainer(Sgd::new(0.1)).max_batch(32).build().expect("it builds");
    let mut refused = |rows, columns, kind| {
        let x = Array2::<f32>::zeros((rows, columns));
        net.step(x.view(), Array1::from_elem(rows, kind).view()).expect_err("it is refused").to_string()
    };
    let errors = [refused(5, 3, 0), refused(5, 4, 9), refused(100, 4, 0), refused(1, 4, 0)];
    shown("refused", &format!("{}\n", errors.join("\n")));
}

#[test]
fn diagnostics_are_shown_as_they_are() {
    let kinds = Array1::from_shape_fn(30, |i| (i % 3) as u8);
    let flowers =
        Array2::from_shape_fn((30, 4), |(i, j)| ((i % 3 + j) % 4) as f32 + ((7 * i + 3 * j) % 5) as f32 / 10.0);
    let mut net = Iris::trainer(Adam::new(1e-2)).max_batch(32).seed(1).build().expect("it builds");
    shown("diagnostics", &net.diagnose(flowers.view(), kinds.view()).expect("the batch fits").to_string());
}

#[test]
fn the_error_is_shown_as_it_is() {
    let mut net = Logs::trainer(Adam::new(1e-2)).max_batch(32).build().expect("it builds");
    let (x, t) = (array![[1.0, 1.0], [2.0, -3.0]], Array2::zeros((2, 1)));
    let text = net.step(x.view(), t.view()).expect_err("a logarithm is not finite").to_string();
    let (before, rest) = text.split_once('(').expect("it names a place");
    let (_, after) = rest.split_once(')').expect("a place ends");
    // The only line that is broken on the page.
    let text = format!("{before}(src/main.rs:12:19){after}\n").replacen("), element", "),\nelement", 1);
    shown("sentinel", &text);
}

#[test]
fn everything_that_is_said_to_be_printed_is_checked() {
    let checked = [
        "products",
        "fused",
        "inference",
        "table",
        "backward",
        "mistakes",
        "misfit",
        "refused",
        "diagnostics",
        "sentinel",
    ];
    for (path, text) in pages() {
        for (_, rest) in text.match_indices("<!-- ").map(|(at, _)| text.split_at(at)) {
            let name = rest.strip_prefix("<!-- printed: ").and_then(|rest| rest.split_once(" -->\n```text\n"));
            assert!(name.is_some_and(|(name, _)| checked.contains(&name)), "{path}: {}", &rest[..40.min(rest.len())]);
        }
    }
}

#[test]
fn the_readme_is_two_screens() {
    let readme = text("README.md");
    let lines = readme.lines().count();
    assert!(lines <= 110, "{lines} lines");
    // The widest are lines of the IR.
    let long: Vec<&str> = readme.lines().filter(|line| line.chars().count() > 110).collect();
    assert!(long.is_empty(), "too long: {long:#?}");
}

/// So wide are the pages of the documentation, in columns of a listing, on any screen that is wide enough.
const COLUMNS: usize = 95;

#[test]
fn listings_fit_the_page() {
    let mut long = Vec::new();
    for (path, text) in pages() {
        // What is printed is as wide as it is.
        let blocks = text.split("\n```").skip(1).step_by(2).zip(text.split("\n```").step_by(2));
        for block in blocks.filter(|(_, before)| !before.ends_with(" -->")).map(|(block, _)| block) {
            let (kind, lines) = block.split_once('\n').unwrap_or((block, ""));
            let hidden = |line: &str| kind.starts_with("rust") && (line.starts_with("# ") || line == "#");
            let lines = lines.lines().filter(|line| !hidden(line) && line.chars().count() > COLUMNS);
            long.extend(lines.map(|line| format!("{path}: {line}")));
        }
    }
    assert!(long.is_empty(), "wider than {COLUMNS} columns: {long:#?}");
}

/// The cells of a row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// The figures of `benches/README.md`: of the table whose first cell is this, those of the workload, least of these rows first.
fn least(table: &str, workload: &str, rows: &[&str]) -> String {
    let text = text("benches/README.md");
    let mut lines = text.lines().skip_while(|line| cells(line).first() != Some(&table));
    let head = cells(lines.next().unwrap_or_else(|| panic!("no table `{table}`")));
    let column = head.iter().position(|cell| *cell == workload).expect("the workload is measured");
    let figures = lines.take_while(|line| line.starts_with('|')).map(cells);
    let figures = figures.filter(|cells| rows.contains(&cells[0])).map(|cells| cells[column].to_string());
    let number = |cell: &String| cell.replace(',', "").parse::<f64>().expect("it is a number");
    figures.min_by(|x, y| number(x).total_cmp(&number(y))).expect("the framework is measured")
}

#[test]
fn figures_are_those_of_the_benchmarks() {
    let frameworks: [&[&str]; 4] =
        [&["**gradloom/default**"], &["pytorch/eager", "pytorch/compile"], &["jax/jit", "jax/scan"], &["burn/flex"]];
    let rows = [
        ("step of `mlp`, us", "step, 1 thread", "mlp"),
        ("step of `deepbn`, us", "step, 1 thread", "deepbn"),
        ("first step, ms", "first step from the start of the process, ms, 1 thread", "mlp"),
        ("memory, MiB", "peak memory of training, MiB, 1 thread", "mlp"),
    ];
    let readme = text("README.md");
    for (row, table, workload) in rows {
        // A workload that a framework was not measured on in one way has a dash there.
        let measured = |rows: &[&'static str]| match workload {
            "deepbn" => rows.iter().copied().filter(|row| *row != "jax/scan").collect(),
            _ => rows.to_vec(),
        };
        // Four columns, so that a narrow screen shows all of the table.
        let [gradloom, pytorch, jax, burn] = frameworks.map(|rows| least(table, workload, &measured(rows)));
        let wanted = format!("| {row} | {gradloom} | {pytorch}; {jax} | {burn} |");
        assert!(readme.lines().any(|line| line == wanted), "the README should have\n{wanted}");
    }
}

#[test]
fn the_guide_names_every_word_of_the_language() {
    // The reference is made of the same list.
    let pages = pages().into_iter().filter(|(path, _)| path.starts_with("guide/") && path != "guide/reference.md");
    let guide: String = pages.map(|(_, text)| text).collect();
    let layers = layers::ALL.iter().map(|layer| layer.name);
    let words = layers.chain(initializers::ALL.iter().map(|known| known.name));
    let words = words.chain(functions::ALL.iter().map(|function| function.name));
    let missing: Vec<&str> = words.filter(|word| !guide.contains(&format!("`{word}"))).collect();
    assert!(missing.is_empty(), "no page has {missing:?}");
}

#[test]
fn the_guide_names_every_argument_of_a_layer() {
    let chapter = text("guide/language.md");
    for layer in layers::ALL.iter().filter(|layer| !layer.args.is_empty()) {
        let marker = format!("`{}(", layer.name);
        let (_, rest) = chapter.split_once(&marker).unwrap_or_else(|| panic!("language.md lacks `{}(..)`", layer.name));
        let (named, _) = rest.split_once(")`").expect("a quotation ends");
        let mut args = layer.args.iter();
        for name in named.split(", ") {
            // Those of another layer, up to the next name.
            let is_meant = |arg: &layers::ArgDef| {
                name == arg.name || matches!(arg.kind, layers::ArgKind::Word(words) if words.contains(&name))
            };
            let is_there = match name {
                ".." => continue,
                _ if named.contains("..") => args.any(is_meant),
                _ => args.next().is_some_and(is_meant),
            };
            assert!(is_there, "`{name}` of `{}({named})` is not its next argument", layer.name);
        }
        assert!(named.ends_with("..") || args.len() == 0, "`{}({named})` has more arguments", layer.name);
    }
}

#[test]
fn every_page_begins_with_what_it_is_about() {
    for (path, text) in pages() {
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let (title, first) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        assert!(
            title.starts_with("# ") && first.starts_with(|c: char| c.is_alphabetic() || c == '`'),
            "{path}: {first}"
        );
    }
}

#[test]
fn the_two_commands_are_what_is_checked_of_every_change() {
    let (readme, ci) = (text("README.md"), text(".ci/run"));
    let (_, commands) = readme.split_once("## Two commands\n\n```text\n").expect("the README has two commands");
    let commands = commands.lines().take_while(|line| *line != "```");
    let commands: Vec<&str> = commands.filter_map(|line| line.split('#').next()).map(str::trim).collect();
    assert_eq!(commands, ["cargo run --example digits", "cargo test"]);
    assert!(
        ci.contains("\nstep cargo run --locked \"${features[@]}\" --example digits ")
            && ci.contains("\nstep cargo test "),
        "{ci}"
    );
}

/// The pages, and what else is written for people: each with its path.
fn documents() -> Vec<(String, String)> {
    let others = [
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "benches/README.md",
        "examples/data/README.md",
        "examples/serve/README.md",
        "tests/golden/README.md",
        "runtime/src/lib.rs",
    ];
    pages().into_iter().chain(others.map(|path| (path.to_string(), text(path)))).collect()
}

#[test]
fn links_and_examples_lead_somewhere() {
    for (path, text) in documents() {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for line in text.lines().filter(|line| line.starts_with('[')) {
            let Some((name, target)) = line.split_once("]: ") else { continue };
            let target = crate::project().join(folder).join(target);
            assert!(target.exists(), "{path}: {} leads nowhere", &name[1..]);
        }
        // What stands in code is an index.
        let uses = text.split("```").step_by(2).flat_map(|prose| prose.split('`').step_by(2));
        for name in uses.flat_map(|prose| prose.split("][").skip(1)).filter_map(|rest| rest.split(']').next()) {
            assert!(text.contains(&format!("\n[{name}]: ")), "{path}: nothing says where [{name}] leads");
        }
        for name in text.split("--example ").skip(1).filter_map(|rest| rest.split([' ', '\n', '`']).next()) {
            assert!(crate::project().join(format!("examples/{name}.rs")).exists(), "{path}: no example {name}");
        }
    }
}

#[test]
fn the_lines_for_debug_builds_are_those_that_the_tests_are_built_with() {
    let lines = |path: &str| -> Vec<String> {
        let page = text(path);
        let (_, block) = page.split_once("```toml\n").expect("it shows a Cargo.toml");
        let lines = block.lines().take_while(|line| *line != "```").map(|line| line.split('#').next().unwrap_or(""));
        lines.map(|line| line.trim_end().to_string()).collect()
    };
    let shown = lines("README.md");
    assert_eq!(shown, lines("guide/cargo.md"));
    let own = text("Cargo.toml");
    let profile = shown.iter().skip_while(|line| *line != "[profile.dev]").filter(|line| !line.is_empty());
    let profile: Vec<&String> = profile.filter(|line| !line.starts_with("my-crate.")).collect();
    let missing: Vec<&&String> = profile.iter().filter(|line| !own.lines().any(|own| own == ***line)).collect();
    assert!(profile.len() >= 5 && missing.is_empty(), "this workspace does without {missing:?}");
}

#[test]
fn the_guide_lists_every_example() {
    let chapter = text("guide/first_network.md");
    let (_, list) = chapter.split_once("## The examples").expect("it lists them");
    let files = std::fs::read_dir(crate::project().join("examples")).expect("there are examples");
    let names = files.filter_map(|file| {
        let path = file.ok()?.path();
        (path.extension()? == "rs").then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
    });
    let names: Vec<String> = names.collect();
    let missing: Vec<&String> = names.iter().filter(|name| !list.contains(&format!("| `{name}` |"))).collect();
    assert!(names.len() > 10 && missing.is_empty(), "no word of {missing:?}");
}

/// What stands between backticks, outside of listings.
fn quoted(text: &str) -> Vec<&str> {
    let listings = text.split("```").step_by(2);
    listings.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// Whether a quotation is the path of a file or folder of the project.
fn is_path(quotation: &str) -> bool {
    let folders = ["runtime/", "macros/", "tests/", "src/", "guide/", "benches/", "examples/", ".ci/"];
    let plain = quotation.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    let named = quotation.ends_with(".md") && !quotation.contains('/');
    plain && (named || folders.iter().any(|folder| quotation.starts_with(folder)))
}

#[test]
fn files_and_folders_that_are_named_exist() {
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for quotation in quoted(&text).into_iter().filter(|quotation| is_path(quotation)) {
            if !crate::project().join(quotation).exists() {
                missing.push(format!("{path}: `{quotation}`"));
            }
        }
    }
    assert!(missing.is_empty(), "there is no {missing:#?}");
    let contributing = text("CONTRIBUTING.md");
    let named = quoted(&contributing).into_iter().filter(|quotation| is_path(quotation)).count();
    assert!(named > 40, "{named} files are named where one says how to contribute");
}

#[test]
fn tests_that_are_named_exist() {
    let contributing = text("CONTRIBUTING.md");
    let mut named = 0;
    for quotation in quoted(&contributing) {
        let Some((module, test)) = quotation.split_once("::") else { continue };
        let word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let file = crate::project().join(format!("tests/it/{module}.rs"));
        if !word(module) || !word(test) || test.is_empty() || !file.exists() {
            continue;
        }
        let tests = fs::read_to_string(&file).expect("a module of the tests can be read");
        assert!(tests.contains(&format!("\nfn {test}() {{")), "there is no test {quotation}");
        named += 1;
    }
    assert!(named > 10, "{named} tests are named");
}

#[test]
fn the_architecture_names_every_room() {
    let text = text("runtime/src/lib.rs");
    let (docs, rooms): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("//!"));
    assert!(docs.len() <= 150, "{} lines", docs.len());
    let docs = docs.join("\n");
    let rooms = rooms.iter().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<&str> = rooms.filter(|room| !docs.contains(&format!("[`{room}`]"))).collect();
    assert!(missing.is_empty(), "the crate's documentation says nothing of {missing:?}");
}

#[test]
fn the_documentation_has_every_chapter_and_every_link() {
    let (chapters, links) = (text("src/guide.rs"), text("src/lib.rs"));
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (path, text) in pages() {
        if let Some(chapter) = path.strip_prefix("guide/").filter(|file| *file != "README.md") {
            let name = chapter.trim_end_matches(".md");
            assert!(chapters.contains(&format!("    {name}: \"../guide/{chapter}\"\n")), "guide.rs lacks {name}");
        }
        let defined = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
        names.extend(defined.map(|(name, _)| name[1..].to_string()));
    }
    // Not a page but what the next test looks at.
    names.remove("picture");
    for name in names {
        assert!(links.contains(&format!("[{name}]: crate::")), "lib.rs does not say where [{name}] leads");
    }
}

/// Bytes in the 64 letters of RFC 4648.
fn base64(bytes: &[u8]) -> String {
    let letters: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let groups = bytes.chunks(3).map(|group| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        let letter = |at: usize| if at > group.len() { '=' } else { letters[(bits >> (18 - 6 * at)) as usize % 64] };
        (0..4).map(letter).collect::<String>()
    });
    groups.collect()
}

#[test]
fn the_picture_of_the_documentation_is_that_of_the_readme() {
    assert_eq!(["", "f", "fo", "foo"].map(|text| base64(text.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v"]);
    let wanted = format!("[picture]: data:image/svg+xml;base64,{}\n", base64(text("guide/vanishing.svg").as_bytes()));
    if text("src/picture.txt") != wanted {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("picture.txt");
        fs::write(&made, &wanted).expect("the target folder can be written to");
        panic!("src/picture.txt is not guide/vanishing.svg; the new one is {}", made.display());
    }
}

/// The chapters as the guide's first page lists them.
fn chapters() -> Vec<String> {
    let list = text("guide/README.md");
    let numbered = list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    numbered.filter_map(|line| Some(line.split_once("][")?.1.split_once(']')?.0.to_string())).collect()
}

#[test]
fn each_chapter_ends_with_the_next_one() {
    let (chapters, documented) = (chapters(), text("src/guide.rs"));
    let order = documented.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": \"../guide/"));
    assert_eq!(chapters, order.map(|(name, _)| name.to_string()).collect::<Vec<_>>(), "the orders differ");
    for pair in chapters.windows(2) {
        let page = text(&format!("guide/{}.md", pair[0]));
        let next = page.lines().rfind(|line| line.starts_with("Next: ")).unwrap_or_default();
        assert!(next.ends_with(&format!("][{}].", pair[1])), "guide/{}.md: {next}", pair[0]);
    }
}
