//! What the guide says is written here in place of the words of PyTorch, Keras and scikit-learn is, and it runs.

use std::error::Error;
use std::fs;

use gradloom::evaluation::{self, Confusion, roc_auc};
use gradloom::ndarray::{Array1, Array2, Array4, Axis, array};
use gradloom::{
    Adam, Categories, ClassWeights, Columns, Dataset, Ending, Fill, Group, NameMap, Progress, Schedule, Sgd, Sweep,
    Table, network,
};

network! {
    act gain = |x, a = 1.0| a * x;

    pub Net(hidden: usize = 64)<x: [B, 20] -> logits: [B, 10]> {
        Dense(hidden), gain, Dense(64), residual { Dense(64), relu }, Dense(64), relu, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-4 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);

    pub Clothes<image: [u8; B, 1, 28, 28] -> logits: [B, 2]> {
        normalize(mean = 0.286, std = 0.353), random_flip, Conv2d(8, 3, pad = 1), relu, max_pool(2), BatchNorm,
        concat { { global_avg_pool }, { flatten, Dropout(0.5), Dense(2) } }, Dense(2),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    pub Text<tokens: [u16; B, 6] -> logits: [B, 2]> {
        Embedding(65, 32), residual { LayerNorm, Attention(4) }, Lstm(16), scan |x, h| 0.5 * h + 0.5 * x,
        Lstm(16, last = true), Dense(2),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    pub Tower<(user: [B, 4], item: [B, 3]) -> (score: [B], probability: [B, 2])> {
        let u = user -> Dense(16);
        let v = item -> Dense(16);
        let logits = (u, v) -> concat, Dense(2);
        probability = softmax(logits);
        score = sum(u * v, axis = -1);
    }
    loss(y: [B]) = bce_with_logits(score, y);

    pub Rides<x: [B, 6, 2] -> y: [B, 6, 1]> { Lstm(4), Dense(1) }
    loss(t: [B, 6, 1]) = mse(y, t);

    pub Prices(features: usize = 3)<x: [B, features] -> y: [B, 1]> { Standardize, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    pub Shares<x: [B, 3] -> y: [B, 1]> { MinMax, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

/// Forty rows of twenty numbers, of two kinds.
fn rows() -> (Array2<f32>, Array1<u8>) {
    let x = Array2::from_shape_fn((40, 20), |(i, j)| ((7 * i + 3 * j) % 11) as f32 / 11.0 - 0.5);
    (x, Array1::from_shape_fn(40, |i| (i % 2) as u8))
}

#[test]
fn training_and_using_a_network_is_written_so() -> Result<(), Box<dyn Error>> {
    let (all, labels) = rows();
    let (x, y) = (all.view(), labels.view());
    let mut data = Dataset::new(all.clone(), labels.clone())?.seed(1);
    let trainer = Net::trainer(Adam::new(1e-3))
        .seed(1)
        .threads(2)
        .clip_norm(1.0)
        .sentinel(true)
        .freeze("dense1.*")
        .group(Group::new("*.bias").no_weight_decay());
    let mut net = trainer.max_batch(64).build()?;
    println!("{net}");
    assert_eq!(net.summary().parameters, net.param_count());
    let found = net.find_rate(&mut data).range(1e-5, 1e-2).steps(10).run()?;
    assert_eq!((found.rates.len(), net.steps()), (10, 0));
    let mut steps = 0;
    for (x, y) in data.batches(64) {
        net.step(x, y)?;
        steps += 1;
    }
    assert_eq!(steps, 1);
    net.accumulate(x, y)?;
    net.update()?;
    let mut epochs = 0;
    let fit = net.fit(&mut data).epochs(5).batch_size(64).validation_split(0.2);
    let fit = fit.early_stopping(10).restore_best(true).progress(Progress::Quiet);
    let history = fit.on_epoch(|net, epoch| epochs += usize::from(net.steps() > 0 && epoch.train.loss > 0.0)).run()?;
    assert_eq!((history.epochs.len(), epochs), (5, 5));
    assert!(history.end == Ending::Completed && history.to_csv().lines().count() == 6);
    assert!(history.to_svg().ends_with("</svg>\n") && net.diagnose(x, y)?.layer("dense2").is_some());
    assert_eq!(net.gradients(x, y)?.get("dense2.weight")?.shape(), [64, 64]);
    assert!((0.0..=1.0).contains(&net.evaluate(x, y)?.accuracy) && net.evaluate(x, y)?.loss > 0.0);
    assert_eq!(net.predict(x)?.dim(), (40, 10));
    assert_eq!(net.monte_carlo(x, 50, 1)?.mean, net.predict(x)?);
    assert_eq!(net.param("dense1.weight")?.shape(), [20, 64]);
    assert!(net.param_count() > 20 * 64 && net.profile(x, y)?.to_string().contains("dense1"));
    assert!(Net::gradcheck(x, y)?.passed());

    let found = Sweep::new().over("hidden", [16, 64]).threads(1).progress(Progress::Quiet).run(|(hidden,)| {
        let mut net = Net::trainer(Adam::new(1e-3)).with(|sizes| sizes.hidden = hidden).build()?;
        net.fit(&mut data.clone()).run()
    })?;
    assert!(found.trials.len() == 2 && found.best().is_some());

    let mut net = Net::trainer(Sgd::new(Schedule::cosine(1e-2, 1000))).with(|sizes| sizes.hidden = 32).build()?;
    assert!(net.gradients(x, y)?.get("dense1.weight")?.iter().any(|number| *number != 0.0));
    let path = std::env::temp_dir().join(format!("gradloom-coming-{}.safetensors", std::process::id()));
    net.save(&path)?;
    net.load(&path)?;
    let mut predictor = Net::predictor().load(&path)?;
    assert_eq!(predictor.predict(x)?, net.predict(x)?);

    // With another last layer than the file has.
    let last = net.param("dense4.weight")?.mapv(|number| number + 1.0);
    net.set_param("dense4.weight", last.view())?;
    net.load_mapped(&path, &NameMap::new().kept("dense4.*"))?;
    assert_eq!(net.param("dense4.weight")?, last.view());
    let names = "rose,lily";
    net.attach("names", &names)?;
    net.save(&path)?;
    let predictor = Net::predictor().load(&path)?;
    let found: String = predictor.attached("names")?;
    assert_eq!(found, names);
    fs::remove_file(&path)?;

    let element = [1.0, 2.0];
    let predictor = Rides::predictor().build()?;
    let mut forecasts = predictor.stream()?;
    assert_eq!(forecasts.feed(&element)?, predictor.stream()?.feed(&element)?);
    Ok(())
}

#[test]
fn layers_are_written_so() -> Result<(), Box<dyn Error>> {
    let labels = array![0u8, 1];
    let images = Array4::from_elem((2, 1, 28, 28), 100u8);
    Clothes::trainer(Adam::new(1e-3)).build()?.step(images.view(), labels.view())?;
    Text::trainer(Adam::new(1e-3)).build()?.step(Array2::from_elem((2, 6), 3u16).view(), labels.view())?;
    let (user, item) = (Array2::ones((2, 4)), Array2::ones((2, 3)));
    let mut tower = Tower::trainer(Adam::new(1e-3)).build()?;
    tower.step((user.view(), item.view()), array![1.0, 0.0].view())?;
    let sums = tower.predict((user.view(), item.view()))?.probability.sum_axis(Axis(1));
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
    Ok(())
}

#[test]
fn what_is_like_scikit_learn_is_written_so() -> Result<(), Box<dyn Error>> {
    let (all, labels) = rows();
    let made = || Dataset::new(all.clone(), labels.clone());
    let data = made()?;
    let (train, test) = data.split(0.2)?;
    assert_eq!((train.len(), test.len()), (32, 8));
    let data = made()?;
    let data = data.filter(|_, labels, row| labels[row] < 2)?;
    assert_eq!(data.len(), 40);
    let (_, test) = data.split_stratified(0.2)?;
    assert_eq!(test.targets().iter().filter(|label| **label == 1).count(), 4);
    let data = made()?;
    let mut parts = 0;
    for pair in data.folds(5)? {
        parts += pair?.1.len();
    }
    assert_eq!(parts, 40);
    let data = made()?;
    assert_eq!(data.folds_stratified(5)?.count(), 5);
    assert_eq!(ClassWeights::balanced(labels.view(), 2)?.of_rows(labels.view())?, Array1::ones(40));

    let logits = Array2::from_shape_fn((40, 2), |(i, j)| if i % 2 == j { 1.0 } else { -1.0 });
    assert_eq!(Confusion::of_scores(labels.view(), logits.view())?.counts(), array![[20, 0], [0, 20]]);
    assert_eq!(roc_auc(labels.view(), logits.column(1))?, 1.0);

    let wide = Array2::from_shape_fn((40, 3), |(i, j)| (100 * j + i) as f32);
    let x = wide.view();
    let mut net = Prices::trainer(Adam::new(1e-2)).build()?;
    net.recalibrate(x)?;
    let mut net = Shares::trainer(Adam::new(1e-2)).build()?;
    net.recalibrate(x)?;
    assert!(net.predict(x)?.iter().all(|y| y.abs() < 10.0));
    Ok(())
}

#[test]
fn what_is_like_pandas_is_written_so() -> Result<(), Box<dyn Error>> {
    let row = |n: usize| format!("{};{n},5;{};{}\n", ["-", "1", "2", "3"][n % 4], ["Ulm", "Kiel"][n / 4 % 2], n % 2);
    let path = &std::env::temp_dir().join(format!("gradloom-pandas-{}", std::process::id()));
    fs::write(path, format!("a;b;c;y\n{}", (0..60).map(row).collect::<String>()))?;
    let table = Table::reader().delimiter(';').decimal_comma().missing(["-"]).read(path)?;
    println!("{table}");
    let table = table.without_missing(["a"])?;
    assert_eq!(
        (table.numbers(["a", "b"])?.dim(), table.number("a")?.len(), table.text("a")?.count()),
        ((45, 2), 45, 45)
    );
    assert_eq!((table.folds(5)?.count(), table.folds_stratified(5, "y")?.count()), (5, 5));
    let (train, test) = table.split_stratified(0.2, "y")?;
    let columns = Columns::new().numbers(["a"]).fill(Fill::Median).one_hot("a").other().one_hot("c").fit(&train)?;
    assert_eq!(columns.encode(&test)?.dim(), (9, 6));
    let data = Dataset::new(columns.encode(&train)?, train.numbers(["b"])?)?;
    let trainer = Prices::trainer(Adam::new(1e-2)).with(|sizes| sizes.features = columns.width());
    let mut net = trainer.build()?;
    net.recalibrate(data.inputs())?;
    net.attach("columns", &columns)?;
    net.save(path)?;
    fs::remove_file(path)?;

    let kinds = Categories::fit(&train, "a")?;
    let id = 2;
    assert_eq!(kinds.name(id), "3");
    let (ids, names) = (kinds.encode::<u8>(&test)?, kinds.names());
    let (labels, classes) = (ids.view(), 3);
    assert_eq!(ClassWeights::balanced(labels, classes)?.weights().len(), 3);
    let logits = Array2::from_shape_fn((9, 3), |(i, j)| if usize::from(ids[i]) == j { 1.0 } else { 0.0 });
    let logits = logits.view();
    assert!(Confusion::of_scores(labels, logits)?.named(names).to_string().contains('3'));
    let scores = test.number("y")?;
    let ids = scores.mapv(|y| y as u8);
    let (labels, scores) = (ids.view(), scores.view());
    assert_eq!(evaluation::roc_auc(labels, scores)?, 1.0);
    Ok(())
}

/// What stands between backticks in the last cell of a row; a bar inside is written `\|`.
fn calls(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\u{1}");
    let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).map(|call| call.replace('\u{1}', "|")).collect()
}

#[test]
fn every_call_of_the_tables_stands_here() {
    let chapter = fs::read_to_string(crate::project().join("guide/coming_from.md")).expect("there is the chapter");
    let (tables, _) = chapter.split_once("## Conventions").expect("conventions are words");
    let of_pandas = fs::read_to_string(crate::project().join("guide/tables.md")).expect("there is the chapter");
    let (_, of_pandas) = of_pandas.split_once("## If you come from pandas").expect("there is the section");
    // As one line, however it is broken here.
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let (code, _) = include_str!("coming_from.rs").split_once("/// What stands between").expect("the calls come first");
    let code = squeezed(code);
    let lines = tables.lines().chain(of_pandas.lines()).filter(|line| line.starts_with("| "));
    let rows: Vec<String> = lines.flat_map(calls).collect();
    assert!(rows.len() > 110, "{} calls", rows.len());
    let missing: Vec<&String> = rows.iter().filter(|call| !code.contains(&squeezed(call))).collect();
    assert!(missing.is_empty(), "nothing runs {missing:#?}");
}
