//! Answers which penguins these are, until it is stopped.

use std::error::Error;
use std::time::Instant;

use gradloom_serve::{Model, Service, checkpoint};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".to_string());
    let start = Instant::now();
    let service = Service::start(Model::load(&checkpoint(arguments.next()))?, &address)?;
    println!("answers on http://{}, after {:.1} ms", service.address(), 1e3 * start.elapsed().as_secs_f64());
    service.wait();
    Ok(())
}
