//! Tables: what is read of a file, what is said of one that is damaged, and what becomes of columns.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use gradloom::ndarray::{Array1, Array2, Axis, array};
use gradloom::{Adam, Categories, Columns, Dataset, Encoder, Fill, Predictor, Table, TableError, network};
use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::budget;
use crate::checkpoint::folder;

network! {
    /// As wide as the columns turn out to be.
    Price(features: usize = 1)<x: [B, features] -> price: [B, 1]> { Standardize, Dense(16), tanh, Dense(1) }
    loss(paid: [B, 1]) = mse(price, paid);

    /// The city has a vector of its own.
    Towns<(x: [B, 2], city: [u16; B]) -> logits: [B, 2]> {
        let place = city -> Embedding(3, 4);
        logits = (x, place) -> concat, Dense(8), relu, Dense(2);
    }
    loss(dear: [u8; B]) = cross_entropy(logits, dear);
}

const HOUSES: &str = "\
rooms,age,city,price
3,10,Ulm,210
2,,\"Halle, Saale\",95
5,40,Ulm,320
4,25,Kiel,
";

fn houses() -> Table {
    Table::parse(HOUSES).expect("it is a table")
}

fn error<T>(result: Result<T, TableError>) -> String {
    result.err().expect("it is an error").to_string()
}

/// A column as it was read.
fn texts(table: &Table, column: &str) -> Vec<String> {
    table.text(column).expect("the column is there").map(str::to_string).collect()
}

#[test]
fn cells_are_what_stands_between_delimiters_and_quotes() {
    let text = "\u{feff} a , b\r\n\r\n1,\"x, \"\"y\"\"\"\r\n\" 2 \" ,\"two\r\nlines\"\r\n,";
    let table = Table::parse(text).expect("it is a table");
    assert_eq!(table.header(), ["a", "b"]);
    assert_eq!(texts(&table, "a"), ["1", "2", ""]);
    assert_eq!(texts(&table, "b"), ["x, \"y\"", "two\r\nlines", ""]);
    assert_eq!(table.len(), 3);
    let table = Table::reader().delimiter('\t').header(["n", "word"]).missing(["NA"]).parse("1\tNA\nNA\tNAN\n");
    let table = table.expect("it is a table");
    assert_eq!(
        (texts(&table, "n"), texts(&table, "word")),
        (vec!["1".into(), "".into()], vec!["".into(), "NAN".into()])
    );
}

#[test]
fn errors_name_line_and_column() {
    // An empty line, a cell of two lines, and both ways to end a line.
    for end in ["\n", "\r\n", "\r"] {
        let text = ["a,b", "", "1,\"x", "y\"", "", "", "2,z", "three,z", ""].join(end);
        let table = Table::parse(text).expect("it is a table");
        assert_eq!(error(table.number("a")), "line 8, column `a`: \"three\" is no number");
    }
    let rows = Table::new(["a"], [["1"], [""]]).expect("it is a table");
    assert_eq!(
        error(rows.number("a")),
        "row 2, column `a`: the cell is empty, where a number is wanted; `Columns::fill` fills it"
    );
    let path = folder("tables").join("houses.csv");
    fs::write(&path, HOUSES).expect("the folder can be written");
    let table = Table::read(&path).expect("it is a table");
    let text = error(table.numbers(["rooms", "price"]));
    assert_eq!(
        text.strip_prefix(&path.display().to_string()),
        Some(", line 5, column `price`: the cell is empty, where a number is wanted; `Columns::fill` fills it")
    );
    // Of a part, the line is still that of the file.
    let part = table.without_missing(["price"]).expect("three are left");
    assert_eq!(part.len(), 3);
    assert!(error(part.number("age")).contains(", line 3, column `age`: "));
}

