//! The programs as they are used: one learns and saves, the other answers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use gradloom::Table;
use gradloom_serve::{Model, Service};

const PENGUINS: &str = include_str!("../../data/penguins.csv");

/// What `train` printed, and the file that it left.
fn trained() -> &'static (String, PathBuf) {
    static TRAINED: OnceLock<(String, PathBuf)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("penguins.safetensors");
        let output = Command::new(env!("CARGO_BIN_EXE_train")).arg(&path).output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).expect("it prints a text"), path)
    })
}

fn model() -> Model {
    Model::load(&trained().1).expect("the checkpoint is there")
}

/// Status and body of the answer to a request, over a connection of its own.
fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the server is there");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: penguins\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // A server that has heard enough need not read on.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer is a text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("it has a status"), body.to_string())
}

/// What the network says of rows, without a server, as the server would print it.
fn expected(rows: &str) -> String {
    let Model { mut predictor, columns, species } = model();
    let table = Table::reader().missing(["NA"]).parse(rows).expect("it is a table");
    let found = predictor.predict(columns.encode(&table).expect("all is known").view()).expect("they fit");
    let mut text = format!("species,{}\n", species.names().join(","));
    for row in found.chance.rows() {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let best = row.iter().position(|&chance| chance == most).expect("one is the largest");
        let chances: Vec<String> = row.iter().map(|chance| format!("{chance:.4}")).collect();
        writeln!(text, "{},{}", species.name(best), chances.join(",")).expect("it is a string");
    }
    text
}

#[test]
fn penguins_are_told_apart() {
    let (printed, _) = trained();
    assert!(printed.contains("\nsex                     11  2 texts: female, male\n"), "{printed}");
    assert!(printed.contains("\n   Gentoo "), "{printed}");
    let accuracy = printed.lines().find_map(|line| line.strip_prefix("accuracy ")).expect("it is printed");
    assert!(accuracy.parse::<f64>().is_ok_and(|accuracy| accuracy > 0.95), "{printed}");
    // Columns in any order, with others between them, and gaps that are filled.
    let rows = "sex,note,body_mass_g,island,flipper_length_mm,bill_length_mm,bill_depth_mm\n\
        NA,\"big, and calm\",5400,Biscoe,220,,14.5\nmale,,3800,Dream,195,50.5,19\n,x,3700,Torgersen,190,38.5,18.5\n";
    let answer = expected(rows);
    let species: Vec<&str> = answer.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(species, ["Gentoo", "Chinstrap", "Adelie"]);
}

#[test]
fn the_model_is_there_in_milliseconds() {
    trained();
    let times = (0..5).map(|_| {
        let start = Instant::now();
        model();
        start.elapsed()
    });
    let least = times.min().expect("it is loaded");
    assert!(least < Duration::from_millis(100), "{least:?} at least, to read a checkpoint and compile predictions");
}

#[test]
fn every_request_gets_the_answers_to_its_own_rows() {
    let service = Service::start(model(), "127.0.0.1:0").expect("a port is free");
    let address = service.address();
    let (header, rows) = PENGUINS.split_once('\n').expect("it has a header");
    let rows: Vec<&str> = rows.lines().collect();
    thread::scope(|scope| {
        for client in 0..24 {
            let rows = &rows;
            scope.spawn(move || {
                for turn in 0..6 {
                    let from = (37 * client + 101 * turn) % 300;
                    let count = [1, 1, 2, 7, 40, 3][(client + turn) % 6];
                    let body = format!("{header}\n{}\n", rows[from..from + count].join("\n"));
                    let (status, answer) = ask(address, "POST", "/predict", body.as_bytes());
                    assert_eq!((status, answer), (200, expected(&body)), "rows {from}..{}", from + count);
                }
            });
        }
    });
    service.stop();
}

#[test]
fn a_request_that_is_wrong_is_told_so_and_harms_no_other() {
    let service = Service::start(model(), "127.0.0.1:0").expect("a port is free");
    let address = service.address();
    let header = "island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex\n";
    let post = |rows: &str| ask(address, "POST", "/predict", format!("{header}{rows}").as_bytes());
    assert_eq!(
        post("Biscoe,50,15,220,heavy,male\n"),
        (400, "line 2, column `body_mass_g`: \"heavy\" is no number\n".to_string())
    );
    assert_eq!(
        post("Biscoe,50,15,220,5000,male\nDreem,50,15,220,5000,male\n"),
        (400, "line 3, column `island`: \"Dreem\" is none of the 3 categories; did you mean \"Dream\"?; `other()` takes what is unknown\n".to_string())
    );
    assert_eq!(post("Biscoe,50\n").1, "line 2: 2 cells, and the header has 6\n");
    assert_eq!(post("").1, "the table has no rows\n");
    let statuses = [
        ask(address, "POST", "/predict", b"").0,
        ask(address, "POST", "/predict", &[0xff; 9]).0,
        ask(address, "POST", "/predict", b"a,b\n1,2\n").0,
        ask(address, "POST", "/predict", &[b'x'; (1 << 20) + 1]).0,
        ask(address, "GET", "/predict", b"").0,
        ask(address, "POST", "/", b"").0,
    ];
    assert_eq!(statuses, [400, 400, 400, 413, 405, 404]);
    // Clients that go away in the middle of a request.
    for head in ["POST /predict HTTP/1.1\r\nContent-Le", "POST /predict HTTP/1.1\r\nContent-Length: 100\r\n\r\nisland"]
    {
        let mut stream = TcpStream::connect(address).expect("the server is there");
        stream.write_all(head.as_bytes()).expect("it listens");
        stream.shutdown(Shutdown::Both).expect("it is open");
    }
    let answers: BTreeSet<(u16, String)> = (0..8).map(|_| post("Biscoe,50,15,220,5000,male\n")).collect();
    assert!(answers.len() == 1 && answers.iter().all(|(status, text)| *status == 200 && text.contains("\nGentoo,")));
    service.stop();
}

#[test]
fn a_file_that_is_no_model_is_an_error() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("other.safetensors");
    let error = Model::load(&path).expect_err("there is none").to_string();
    assert!(error.contains("other.safetensors"), "{error}");
    let output = Command::new(env!("CARGO_BIN_EXE_serve")).args(["127.0.0.1:0", "nowhere.safetensors"]).output();
    let output = output.expect("the program runs");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nowhere.safetensors"));
}
