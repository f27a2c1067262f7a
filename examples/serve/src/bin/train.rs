//! Learns the species of penguins from a table, and leaves a checkpoint for the server.

use std::error::Error;

use gradloom::evaluation::Confusion;
use gradloom::{Adam, Categories, Columns, Dataset, Fill, Table};
use gradloom_serve::{Penguins, checkpoint};

fn main() -> Result<(), Box<dyn Error>> {
    let table = Table::reader().missing(["NA"]).parse(include_str!("../../../data/penguins.csv"))?;
    println!("{table}\n");

    // What is learned of the columns is learned of the training part alone.
    let (train, test) = table.seed(1).split_stratified(0.25, "species")?;
    let columns = Columns::new()
        .one_hot("island")
        .numbers(["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"])
        .fill(Fill::Median)
        .one_hot("sex")
        .other()
        .fit(&train)?;
    let species = Categories::fit(&train, "species")?;

    let mut data = Dataset::new(columns.encode(&train)?, species.encode::<u8>(&train)?)?.seed(1);
    let mut net = Penguins::trainer(Adam::new(1e-2))
        .with(|sizes| (sizes.features, sizes.species) = (columns.width(), species.len()))
        .max_batch(32)
        .seed(1)
        .build()?;
    net.recalibrate(data.inputs())?;
    net.fit(&mut data).epochs(60).validation_split(0.2).early_stopping(10).restore_best(true).run()?;

    let found = net.predict(columns.encode(&test)?.view())?;
    let confusion = Confusion::of_scores(species.encode::<u8>(&test)?.view(), found.logits)?;
    println!("{}", confusion.named(species.names()));

    net.attach("columns", &columns)?;
    net.attach("species", &species)?;
    let path = checkpoint(std::env::args().nth(1));
    net.save(&path)?;
    println!("saved to {}", path.display());
    Ok(())
}