#[test]
fn damaged_files_are_errors_that_say_where() {
    let of = |bytes: &[u8]| error(Table::parse(bytes));
    let all = [
        of(b""),
        of(b"\n\n"),
        of(b"a,b\n"),
        of(b"a,b\n1\n"),
        of(b"a,b\n1,2\n\n3,4,5\n"),
        of(b"a,b\n1,2\n3,\"4"),
        of(b"a,b\n1,2\n\"3,4\n5,6\n7,8\n"),
        of(b"a,\"b\n1,2\n"),
        of(b"a,b\n1,2\n3,\xff\n"),
        of(b"a\xff,b\n1,2\n"),
        error(Table::new(["a", "b"], [vec!["1", "2"], vec!["3"]])),
        error(Table::new(["a", "b"], Vec::<[&str; 2]>::new())),
        error(Table::new(Vec::<String>::new(), [["1"]])),
        error(Table::reader().delimiter('"').parse("a")),
        error(Table::reader().delimiter('é').parse("a")),
        error(Table::reader().header(["a"]).parse("1,2\n")),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    the table is empty: there is no header
    the table is empty: there is no header
    the table has no rows
    line 2: 1 cell, and the header has 2
    line 4: 3 cells, and the header has 2
    line 3: a quote is opened and not closed before the end
    line 3: a quote is opened and not closed before the end
    line 1: a quote is opened and not closed before the end
    line 3, column 2: it is not UTF-8, in which tables are read
    line 1, column 1: it is not UTF-8, in which tables are read
    row 2: 1 cell, and the header has 2
    the table has no rows
    row 1: 1 cell, and the header has 0
    the delimiter must be an ASCII character that is neither a quote nor the end of a line, got "\""
    the delimiter must be an ASCII character that is neither a quote nor the end of a line, got "é"
    line 1: 2 cells, and the header has 1
    "#);
    let nowhere = folder("tables_nowhere").join("none.csv");
    let text = error(Table::read(&nowhere));
    assert!(text.starts_with(&format!("cannot read {}: ", nowhere.display())), "{text}");
    assert!(error(Table::read(nowhere.parent().expect("a folder"))).starts_with("cannot read "));
}

#[test]
fn columns_that_are_not_there_or_twice_are_errors() {
    let table = houses();
    let many = Table::parse("a;b;c\n1;2;3\n").expect("it is a table");
    let twice = Table::parse("a,b,a,,\n1,2,3,4,5\n").expect("only those that are asked for matter");
    assert_eq!(twice.number("b").expect("it is there once"), array![2.0]);
    let all = [
        error(table.number("room")),
        error(table.number("bath")),
        error(many.number("b")),
        error(twice.number("a")),
        error(twice.number("")),
        error(Columns::new().numbers(["rooms", "agee"]).fit(&table)),
        error(Columns::new().one_hot("country").fit(&table)),
        error(table.split_stratified(0.5, "town")),
    ];
    assert_snapshot!(all.join("\n"), @"
    the table has no column `room`; did you mean `rooms`?
    the table has no column `bath`; there are `rooms`, `age`, `city`, `price`
    the table has no column `b`; `Table::reader().delimiter(';')` reads what has ';' between its cells
    the table has the name `a` twice, in columns 1 and 3
    the table has the name `` twice, in columns 4 and 5
    the table has no column `agee`; did you mean `age`?
    the table has no column `country`; there are `rooms`, `age`, `city`, `price`
    the table has no column `town`; there are `rooms`, `age`, `city`, `price`
    ");
}

#[test]
fn numbers_are_finite_and_written_as_usual() {
    let read = |text: &str| Table::new(["x"], [[text]]).and_then(|table| table.number("x")).map(|x| x[0]);
    let known = [
        ("0", 0.0),
        ("-1.5", -1.5),
        ("+2", 2.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        (" 7 ", 7.0),
        ("0.1000000000000000055511151231257827", 0.1),
        ("16777217", 16_777_216.0),
        ("3.4028235e38", f32::MAX),
        ("1e-60", 0.0),
        ("00012", 12.0),
    ];
    for (text, number) in known {
        assert_eq!(read(text), Ok(number), "{text}");
    }
    let wrong = [
        "1e39",
        "-9999999999999999999999999999999999999999",
        "NaN",
        "inf",
        "-Infinity",
        "NA",
        "1,5",
        "1.234,5",
        "1 2",
        "0x10",
        "1_000",
        "ten",
        "-",
        "٣",
        "1e",
        "--1",
    ];
    assert_snapshot!(wrong.map(|text| error(read(text))).join("\n"), @r#"
    row 1, column `x`: "1e39" is too large for an f32
    row 1, column `x`: "-9999999999999999999999999999999999999999" is too large for an f32
    row 1, column `x`: "NaN" is no number; `Table::reader().missing([..])` says which words stand for what is missing
    row 1, column `x`: "inf" is no finite number
    row 1, column `x`: "-Infinity" is no finite number
    row 1, column `x`: "NA" is no number; `Table::reader().missing([..])` says which words stand for what is missing
    row 1, column `x`: "1,5" is no number; `Table::reader().decimal_comma()` reads a comma as the decimal point
    row 1, column `x`: "1.234,5" is no number
    row 1, column `x`: "1 2" is no number
    row 1, column `x`: "0x10" is no number
    row 1, column `x`: "1_000" is no number
    row 1, column `x`: "ten" is no number
    row 1, column `x`: "-" is no number; `Table::reader().missing([..])` says which words stand for what is missing
    row 1, column `x`: "٣" is no number
    row 1, column `x`: "1e" is no number
    row 1, column `x`: "--1" is no number
    "#);
    let comma = |text: &str| {
        let table = Table::reader().delimiter(';').decimal_comma().parse(format!("x\n{text}\n"));
        table.and_then(|table| table.number("x")).map(|x| x[0])
    };
    assert_eq!(comma("-1,5e2"), Ok(-150.0));
    assert_eq!(comma("12"), Ok(12.0));
    assert!(error(comma("1.5")).contains("\"1.5\" is no number"));
    assert!(error(comma("1,5,0")).contains("\"1,5,0\" is no number"));
}

#[test]
fn columns_become_features_in_the_order_in_which_they_were_named() {
    let table = houses();
    let columns =
        Columns::new().one_hot("city").numbers(["age", "rooms"]).fill(Fill::Mean).fit(&table).expect("they fit");
    assert_eq!(columns.names(), ["city=Halle, Saale", "city=Kiel", "city=Ulm", "age", "rooms"]);
    assert_eq!(columns.width(), 5);
    let expected = array![
        [0.0, 0.0, 1.0, 10.0, 3.0],
        [1.0, 0.0, 0.0, 25.0, 2.0],
        [0.0, 0.0, 1.0, 40.0, 5.0],
        [0.0, 1.0, 0.0, 25.0, 4.0],
    ];
    assert_eq!(columns.encode(&table).expect("all is known"), expected);
}

#[test]
fn gaps_are_filled_with_what_the_training_part_says() {
    let train = Table::parse("x,y\n1,\n,\n2,\n30,\n4,\n").expect("it is a table");
    let other = Table::parse("y,x\n,100\n,\n").expect("it is a table");
    let filled = |fill: Fill| {
        let columns = Columns::new().numbers(["x"]).fill(fill).fit(&train).expect("it fits");
        columns.encode(&other).expect("it is filled").column(0).to_vec()
    };
    assert_eq!(filled(Fill::Mean), [100.0, 9.25]);
    assert_eq!(filled(Fill::Median), [100.0, 3.0]);
    assert_eq!(filled((-1.0).into()), [100.0, -1.0]);
    let odd = Table::parse("x\n9\n1\n5\n").expect("it is a table");
    let columns = Columns::new().numbers(["x"]).fill(Fill::Median).fit(&odd).expect("it fits");
    assert_eq!(columns.encode(&other).expect("it is filled")[[1, 0]], 5.0);
    // Numbers whose sum is beyond f32 have a mean.
    let large = Table::parse("x,y\n3e38,\n3e38,\n,\n").expect("it is a table");
    for fill in [Fill::Mean, Fill::Median] {
        let columns = Columns::new().numbers(["x"]).fill(fill).fit(&large).expect("it fits");
        assert_eq!(columns.encode(&large).expect("it is filled")[[2, 0]], 3e38);
    }
    let cities = Table::parse("city,n\nUlm,1\n,2\nKiel,3\n").expect("it is a table");
    let columns = Columns::new().one_hot("city").fill("unknown").fit(&cities).expect("it fits");
    assert_eq!(columns.names(), ["city=Kiel", "city=Ulm", "city=unknown"]);
    assert_eq!(columns.encode(&cities).expect("it is filled").row(1).to_vec(), [0.0, 0.0, 1.0]);
}

#[test]
fn wishes_that_do_not_suit_a_column_are_errors() {
    let table = houses();
    let empty = Table::parse("x,y\n,\n,\n").expect("it is a table");
    let all = [
        error(Columns::new().fit(&table)),
        error(Columns::new().fill(0.0).numbers(["rooms"]).fit(&table)),
        error(Columns::new().other().one_hot("city").fit(&table)),
        error(Columns::new().numbers(Vec::<String>::new()).fit(&table)),
        error(Columns::new().numbers(["rooms"]).fill("none").fit(&table)),
        error(Columns::new().numbers(["rooms"]).fill(f32::NAN).fit(&table)),
        error(Columns::new().numbers(["rooms"]).other().fit(&table)),
        error(Columns::new().numbers(["rooms"]).categories(["a"]).fit(&table)),
        error(Columns::new().one_hot("city").fill(Fill::Mean).fit(&table)),
        error(Columns::new().one_hot("city").fill(" ").fit(&table)),
        error(Columns::new().one_hot("city").categories(["Ulm", "Ulm "]).fit(&table)),
        error(Columns::new().one_hot("city").categories(Vec::<String>::new()).fit(&table)),
        error(Columns::new().one_hot("city").categories(["Ulm", ""]).fit(&table)),
        error(Columns::new().numbers(["city"]).fill(Fill::Median).fit(&table)),
        error(Columns::new().numbers(["x"]).fill(Fill::Median).fit(&empty)),
        error(Columns::new().one_hot("x").fit(&empty)),
        error(Categories::fit(&empty, "y")),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    no columns are named before `fit`
    no columns are named before `fill`
    no columns are named before `other`
    no columns are named before `fit`
    column `rooms` is of numbers, and "none" is none
    column `rooms` can't be filled with NaN, which is not finite
    column `rooms` is of numbers, which have no categories
    column `rooms` is of numbers, which have no categories
    column `city` is of categories, and is filled with the name of one
    column `city` is of categories, and is filled with the name of one
    column `city` is given a category twice
    column `city` is given no categories
    column `city` is given an empty category
    line 2, column `city`: "Ulm" is no number
    column `x` has nothing in its cells
    column `x` has nothing in its cells
    column `y` has nothing in its cells
    "#);
}

#[test]
fn categories_are_those_of_the_training_part() {
    let kinds = Table::parse("kind\n10\n9\n1e1\n-3\n9\n").expect("it is a table");
    let kinds = Categories::fit(&kinds, "kind").expect("there are some");
    assert_eq!(kinds.names(), ["-3", "9", "10", "1e1"]);
    let words = Table::parse("kind\n10\nb\n9\n\n").expect("it is a table");
    let words = Categories::fit(&words, "kind").expect("there are some");
    assert_eq!(words.names(), ["10", "9", "b"]);

    let (train, rows) = (houses(), Table::parse("city,n\nKiel,1\nUlmm,2\n,3\nUlm,4\n").expect("it is a table"));
    let cities = Categories::fit(&train, "city").expect("there are some");
    assert_eq!((cities.len(), cities.column(), cities.name(1)), (3, "city", "Kiel"));
    assert_eq!(cities.encode::<u16>(&train).expect("all are known").to_vec(), [2, 0, 2, 1]);
    let with_other = cities.clone().other();
    assert_eq!((with_other.len(), with_other.name(3)), (4, "other"));
    assert_eq!(with_other.encode::<u32>(&rows).expect("all are known").to_vec(), [1, 3, 3, 2]);
    let filled = with_other.clone().fill("Kiel");
    assert_eq!(filled.encode::<u8>(&rows).expect("all are known").to_vec(), [1, 3, 1, 2]);
    let one_hot = Columns::new().one_hot("city");
    let zeros = one_hot.clone().other().fit(&train).expect("it fits").encode(&rows).expect("all are taken");
    assert_eq!(zeros.sum_axis(Axis(1)).to_vec(), [1.0, 0.0, 0.0, 1.0]);

    let gap = Table::parse("n,city\n1,Kiel\n2,\n").expect("it is a table");
    let many = Table::new(["n"], (0..300).map(|n| [n.to_string()])).expect("it is a table");
    let many = Categories::fit(&many, "n").expect("there are some");
    assert_eq!(many.names()[255], "255");
    let all = [
        error(cities.encode::<u8>(&rows)),
        error(cities.encode::<u8>(&gap)),
        error(one_hot.clone().fit(&train).and_then(|columns| columns.encode(&rows))),
        error(one_hot.categories(["Ulm", "Bonn"]).fit(&train).and_then(|columns| columns.encode(&train))),
        error(many.encode::<u8>(&gap)),
        error(many.encode::<u16>(&Table::new(["n"], [["7"], ["07"]]).expect("it is a table"))),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    line 3, column `city`: "Ulmm" is none of the 3 categories; did you mean "Ulm"?; `other()` takes what is unknown
    line 3, column `city`: the cell is empty, where a category is wanted; `fill` and `other` are for that
    line 3, column `city`: "Ulmm" is none of the 3 categories; did you mean "Ulm"?; `other()` takes what is unknown
    line 3, column `city`: "Halle, Saale" is none of the 2 categories; `other()` takes what is unknown
    column `n` has 300 ids, which u8 does not hold
    row 2, column `n`: "07" is none of the 300 categories; did you mean "0"?; `other()` takes what is unknown
    "#);
    assert!(Categories::given("n", (0..256).map(|n| n.to_string())).is_ok_and(|all| {
        all.encode::<u8>(&Table::new(["n"], [["255"]]).expect("it is a table")) == Ok(array![255])
    }));
}

#[test]
fn parts_of_a_table_are_those_of_a_dataset() {
    let table = Table::new(["n", "class"], (0..50).map(|n| [n.to_string(), (n % 5 / 4).to_string()]));
    let table = table.expect("it is a table").seed(7);
    let data =
        Dataset::new(Array1::from_iter((0..50u8).map(f32::from)), Array1::from_iter((0..50u8).map(|n| n % 5 / 4)));
    let data = data.expect("there are rows").seed(7);
    let numbers = |table: &Table| table.number("n").expect("they are numbers");
    let (train, test) = table.split(0.3).expect("both have rows");
    let (x, y) = data.clone().split(0.3).expect("both have rows");
    assert_eq!((numbers(&train), numbers(&test)), (x.inputs().to_owned(), y.inputs().to_owned()));
    let (train, test) = table.split_stratified(0.3, "class").expect("both have rows");
    let (x, y) = data.clone().split_stratified(0.3).expect("both have rows");
    assert_eq!((numbers(&train), numbers(&test)), (x.inputs().to_owned(), y.inputs().to_owned()));
    let folds = table.folds(4).expect("there are rows").zip(data.clone().folds(4).expect("there are rows"));
    let stratified = table.folds_stratified(4, "class").expect("there are rows");
    let stratified = stratified.zip(data.folds_stratified(4).expect("there are rows"));
    let mut held = Vec::new();
    for (ours, theirs) in folds.chain(stratified) {
        let ((train, test), (x, y)) = (ours.expect("a pair"), theirs.expect("a pair"));
        assert_eq!((numbers(&train), numbers(&test)), (x.inputs().to_owned(), y.inputs().to_owned()));
        held.extend(numbers(&test).iter().map(|n| *n as u32));
    }
    held.sort_unstable();
    assert!(held.chunks(2).zip(0..).all(|(pair, n)| pair == [n, n]) && held.len() == 100);
    // Another seed, another part; a part of a part.
    assert_ne!(numbers(&table.clone().seed(8).split(0.3).expect("both have rows").1), y.inputs());
    let (inner, _) = train.split(0.5).expect("both have rows");
    let all: BTreeSet<u32> = numbers(&train).iter().map(|n| *n as u32).collect();
    assert!(numbers(&inner).iter().all(|n| all.contains(&(*n as u32))) && inner.len() < train.len());
    let wrong = [error(table.split(0.0)), error(table.split(1.5)), error(table.folds(1)), error(table.folds(51))];
    assert!(wrong[0].contains("leaves none") && wrong[3].contains("51 parts of 50 rows"), "{wrong:?}");
}

#[test]
fn a_table_says_what_is_in_it() {
    assert_snapshot!(houses(), @"
    column  missing  4 rows
    rooms         0  2 to 5
    age           1  10 to 40
    city          0  3 texts: Halle, Saale, Kiel, Ulm
    price         1  95 to 320
    ");
    let wide = Table::new(["x", "y"], (0..6).map(|n| [format!("{n}"), format!("word {n}")])).expect("it is a table");
    let (part, _) = wide.split(0.5).expect("both have rows");
    assert_snapshot!(format!("{wide}\n{part:?}"), @r#"
    column  missing  6 rows
    x             0  0 to 5
    y             0  6 texts: word 0, word 1, word 2, word 3, ..
    Table { header: ["x", "y"], rows: 3 }
    "#);
}

#[test]
fn what_was_learned_of_columns_is_read_back_from_its_text() {
    let table = houses();
    let columns = Columns::new()
        .numbers(["rooms"])
        .numbers(["age"])
        .fill(Fill::Mean)
        .one_hot("city")
        .fill("no, \"none\"")
        .other();
    let columns = columns.fit(&table).expect("they fit");
    assert_snapshot!(columns, @r#"
    gradloom columns,1
    number,rooms,
    number,age,25
    ids,city,"no, ""none""",other,"Halle, Saale",Kiel,Ulm,"no, ""none"""
    "#);
    assert_eq!(columns.to_string().parse::<Encoder>().as_ref(), Ok(&columns));
    let cities = Categories::fit(&table, "city").expect("there are some").other();
    assert_snapshot!(cities, @r#"
    gradloom categories,1
    ids,city,,other,"Halle, Saale",Kiel,Ulm
    "#);
    assert_eq!(cities.to_string().parse::<Categories>().as_ref(), Ok(&cities));
}

#[test]
fn texts_that_are_none_of_columns_are_refused() {
    let texts = [
        "",
        "x",
        "gradloom columns,2\nnumber,a,\n",
        "gradloom columns,1\n",
        "gradloom columns,1\nnumber,a\n",
        "gradloom columns,1\nnumber,a,NaN\n",
        "gradloom columns,1\nnumber,a,x\n",
        "gradloom columns,1\nids,a,,\n",
        "gradloom columns,1\nids,a,,,b,b\n",
        "gradloom columns,1\nids,a,c,,b\n",
        "gradloom columns,1\nids,a,,others,b\n",
        "gradloom columns,1\ndate,a\n",
        "gradloom categories,1\nids,a,,,b\n",
    ];
    assert_snapshot!(texts.map(|text| error(text.parse::<Encoder>())).join("\n"), @r#"
    these are no columns or categories as they are stored: the first line is not `gradloom columns,1`
    these are no columns or categories as they are stored: the first line is not `gradloom columns,1`
    these are no columns or categories as they are stored: the first line is not `gradloom columns,1`
    these are no columns or categories as they are stored: there is no column
    these are no columns or categories as they are stored: a line begins with `number,a`
    these are no columns or categories as they are stored: `a` is filled with "NaN", which is no number
    these are no columns or categories as they are stored: `a` is filled with "x", which is no number
    these are no columns or categories as they are stored: the categories of `a` are none, or are not distinct
    these are no columns or categories as they are stored: the categories of `a` are none, or are not distinct
    these are no columns or categories as they are stored: the categories of `a` are none, or are not distinct
    these are no columns or categories as they are stored: a line begins with `ids,a,,others,b`
    these are no columns or categories as they are stored: a line begins with `date,a`
    these are no columns or categories as they are stored: the first line is not `gradloom columns,1`
    "#);
    let texts = ["gradloom categories,1\nnumber,a,\n", "gradloom categories,1\n", "gradloom columns,1\nids,a,,,b\n"];
    assert_snapshot!(texts.map(|text| error(text.parse::<Categories>())).join("\n"), @"
    these are no columns or categories as they are stored: its column is of numbers
    these are no columns or categories as they are stored: there is not one column
    these are no columns or categories as they are stored: the first line is not `gradloom categories,1`
    ");
}

/// A cell as it has to be written.
fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

/// Tries what a strategy draws, from the same seed in every run.
fn random<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: budget::cases(300) as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner.run(strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_text_in_quotes_is_read_as_it_was_written() {
    let rows = prop::collection::vec(prop::array::uniform3("[a-c,\"\n\r;é ]{0,6}"), 1..20);
    random(&(rows, prop::sample::select(vec!["\n", "\r\n"]), any::<bool>()), |(rows, end, last)| {
        let lines = rows.iter().map(|row| row.each_ref().map(|cell| quoted(cell)).join(","));
        let lines: Vec<String> = [String::from("x,y,z")].into_iter().chain(lines).collect();
        let text = lines.join(end) + if last { end } else { "" };
        let table = Table::parse(&text).expect("it is a table");
        prop_assert_eq!(table.len(), rows.len());
        for (column, name) in ["x", "y", "z"].into_iter().enumerate() {
            let expected: Vec<&str> = rows.iter().map(|row| row[column].trim()).collect();
            prop_assert_eq!(texts(&table, name), expected);
        }
        Ok(())
    });
}

#[test]
fn whatever_bytes_a_file_has_it_is_read_or_refused() {
    let (read, fitted) = (Cell::new(0), Cell::new(0));
    let byte = || prop::sample::select(b"ab1.\" -e9;\xc3\xa9\xff\r\n,".to_vec());
    let cells = prop::collection::vec(prop::array::uniform2(prop::collection::vec(byte(), 0..3)), 1..5);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), byte()), 0..3);
    random(&(cells, damage), |(cells, damage)| {
        let lines: Vec<Vec<u8>> = cells.iter().map(|row| row.join(&b',')).collect();
        let mut bytes = [b"a,b".to_vec()].into_iter().chain(lines).collect::<Vec<_>>().join(&b'\n');
        damage.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
        let Ok(table) = Table::parse(&bytes) else { return Ok(()) };
        read.set(read.get() + 1);
        let _ = table.to_string();
        for name in table.header().to_vec() {
            let _ = table.number(&name);
            if let Ok(columns) = Columns::new().one_hot(&name).other().fit(&table) {
                prop_assert_eq!(&columns.to_string().parse::<Encoder>(), &Ok(columns.clone()));
                prop_assert!(columns.encode(&table).is_ok());
                fitted.set(fitted.get() + 1);
            }
            if let Ok(columns) = Columns::new().numbers([&name]).fill(Fill::Mean).fit(&table) {
                prop_assert_eq!(&columns.to_string().parse::<Encoder>(), &Ok(columns.clone()));
                prop_assert!(columns.encode(&table).is_ok_and(|x| x.iter().all(|x| x.is_finite())));
            }
        }
        Ok(())
    });
    assert!(read.get() > 20 && fitted.get() > 20, "{read:?} {fitted:?}");
}

#[test]
fn a_program_that_predicts_needs_the_checkpoint_alone() {
    let path = folder("tables_one_file").join("price.safetensors");
    let text = |n: usize| format!("{},{},{}\n", n % 7, ["Ulm", "Kiel", "Bonn"][n % 3], 10 * (n % 7) + 3 * (n % 3));
    let table = Table::parse((0..60).fold("rooms,city,price\n".to_string(), |all, n| all + &text(n))).expect("a table");
    let (train, test) = table.split(0.25).expect("both have rows");
    let predicted = {
        let columns = Columns::new().numbers(["rooms"]).one_hot("city").fit(&train).expect("they fit");
        let mut data = Dataset::new(
            columns.encode(&train).expect("all is known"),
            train.numbers(["price"]).expect("they are numbers"),
        )
        .expect("there are rows");
        let trainer = Price::trainer(Adam::new(1e-2)).with(|sizes| sizes.features = columns.width());
        let mut net = trainer.max_batch(16).build().expect("it builds");
        net.recalibrate(data.inputs()).expect("there are rows");
        net.fit(&mut data).epochs(3).run().expect("it trains");
        net.attach("columns", &columns).expect("it is short");
        net.save(&path).expect("the folder can be written");
        net.predict_owned(columns.encode(&test).expect("all is known").view()).expect("they fit")
    };
    // Here begins the other program: it has the file and rows without prices, in another order of columns.
    let mut predictor = Price::predictor().load(&path).expect("it is there");
    let columns: Encoder = predictor.attached("columns").expect("it was attached");
    let rows = test.text("city").expect("it is there").zip(test.text("rooms").expect("it is there"));
    let rows = Table::new(["city", "rooms"], rows.map(|(city, rooms)| [city, rooms])).expect("it is a table");
    let x = columns.encode(&rows).expect("all is known");
    assert_eq!(predictor.predict(x.view()).expect("they fit"), predicted);
    assert_eq!(predictor.sizes().features, 4);
}

#[test]
fn categories_are_ids_for_an_embedding_and_classes_for_a_loss() {
    let text: String =
        (0..40).map(|n| format!("{n},{},{},{}\n", n % 5, ["a", "b", "c"][n % 3], ["no", "yes"][n % 2])).collect();
    let table = Table::parse(format!("x,y,city,dear\n{text}")).expect("it is a table");
    let (cities, dear) = (Categories::fit(&table, "city"), Categories::fit(&table, "dear"));
    let (cities, dear) = (cities.expect("there are some"), dear.expect("there are some"));
    let inputs =
        (table.numbers(["x", "y"]).expect("they are numbers"), cities.encode::<u16>(&table).expect("all known"));
    let mut data = Dataset::new(inputs, dear.encode::<u8>(&table).expect("all known")).expect("there are rows");
    let mut net = Towns::trainer(Adam::new(1e-2)).max_batch(8).build().expect("it builds");
    net.fit(&mut data).epochs(2).run().expect("it trains");
    let logits: Array2<f32> = net.predict_owned(data.inputs()).expect("they fit");
    assert_eq!(logits.dim(), (40, 2));
}

#[test]
fn predictors_with_columns_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<(Predictor<Price>, Encoder, Categories, Table)>();
}
