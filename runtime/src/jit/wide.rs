//! Functions with wide vectors, run: every instruction by itself and at random, against the same body element by element.

mod along;

use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};

use super::pages::Pages;
use super::{Registers, native_isa};
use crate::codegen::wide_signature;
use crate::init::Random;
use crate::kernel::LANES;
use crate::microkernels::gemm::Isa;
use crate::scalar::{Cmp, Host32, Reg, Scalar};
use crate::wide::{Body, Element, Recorder, compile};

type Function = extern "sysv64" fn(arguments: *const u64, bytes: usize);

/// Where the code lies, and where it begins.
struct Loaded(Pages, Function);

fn load(body: &Body, lanes: usize) -> Loaded {
    let pages = Pages::default();
    let isa = native_isa(Isa::detect(), Registers::Well).unwrap();
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    builder.memory_provider(pages.provider());
    let mut module = JITModule::new(builder);
    let id = module.declare_function("wide", Linkage::Export, &wide_signature()).unwrap();
    let code = compile(body, lanes).expect("registers suffice");
    module.define_function_bytes(id, 64, &code.bytes, &[]).unwrap();
    module.finalize_definitions().unwrap();
    let address = module.get_finalized_function(id);
    // SAFETY: the function was compiled for this signature.
    Loaded(pages, unsafe { std::mem::transmute::<*const u8, Function>(address) })
}

/// The lanes that this machine has code for.
fn lanes() -> Vec<usize> {
    Isa::available()
        .into_iter()
        .filter_map(|isa| match isa {
            Isa::Avx512 => Some(16),
            Isa::Avx2 => Some(8),
            _ => None,
        })
        .collect()
}

const READ: usize = 3;
const NUMBERS: usize = 2;

/// What a body does, whoever computes it: the results that are written, and what is added up.
type Compute<'a> = &'a dyn Fn(&mut dyn Scalar, &[Reg]) -> (Vec<Reg>, Vec<Reg>);

fn same(x: f32, y: f32) -> bool {
    x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
}

/// Runs a body over so many elements in both ways.
fn check(what: &str, compute: Compute<'_>, values: &dyn Fn(usize, usize) -> f32, count: usize, far: usize) {
    for (lanes, constants) in lanes().into_iter().flat_map(|lanes| [(lanes, false), (lanes, true)]) {
        let mut recorder = Recorder::default();
        // Addresses that nobody has a register for.
        (0..far).for_each(|_| _ = recorder.address());
        let inputs: Vec<usize> = (0..READ).map(|_| recorder.address()).collect();
        let mut regs: Vec<Reg> = inputs.iter().map(|&address| recorder.load(Element { address, offset: 0 })).collect();
        regs.extend((0..NUMBERS).map(|_| recorder.number()));
        let (results, sums) = compute(&mut recorder, &regs);
        let first = recorder.address();
        let outputs = 1 + results.len();
        (1..outputs).for_each(|_| _ = recorder.address());
        // Wishes for what is far from any memory change nothing.
        for (address, to_write) in [(inputs[0], false), (first, true)] {
            recorder.prefetch(Element { address, offset: if to_write { i32::MIN } else { i32::MAX } }, to_write);
        }
        for (index, &result) in results.iter().enumerate() {
            recorder.store(result, Element { address: first + index, offset: 4 });
        }
        for &sum in &sums {
            let address = recorder.address();
            let total = recorder.total(Element { address, offset: 0 });
            let so_far = recorder.total_so_far(total);
            let next = recorder.add(so_far, sum);
            recorder.set_total(total, next);
        }
        let body = recorder.finish().with_constants(constants);
        let Loaded(_pages, function) = load(&body, lanes);

        let read: Vec<Vec<f32>> = (0..READ).map(|k| (0..count).map(|i| values(k, i)).collect()).collect();
        let numbers = [values(READ, 0), values(READ, 1)];
        let mut written = vec![vec![-7.5f32; count + 2]; outputs];
        let mut totals = vec![vec![0.25f32; LANES]; sums.len()];
        let mut arguments: Vec<u64> = numbers.iter().map(|number| u64::from(number.to_bits())).collect();
        arguments.extend((0..far).map(|_| 0u64));
        arguments.extend(read.iter().map(|read| read.as_ptr() as u64));
        arguments.extend(written.iter_mut().map(|written| written.as_mut_ptr() as u64));
        arguments.extend(totals.iter_mut().map(|total| total.as_mut_ptr() as u64));
        function(arguments.as_ptr(), 4 * count);

        let mut host = Host32::new();
        let mut wanted = vec![vec![0.25f32; LANES]; sums.len()];
        for i in 0..count {
            host.clear();
            let mut regs: Vec<Reg> = read.iter().map(|read| host.push_float(read[i])).collect();
            regs.extend(numbers.iter().map(|&number| host.push_float(number)));
            let (results, sums) = compute(&mut host, &regs);
            for (index, result) in results.into_iter().enumerate() {
                let (found, wanted) = (written[index][i + 1], host.get_float(result));
                assert!(
                    same(found, wanted),
                    "{what}, {lanes} lanes, result {index} of element {i}: {found:e} for {wanted:e}\n{body}"
                );
            }
            for (total, sum) in wanted.iter_mut().zip(sums) {
                total[i % LANES] += host.get_float(sum);
            }
        }
        for written in &written {
            assert!(written[0] == -7.5 && written[count + 1] == -7.5, "{what}: nothing else is written");
        }
        for (found, wanted) in totals.iter().zip(&wanted) {
            assert!(found.iter().zip(wanted).all(|(&x, &y)| same(x, y)), "{what}: {found:?} for {wanted:?}\n{body}");
        }
    }
}

