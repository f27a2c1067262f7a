//! Asks a server as fast as it answers, over 1, 8 and 64 connections, and says how many requests a second that are and how long
//! each takes.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const ROW: &str =
    "island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex\nBiscoe,48.7,14.1,210,4450,female\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_string());
    let seconds = arguments.next().map_or(Ok(5.0), |seconds| seconds.parse())?;
    println!("connections  requests/s  median us    99 % us");
    for connections in [1, 8, 64] {
        // Before anything is measured, everything is warm.
        ask(&address, connections, 0.2 * seconds)?;
        let start = Instant::now();
        let mut times = ask(&address, connections, seconds)?;
        let rate = times.len() as f64 / start.elapsed().as_secs_f64();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
        println!("{connections:>11}  {rate:>10.0}  {:>9}  {:>9}", at(0.5), at(0.99));
    }
    Ok(())
}

/// How long each answer took, over so many connections at the same time.
fn ask(address: &str, connections: usize, seconds: f64) -> Result<Vec<Duration>, Box<dyn Error>> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let address = address.to_string();
            thread::spawn(move || connection(&address, end).map_err(|error| error.to_string()))
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a thread panicked")??);
    }
    Ok(times)
}

fn connection(address: &str, end: Instant) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let request = format!("POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{ROW}", ROW.len());
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(request.as_bytes())?;
        let (status, body) = answer(&mut answers)?;
        times.push(start.elapsed());
        if status != "200" || !body.contains("Gentoo,") {
            return Err(format!("{status}: {body}").into());
        }
    }
    Ok(times)
}

/// Status and body.
fn answer(answers: &mut impl BufRead) -> Result<(String, String), Box<dyn Error>> {
    let (mut status, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        answers.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            None => status = line.split(' ').nth(1).unwrap_or("").to_string(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body)?;
    Ok((status, String::from_utf8(body)?))
}
