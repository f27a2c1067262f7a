//! The form of Winograd beside the sum of products that it stands for: over a whole training, and on numbers at the ends of what there is.

use gradloom::ndarray::{Array1, Array4, ArrayView1, ArrayView4, Axis, s};
use gradloom::{Network, Predictor, RunError, Session, Sgd, Stage, Trainer, network};
use gradloom_runtime::init::Random;
use insta::assert_snapshot;

use crate::budget::is_deep;
use crate::images::ResNet20;

network! {
    /// The first blocks of ResNet-20, for small images.
    Small<image: [B, 3, 8, 8] -> logits: [B, 10]> {
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu, repeat(3) { crate::images::Res(16) }, global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// One convolution, of the image times 1: an image as it comes has its channels apart.
    Bare<image: [B, 16, 8, 8] -> y: [B, 16, 8, 8]> {
        Conv2d(16, 1, groups = 16, bias = false) as own, Conv2d(16, 3, pad = 1, bias = false) as taps,
    }
    loss = sum(y);

    /// The same of so few pixels that taps are not transformed for them.
    Few<image: [B, 16, 4, 4] -> y: [B, 16, 4, 4]> {
        Conv2d(16, 1, groups = 16, bias = false) as own, Conv2d(16, 3, pad = 1, bias = false) as taps,
    }
    loss = sum(y);
}

/// How much is trained.
#[derive(Clone, Copy)]
struct Training<'a> {
    size: usize,
    batch: usize,
    /// After how many steps parameters are looked at.
    seen: &'a [usize],
}

impl Training<'_> {
    /// Parameters after some of the steps. With a seed, every parameter is rounded by chance after a step: half of them to a neighbor of
    /// the number that they are.
    fn of<N: Network>(
        self,
        trainer: Trainer<N>,
        rounding: Option<u64>,
        step_of: impl Fn(&mut Session<N>, ArrayView4<'_, f32>, ArrayView1<'_, u8>) -> Result<(), RunError>,
    ) -> Vec<Vec<f64>> {
        let Training { size, batch, seen } = self;
        let mut net = trainer.max_batch(batch).seed(4).build().expect("it builds");
        let names: Vec<String> = net.names().map(str::to_string).collect();
        let (mut random, mut found) = (Random::new(11, 1), Vec::new());
        let mut rounding = rounding.map(|seed| Random::new(seed, 2));
        for step in 0..*seen.last().expect("some steps are looked at") {
            let labels = Array1::from_shape_fn(batch, |row| ((row + step) % 10) as u8);
            let mut images = Array4::from_shape_simple_fn((batch, 3, size, size), || random.normal() as f32);
            for (mut image, &label) in images.outer_iter_mut().zip(&labels) {
                image.index_axis_mut(Axis(1), usize::from(label) % size).mapv_inplace(|x| x + 1.0);
            }
            step_of(&mut net, images.view(), labels.view()).expect("the step is taken");
            if let Some(random) = &mut rounding {
                for name in &names {
                    let rounded = net.param(name).expect("it is there").mapv(|x| match random.below(4) {
                        0 => x.next_up(),
                        1 => x.next_down(),
                        _ => x,
                    });
                    net.set_param(name, rounded.view()).expect("it fits");
                }
            }
            if seen.contains(&(step + 1)) {
                let params = names.iter().flat_map(|name| net.param(name).expect("it is there").to_owned());
                found.push(params.map(f64::from).collect());
            }
        }
        found
    }

    /// How much farther the form of Winograd is from sums of products than those are from themselves with other seeds of rounding: a
    /// factor.
    fn farther<N: Network>(
        self,
        trainer: impl Fn() -> Trainer<N>,
        step: impl Fn(&mut Session<N>, ArrayView4<'_, f32>, ArrayView1<'_, u8>) -> Result<(), RunError>,
    ) -> f64 {
        let direct = [None, Some(1), Some(2)].map(|seed| self.of(trainer().winograd(false), seed, &step));
        let squares = self.of(trainer(), None, &step);
        let rounding = [(0, 1), (0, 2), (1, 2)].map(|(one, other)| mean_distance(&direct[one], &direct[other]));
        let own = mean_distance(&squares, &direct[0]);
        assert!(own > 0.0, "the form is used");
        own / rounding.iter().product::<f64>().cbrt()
    }
}