/// Ordinary numbers, and all that are special.
fn special(k: usize, i: usize) -> f32 {
    const SPECIAL: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        1e-42,
        f32::MAX,
        f32::MIN,
        0.5,
    ];
    match (i / 3 + 5 * k) % 3 {
        0 => SPECIAL[(7 * i + 5 * k + i / 12) % 12],
        _ => ((i * 37 + k * 11) % 83) as f32 / 7.0 - 6.0,
    }
}

#[test]
fn each_instruction_has_the_bits_of_one_lane() {
    type One = fn(&mut dyn Scalar, &[Reg]) -> Reg;
    let instructions: [(&str, One); 32] = [
        ("add", |s, r| s.add(r[0], r[1])),
        ("sub", |s, r| s.sub(r[0], r[1])),
        ("mul", |s, r| s.mul(r[0], r[3])),
        ("div", |s, r| s.div(r[0], r[1])),
        ("number div", |s, r| s.div(r[3], r[1])),
        ("mul_add", |s, r| s.mul_add(r[0], r[1], r[2])),
        ("mul_add of numbers", |s, r| s.mul_add(r[0], r[3], r[4])),
        ("square and add", |s, r| s.mul_add(r[0], r[0], r[1])),
        ("mul_add to itself", |s, r| s.mul_add(r[0], r[1], r[0])),
        ("neg", |s, r| s.neg(r[0])),
        ("abs", |s, r| s.abs(r[0])),
        ("sqrt", |s, r| s.sqrt(r[0])),
        ("round", |s, r| s.round(r[0])),
        ("max", |s, r| s.max(r[0], r[1])),
        ("min", |s, r| s.min(r[0], r[1])),
        ("relu", |s, r| {
            let zero = s.float(0.0);
            s.max(zero, r[0])
        }),
        ("least", |s, r| {
            let one = s.float(1.0);
            s.min(one, r[0])
        }),
        ("at least", |s, r| {
            let less = s.cmp(Cmp::Lt, r[0], r[1]);
            s.select(less, r[1], r[0])
        }),
        ("at most", |s, r| {
            let greater = s.cmp(Cmp::Gt, r[0], r[1]);
            s.select(greater, r[1], r[0])
        }),
        ("select", |s, r| {
            let less = s.cmp(Cmp::Lt, r[0], r[1]);
            s.select(less, r[2], r[3])
        }),
        ("logic", |s, r| {
            let masks = [Cmp::Eq, Cmp::Ne, Cmp::Le, Cmp::Gt, Cmp::Ge].map(|op| s.cmp(op, r[0], r[1]));
            let not = s.not(masks[0]);
            let (and, or) = (s.and(masks[1], masks[2]), s.or(masks[3], not));
            let both = s.and(and, or);
            let any = s.or(both, masks[4]);
            s.select(any, r[0], r[2])
        }),
        ("equal integers", |s, r| {
            let (x, y) = (s.bits(r[0]), s.bits(r[1]));
            let same = s.int_eq(x, y);
            s.select(same, r[2], r[0])
        }),
        ("integers", |s, r| {
            let (x, y) = (s.bits(r[0]), s.bits(r[1]));
            let (sum, product) = (s.int_add(x, y), s.int_mul(x, y));
            let difference = s.int_sub(sum, product);
            let (and, or) = (s.int_and(difference, x), s.int_or(product, y));
            let xor = s.int_xor(and, or);
            let (left, right, signed) = (s.shl(xor, 5), s.shr(xor, 9), s.sar(xor, 3));
            let mixed = s.int_xor(left, right);
            let mixed = s.int_add(mixed, signed);
            s.to_float(mixed)
        }),
        ("to an integer and back", |s, r| {
            let zero = s.float(0.0);
            let many = s.float(1e6);
            let small = s.min(many, r[0]);
            let small = s.max(zero, small);
            let number = s.cmp(Cmp::Eq, small, small);
            let small = s.select(number, small, zero);
            let round = s.round(small);
            let int = s.to_int(round);
            s.to_float(int)
        }),
        ("exp", |s, r| s.exp(r[0])),
        ("expm1", |s, r| s.expm1(r[0])),
        ("ln", |s, r| s.ln(r[0])),
        ("tanh", |s, r| s.tanh(r[0])),
        ("sigmoid", |s, r| s.sigmoid(r[0])),
        ("softplus", |s, r| s.softplus(r[0])),
        ("erf", |s, r| s.erf(r[0])),
        ("normal_cdf", |s, r| s.normal_cdf(r[0])),
    ];
    for (name, instruction) in instructions {
        check(name, &|s, regs| (vec![instruction(s, regs)], Vec::new()), &special, 10 * LANES, 0);
    }
}

