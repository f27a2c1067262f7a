//! Reads the files of `tests/golden`; their README gives the format.

use gradloom_runtime::interp::Tensor;

/// The blocks of a file, in order.
pub struct GoldenFile {
    cases: Vec<Case>,
}

/// A block: named values.
pub struct Case {
    /// The name after `case`.
    pub name: String,
    values: Vec<(String, Tensor)>,
}

impl GoldenFile {
    /// The file of this name, without `.txt`. Panics if there is none or a line is not in the format.
    pub fn read(name: &str) -> GoldenFile {
        let path = crate::project().join("tests/golden").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut cases = Vec::new();
        for (number, line) in text.lines().enumerate() {
            add(&mut cases, line)
                .unwrap_or_else(|| panic!("{}:{}: not in the format: {line:.60}", path.display(), number + 1));
        }
        GoldenFile { cases }
    }

    /// All blocks, in order.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The block of this name.
    #[track_caller]
    pub fn case(&self, name: &str) -> &Case {
        self.cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case `{name}`"))
    }
}

impl Case {
    /// The value of this name.
    #[track_caller]
    pub fn get(&self, key: &str) -> &Tensor {
        self.find(key).unwrap_or_else(|| panic!("case `{}` has no `{key}`", self.name))
    }

    /// The value of this name, if there is one.
    pub fn find(&self, key: &str) -> Option<&Tensor> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The numbers of this name.
    #[track_caller]
    pub fn floats(&self, key: &str) -> &[f64] {
        self.get(key).as_floats()
    }

    /// The value of this name as class ids.
    #[track_caller]
    pub fn indices(&self, key: &str) -> Tensor {
        let value = self.get(key);
        Tensor::indices(&value.shape, value.as_floats().iter().map(|&id| id as u32).collect::<Vec<u32>>())
    }
}

/// Adds a line to the blocks before it; `None` if it is not in the format.
fn add(cases: &mut Vec<Case>, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    match words.next() {
        None => {}
        Some(word) if word.starts_with('#') => {}
        Some("case") => cases.push(Case { name: words.next()?.to_string(), values: Vec::new() }),
        Some(key) => {
            let shape = shape(words.next()?)?;
            let numbers: Vec<f64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            if numbers.len() != shape.iter().product::<usize>() {
                return None;
            }
            cases.last_mut()?.values.push((key.to_string(), Tensor::floats(&shape, numbers)));
        }
    }
    Some(())
}

fn shape(text: &str) -> Option<Vec<usize>> {
    match text {
        "scalar" => Some(Vec::new()),
        _ => text.split('x').map(|extent| extent.parse().ok()).collect(),
    }
}