/// How far parameters are apart, in parts of their length: the geometric mean over the steps at which they were looked at.
fn mean_distance(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let far = |(one, other): (&Vec<f64>, &Vec<f64>)| {
        let squares: f64 = one.iter().zip(other).map(|(x, y)| (x - y) * (x - y)).sum();
        (squares / one.iter().map(|x| x * x).sum::<f64>()).sqrt()
    };
    let far: Vec<f64> = one.iter().zip(other).map(far).collect();
    (far.iter().map(|far| far.ln()).sum::<f64>() / far.len() as f64).exp()
}

#[test]
fn over_a_training_it_is_no_farther_from_sums_of_products_than_those_with_another_rounding() {
    let training = Training { size: 8, batch: 10, seen: &[1, 3, 10, 30, 100, 200] };
    let farther = training.farther(
        || Small::trainer(Sgd::new(0.02).momentum(0.9)),
        |net, images, labels| net.step(images, labels).map(drop),
    );
    assert!(farther < 1.5, "{farther} times as far");
}

/// The same of all of ResNet-20, which takes a minute: where everything is tried.
#[test]
fn over_a_training_of_resnet20_too() {
    if !is_deep() {
        return;
    }
    let training = Training { size: 32, batch: 10, seen: &[1, 3, 10, 30, 100, 200] };
    let farther = training.farther(
        || ResNet20::trainer(Sgd::new(0.02).momentum(0.9)),
        |net, images, labels| net.step(images, labels).map(drop),
    );
    assert!(farther < 1.5, "{farther} times as far");
}

/// What a convolution gives, in the form of Winograd and as a sum of products.
fn both(image: &Array4<f32>, weight: &Array4<f32>) -> [Array4<f32>; 2] {
    assert!(Bare::predictor().ir(Stage::Fused).contains("fast-winograd"));
    [true, false].map(|winograd| {
        let mut net: Predictor<Bare> = Bare::predictor().winograd(winograd).build().expect("it builds");
        net.set_param("own.weight", Array4::<f32>::ones((16, 1, 1, 1)).view()).expect("it fits");
        net.set_param("taps.weight", weight.view()).expect("it fits");
        net.predict(image.view()).expect("it runs").to_owned()
    })
}

fn normal(shape: [usize; 4], scale: f32, seed: u64) -> Array4<f32> {
    let mut random = Random::new(seed, 2);
    Array4::from_shape_simple_fn(shape, || scale * random.normal() as f32)
}

#[test]
fn what_sums_of_products_keep_finite_is_finite() {
    let weight = normal([16, 16, 3, 3], 1e-3, 1);
    // Sums of neighbours overflow, and no product does.
    let image = normal([1, 16, 8, 8], 1.0, 2).mapv(|x| f32::MAX.copysign(x));
    let [own, direct] = both(&image, &weight);
    assert!(direct.iter().all(|y| y.is_finite()), "the test is one of sums that are finite");
    assert!(own.iter().zip(&direct).all(|(own, direct)| (own - direct).abs() <= 1e-5 * f32::MAX), "{own}");

    // Pixels that are no numbers reach the windows that they are in.
    for spoilt in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut image = normal([1, 16, 8, 8], 1.0, 3);
        image[[0, 5, 3, 6]] = spoilt;
        let [own, direct] = both(&image, &weight);
        for (own, direct) in own.iter().zip(&direct) {
            let same = own == direct || own.is_nan() && direct.is_nan();
            assert!(same || (own - direct).abs() < 1e-6, "{own} and {direct}, for {spoilt}");
        }
        assert_eq!(own.iter().filter(|y| !y.is_finite()).count(), 9 * 16);
    }

    // The gradient of the taps: the mean of the pixels of each.
    let image = normal([1, 16, 8, 8], 1.0, 2).mapv(|x| (0.01 * f32::MAX).copysign(x));
    let [own, direct] = [true, false].map(|winograd| {
        let mut net = Bare::trainer(Sgd::new(0.0)).winograd(winograd).build().expect("it builds");
        net.set_param("own.weight", Array4::<f32>::ones((16, 1, 1, 1)).view()).expect("it fits");
        net.set_param("taps.weight", weight.view()).expect("it fits");
        let gradients = net.gradients(image.view(), ()).expect("it runs");
        gradients.get("taps.weight").expect("it is trained").to_owned()
    });
    assert!(direct.iter().all(|y| y.is_finite()) && own.iter().all(|y| y.is_finite()), "{own}");
    let largest = direct.iter().fold(0.0f32, |most, y| most.max(y.abs()));
    assert!(own.iter().zip(&direct).all(|(own, direct)| (own - direct).abs() <= 1e-5 * largest));
}