#[test]
fn bodies_at_random_have_the_bits_of_one_lane() {
    for seed in 0..200 {
        let compute = |s: &mut dyn Scalar, inputs: &[Reg]| {
            let mut random = Random::new(seed, 0);
            let mut next = |below: usize| random.below(below as u64) as usize;
            let (mut floats, mut masks) = (inputs.to_vec(), Vec::new());
            // So many that some go to the stack.
            let count = if seed % 4 == 0 { 90 } else { 25 };
            for _ in 0..count {
                let [x, y, z] = [0; 3].map(|_| floats[next(floats.len())]);
                let float = match next(12) {
                    0 => s.add(x, y),
                    1 => s.sub(x, y),
                    2 => s.mul(x, y),
                    3 => s.div(x, y),
                    4 | 5 => s.mul_add(x, y, z),
                    6 => s.max(x, y),
                    7 => s.neg(x),
                    8 => s.float(next(9) as f64 / 4.0 - 1.0),
                    9 => s.tanh(x),
                    10 if !masks.is_empty() => s.select(masks[next(masks.len())], x, y),
                    _ => {
                        // Few masks live at a time.
                        let mask = s.cmp([Cmp::Lt, Cmp::Ge, Cmp::Ne][next(3)], x, y);
                        masks = vec![mask];
                        s.abs(z)
                    }
                };
                floats.push(float);
            }
            let results = (0..1 + next(4)).map(|_| floats[floats.len() - 1 - next(20)]).collect();
            let sums = (0..next(3)).map(|_| floats[floats.len() - 1 - next(9)]).collect();
            (results, sums)
        };
        let ordinary = |k: usize, i: usize| ((i * 31 + k * 17 + seed as usize) % 101) as f32 / 23.0 - 2.0;
        check(
            &format!("seed {seed}"),
            &compute,
            &ordinary,
            LANES * (1 + seed as usize % 3),
            if seed % 5 == 0 { 9 } else { 0 },
        );
    }
}

