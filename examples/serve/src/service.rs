//! The server: threads that talk HTTP, and one that predicts.
//!
//! A request has rows of comma-separated values with a header, as many as it likes; the answer has a row for each, with the species
//! and how likely each of them is. What is wrong with a request is said in words. Rows of requests that are there at the same time
//! are predicted together: while the network works on some, others come, and are the next batch. Nothing waits for a batch to be
//! full.

use std::error::Error;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use gradloom::ndarray::{Array2, Axis, concatenate, s};
use gradloom::{Categories, Encoder, Table};
use tiny_http::{Method, Request, Response, Server};

use crate::Model;

/// How many requests are worked on at a time.
const THREADS: usize = 64;

/// So many rows are enough for a batch.
const ROWS: usize = 256;

/// The longest request that is read.
const LONGEST: u64 = 1 << 20;

/// Rows of a request, and who waits for what becomes of them.
struct Job {
    rows: Array2<f32>,
    reply: SyncSender<Result<Array2<f32>, String>>,
}

/// A server that runs.
pub struct Service {
    server: Arc<Server>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Service {
    /// Begins to answer on an address; port 0 takes one that is free.
    ///
    /// # Errors
    /// An address that cannot be taken.
    pub fn start(model: Model, address: &str) -> Result<Service, Box<dyn Error>> {
        let server = Arc::new(Server::http(address).map_err(|error| format!("{address}: {error}"))?);
        let address = server.server_addr().to_ip().ok_or("the address is no IP address")?;
        let Model { predictor, columns, species } = model;
        let (jobs, next) = channel();
        let talk = Arc::new(Talk { columns, species });
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (server, talk, jobs) = (Arc::clone(&server), Arc::clone(&talk), jobs.clone());
            threads.push(thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    talk.answer(request, &jobs);
                }
            }));
        }
        // It ends when nobody is left to give it a job.
        threads.push(thread::spawn(move || {
            let mut predictor = predictor;
            predict(&next, |rows| {
                let found = predictor.predict(rows.view()).map_err(|error| error.to_string())?;
                Ok(found.chance.to_owned())
            });
        }));
        Ok(Service { server, address, threads })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process is ended.
    pub fn wait(self) {
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }

    /// Answers what has come so far, and no more.
    pub fn stop(self) {
        (0..THREADS).for_each(|_| self.server.unblock());
        self.wait();
    }
}

/// Predicts until there are no more jobs: those that are there together, up to a number of rows.
fn predict(jobs: &Receiver<Job>, mut network: impl FnMut(Array2<f32>) -> Result<Array2<f32>, String>) {
    while let Ok(first) = jobs.recv() {
        let mut count = first.rows.nrows();
        let mut batch = vec![first];
        while let (true, Ok(job)) = (count < ROWS, jobs.try_recv()) {
            count += job.rows.nrows();
            batch.push(job);
        }
        let rows: Vec<_> = batch.iter().map(|job| job.rows.view()).collect();
        let found = concatenate(Axis(0), &rows).map_err(|error| error.to_string()).and_then(&mut network);
        let mut at = 0;
        for job in batch {
            let own = at..at + job.rows.nrows();
            at = own.end;
            // Who no longer waits has gone.
            let _ = job.reply.send(found.clone().map(|found| found.slice(s![own, ..]).to_owned()));
        }
    }
}

/// What is said and understood.
struct Talk {
    columns: Encoder,
    species: Categories,
}

impl Talk {
    fn answer(&self, mut request: Request, jobs: &Sender<Job>) {
        let (status, text) = match (request.method(), request.url()) {
            (Method::Post, "/predict") => match self.predicted(&mut request, jobs) {
                Ok(text) => (200, text),
                Err((status, reason)) => (status, reason + "\n"),
            },
            (_, "/predict") => (405, "POST rows of comma-separated values with a header\n".to_string()),
            _ => (404, "there is /predict alone\n".to_string()),
        };
        // A client that has gone needs no answer.
        let _ = request.respond(Response::from_string(text).with_status_code(status));
    }

    fn predicted(&self, request: &mut Request, jobs: &Sender<Job>) -> Result<String, (u16, String)> {
        let mut body = Vec::new();
        let read = request.as_reader().take(LONGEST + 1).read_to_end(&mut body);
        read.map_err(|error| (400, error.to_string()))?;
        if body.len() as u64 > LONGEST {
            return Err((413, format!("more than {LONGEST} bytes")));
        }
        let rows = Table::reader().missing(["NA"]).parse(body).and_then(|table| self.columns.encode(&table));
        let rows = rows.map_err(|error| (400, error.to_string()))?;
        let (reply, found) = sync_channel(1);
        let gone = |_| (500, "the network does not answer".to_string());
        jobs.send(Job { rows, reply }).map_err(|_| gone(()))?;
        let found = found.recv().map_err(|_| gone(()))?.map_err(|reason| (500, reason))?;
        Ok(self.text(&found))
    }

    /// A line for each row, after a header.
    fn text(&self, chances: &Array2<f32>) -> String {
        let mut text = format!("species,{}\n", self.species.names().join(","));
        for row in chances.rows() {
            let best = row.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
            text.push_str(self.species.name(best.map_or(0, |(class, _)| class)));
            row.iter().for_each(|chance| text.push_str(&format!(",{chance:.4}")));
            text.push('\n');
        }
        text
    }
}