#[test]
fn a_large_pixel_costs_the_windows_that_see_it_digits_even_where_its_tap_is_zero() {
    let mut weight = normal([16, 16, 3, 3], 0.1, 1);
    weight.slice_mut(s![.., .., 2, 2]).fill(0.0);
    let mut image = normal([1, 16, 8, 8], 1.0, 2);
    image[[0, 0, 3, 4]] = 1e18;
    let [own, direct] = both(&image, &weight);
    for ((index, own), direct) in own.indexed_iter().zip(&direct) {
        let sees = index.2.abs_diff(3) <= 1 && index.3.abs_diff(4) <= 1;
        let bound = if sees { 1e18 * 1e-6 } else { 1e-4 };
        assert!((own - direct).abs() <= bound, "{own} and {direct} at {index:?}");
    }
    // The window whose last pixel it is.
    let lost = (0..16).filter(|&channel| (own[[0, channel, 2, 3]] - direct[[0, channel, 2, 3]]).abs() > 1.0).count();
    assert!(direct.slice(s![0, .., 2, 3]).iter().all(|y| y.abs() < 100.0) && lost > 0, "{lost} lose digits");
}

#[test]
fn subnormal_numbers_lose_no_more_than_their_last_digits() {
    let least = f32::from_bits(1);
    for (image, weight) in [(1e-40, 1.0), (1.0, 1e-40), (1e-22, 1e-22)] {
        let [own, direct] = both(&normal([1, 16, 8, 8], image, 2), &normal([16, 16, 3, 3], weight, 1));
        let far = own.iter().zip(&direct).map(|(own, direct)| (own - direct).abs()).fold(0.0, f32::max);
        assert!(far <= 300.0 * least, "{} of the least number, for {image} and {weight}", far / least);
    }
}

#[test]
fn the_plan_says_what_is_saved() {
    let plan = Bare::trainer(Sgd::new(0.1)).ir(Stage::Plan);
    let lines = plan.lines().filter(|line| line.contains("in squares")).map(str::trim);
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    matmul in squares of 2 x 2 windows, which takes 81,920 multiplications fewer an image: taps are transformed once
    matmul in squares of 2 x 2 windows, which takes 81,920 multiplications fewer an image: sums of all positions are made ahead, those of 64 images by themselves
    ");
}

#[test]
fn what_follows_windows_is_prefetched_unless_it_stays_in_the_second_cache() {
    let asks = |rows: usize| {
        let plan = Small::trainer(Sgd::new(0.1)).max_batch(rows).ir(Stage::Plan);
        plan.contains("between products, what follows is prefetched")
    };
    assert_eq!([4, 1024].map(asks), [false, true]);
}

#[test]
fn threads_share_a_gradient_by_images_which_each_of_them_has_in_its_caches() {
    let plan = |rows: usize| Bare::trainer(Sgd::new(0.1)).max_batch(rows).ir(Stage::Plan);
    let sums = |plan: &str| ["by 64 images", "all sums of kernel"].map(|words| plan.contains(words));
    assert_eq!(sums(&plan(256)), [true, true], "four parts, which are added up");
    assert_eq!(sums(&plan(64)), [true, false], "one part");
}

#[test]
fn the_plan_says_why_windows_are_not_in_squares() {
    let said = |plan: String| {
        let lines = plan.lines().filter_map(|line| line.split_once("; not in squares"));
        lines.map(|(_, why)| why.to_string()).collect::<Vec<_>>()
    };
    let forbidden = said(Bare::trainer(Sgd::new(0.1)).winograd(false).ir(Stage::Plan));
    assert_eq!(forbidden, [": that is forbidden"; 2]);
    let few = said(Few::trainer(Sgd::new(0.1)).ir(Stage::Plan));
    assert_eq!(few, [": so few, 4 an image, do not repay transformed taps"; 2]);
}