#[test]
fn a_function_and_its_slope_share_their_exponential() {
    let operations = |functions: fn(&mut Recorder, Reg) -> [Reg; 2]| {
        let mut recorder = Recorder::default();
        let [x, y, z] = [(); 3].map(|()| recorder.address());
        let x = recorder.load(Element { address: x, offset: 0 });
        let both = functions(&mut recorder, x);
        both.into_iter().zip([y, z]).for_each(|(reg, address)| recorder.store(reg, Element { address, offset: 0 }));
        let text = recorder.finish().to_string();
        ["add", "sub", "mul", "mul_add", "div"].map(|name| text.matches(&format!(" = {name} ")).count())
    };
    let together = operations(|s, x| s.sigmoid_and_slope(x));
    assert!(together[3] > 3 && together[4] == 1, "{together:?}");
    assert_eq!(operations(|s, x| [s.sigmoid(x), s.sigmoid_slope(x)]), together);
}

#[test]
fn positions_count_the_elements_of_a_run() {
    for lanes in lanes() {
        for with_total in [false, true] {
            let mut recorder = Recorder::default();
            let out = recorder.address();
            let position = recorder.position();
            let number = recorder.to_float(position);
            recorder.store(number, Element { address: out, offset: 0 });
            let mut totals = [0.0f32; LANES];
            if with_total {
                let address = recorder.address();
                let total = recorder.total(Element { address, offset: 0 });
                let so_far = recorder.total_so_far(total);
                let next = recorder.add(so_far, number);
                recorder.set_total(total, next);
            }
            let Loaded(_pages, function) = load(&recorder.finish(), lanes);
            let mut written = vec![0.0f32; 3 * LANES];
            let arguments = [written.as_mut_ptr() as u64, totals.as_mut_ptr() as u64];
            function(arguments.as_ptr(), 4 * written.len());
            assert!(written.iter().enumerate().all(|(i, &x)| x == i as f32), "{written:?}");
            let wanted = |lane: usize| (3 * lane + 3 * LANES) as f32;
            assert!(!with_total || totals.iter().enumerate().all(|(lane, &x)| x == wanted(lane)), "{totals:?}");
        }
    }
}

#[test]
fn sums_begin_with_a_number_rather_than_with_what_their_lanes_hold() {
    for lanes in lanes() {
        let mut recorder = Recorder::default();
        let [from, sums, most] = [0; 3].map(|_| recorder.address());
        let x = recorder.load(Element { address: from, offset: 0 });
        let sum = recorder.total(Element { address: sums, offset: 0 });
        let so_far = recorder.total_so_far(sum);
        let next = recorder.add(so_far, x);
        recorder.set_total(sum, next);
        let largest = recorder.total(Element { address: most, offset: 0 });
        let so_far = recorder.total_so_far(largest);
        let next = recorder.max(x, so_far);
        recorder.set_total(largest, next);
        recorder.start_totals([0.5, f64::NEG_INFINITY]);
        let Loaded(_pages, function) = load(&recorder.finish(), lanes);
        let read: Vec<f32> = (0..2 * LANES).map(|i| i as f32 - 40.0).collect();
        let [mut sums, mut most] = [[f32::NAN; LANES]; 2];
        let arguments = [read.as_ptr() as u64, sums.as_mut_ptr() as u64, most.as_mut_ptr() as u64];
        function(arguments.as_ptr(), 4 * read.len());
        for lane in 0..LANES {
            let (x, y) = (read[lane], read[lane + LANES]);
            assert_eq!([sums[lane], most[lane]], [x + y + 0.5, y], "lane {lane} of {lanes}");
        }
    }
}

/// In memory, where lanes would be, there is one number, and what follows it is left as it was.
#[test]
fn sums_of_a_whole_row_end_as_one_number_as_a_tree() {
    type Combine = fn(&mut dyn Scalar, Reg, Reg) -> Reg;
    let add: Combine = |s, x, total| s.add(total, x);
    let larger: Combine = |s, x, total| s.max(x, total);
    for (lanes, special) in lanes().into_iter().flat_map(|lanes| (0..=LANES).map(move |special| (lanes, special))) {
        let mut recorder = Recorder::default();
        let [from, sum, most] = [0; 3].map(|_| recorder.address());
        let x = recorder.load(Element { address: from, offset: 0 });
        for (address, combine) in [(sum, add), (most, larger)] {
            let total = recorder.total(Element { address, offset: 0 });
            let so_far = recorder.total_so_far(total);
            let next = combine(&mut recorder, x, so_far);
            recorder.set_total(total, next);
        }
        recorder.start_totals([0.0, f64::NEG_INFINITY]);
        recorder.end_totals([add, larger]);
        let Loaded(_pages, function) = load(&recorder.finish(), lanes);
        // Numbers that round; one of them is none, at any place.
        let mut read: Vec<f32> = (0..LANES).map(|i| (1.0 + i as f32).recip() * [1.0, -1e3, 1e-3][i % 3]).collect();
        read.get_mut(special).into_iter().for_each(|x| *x = f32::NAN);
        let [mut sum, mut most] = [[7.0f32; LANES]; 2];
        let arguments = [read.as_ptr() as u64, sum.as_mut_ptr() as u64, most.as_mut_ptr() as u64];
        function(arguments.as_ptr(), 4 * read.len());
        let tree = |of: fn(f32, f32) -> f32| {
            let mut quarters: Vec<Vec<f32>> = read.chunks(4).map(<[f32]>::to_vec).collect();
            while quarters.len() > 1 {
                let pair = |pair: &[Vec<f32>]| (0..4).map(|lane| of(pair[0][lane], pair[1][lane])).collect();
                quarters = quarters.chunks(2).map(pair).collect();
            }
            let [a, b, c, d] = quarters[0][..] else { unreachable!("four lanes") };
            of(of(a, b), of(c, d))
        };
        let largest = |x: f32, y: f32| if x.is_nan() || x > y { x } else { y };
        assert!(same(sum[0], tree(|x, y| x + y)), "{lanes} lanes, {special}: {} is not the sum", sum[0]);
        assert!(same(most[0], tree(largest)), "{lanes} lanes, {special}: {} is not the largest", most[0]);
        assert_eq!([&sum[1..], &most[1..]], [&[7.0; LANES - 1]; 2]);
    }
}

#[test]
fn rows_follow_one_another_in_each_vector_of_columns() {
    const ROWS: usize = 5;
    const COLS: usize = 3 * LANES;
    // One vector, or three side by side.
    for (lanes, across) in lanes().into_iter().flat_map(|lanes| [(lanes, 1), (lanes, 3)]) {
        // y = x c + n, with sums and largest elements down the columns.
        let mut recorder = Recorder::down();
        let [x, y, c, sums] = [recorder.address(), recorder.address(), recorder.column(), recorder.column()];
        let element = |address, offset| Element { address, offset };
        let (input, factor, number) = (recorder.load(element(x, 0)), recorder.load(element(c, 0)), recorder.number());
        let result = recorder.mul_add(input, factor, number);
        recorder.store(result, element(y, 0));
        let sum = recorder.total(element(sums, 0));
        let so_far = recorder.total_so_far(sum);
        let next = recorder.add(so_far, result);
        recorder.set_total(sum, next);
        let most = recorder.total(element(sums, 4 * COLS as i32));
        let so_far = recorder.total_so_far(most);
        let next = recorder.max(result, so_far);
        recorder.set_total(most, next);
        let Loaded(_pages, function) = load(&recorder.finish().across(across), lanes);

        let read: Vec<f32> = (0..ROWS * COLS).map(|i| special(0, i)).collect();
        let column: Vec<f32> = (0..COLS).map(|i| i as f32 / 8.0 - 1.0).collect();
        let mut written = vec![0.0f32; ROWS * COLS];
        let mut sums = [vec![0.5f32; COLS], vec![f32::NEG_INFINITY; COLS]].concat();
        let row = 4 * COLS as u64;
        let number = u64::from(2.5f32.to_bits());
        let addresses = [read.as_ptr() as u64, written.as_mut_ptr() as u64, column.as_ptr() as u64];
        let arguments =
            [number, addresses[0], addresses[1], addresses[2], sums.as_mut_ptr() as u64, row, ROWS as u64, row];
        function(arguments.as_ptr(), 4 * COLS);

        for j in 0..COLS {
            let (mut sum, mut most) = (0.5f32, f32::NEG_INFINITY);
            for i in 0..ROWS {
                let wanted = read[i * COLS + j].mul_add(column[j], 2.5);
                assert!(same(written[i * COLS + j], wanted), "{lanes} lanes, row {i}, column {j}");
                sum += wanted;
                most = if wanted > most || wanted.is_nan() { wanted } else { most };
            }
            assert!(same(sums[j], sum) && same(sums[COLS + j], most), "{lanes} lanes, column {j}: {sums:?}");
        }
    }
}
