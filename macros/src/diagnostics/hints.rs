//! Words of PyTorch, Keras, JAX, burn and scikit-learn, and what is written here in their place.
//!
//! A row is a word at a place. Words that differ from one of the language by a few letters, such as `LeakyReLU`, need none.

/// Where a word is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// A stage of a body; activations among them are found in expressions, too.
    Stage,
    /// A function or a method of an expression.
    Function,
    /// The name of an argument.
    Argument,
    /// A name that stands for a number, a size or a truth value.
    Value,
    /// An initializer.
    Init,
}

use SourcePlace::{Argument, Function, Init, Stage, Value};

/// Where, the word, what is written here (nothing if there is no such thing), and why.
type Row = (SourcePlace, &'static str, &'static str, &'static str);

pub const ROWS: &[Row] = &[
    // Layers.
    (Stage, "Linear", "Dense(n)", INFERRED),
    (Stage, "LazyLinear", "Dense(n)", ""),
    (Stage, "LinearConfig", "Dense(n)", INFERRED),
    (Stage, "FullyConnected", "Dense(n)", INFERRED),
    (Stage, "Affine", "Dense(n)", INFERRED),
    (Stage, "linear", "Dense(n)", "without an activation after it nothing else is needed"),
    (Stage, "BatchNorm1d", "BatchNorm", INFERRED),
    (Stage, "BatchNorm2d", "BatchNorm", INFERRED),
    (Stage, "BatchNormalization", "BatchNorm", ""),
    (Stage, "LayerNormalization", "LayerNorm", ""),
    (Stage, "GroupNormalization", "GroupNorm(groups)", ""),
    (Stage, "InstanceNorm1d", "GroupNorm(groups)", "with as many groups as channels"),
    (Stage, "InstanceNorm2d", "GroupNorm(groups)", "with as many groups as channels"),
    (Stage, "Dropout1d", "Dropout(p, channels = true)", ""),
    (Stage, "Dropout2d", "Dropout(p, channels = true)", ""),
    (Stage, "SpatialDropout2D", "Dropout(p, channels = true)", ""),
    (Stage, "AlphaDropout", "Dropout(p)", ""),
    (Stage, "Identity", "", "leave it out"),
    (Stage, "identity", "", "leave it out"),
    (Stage, "Sequential", "", "a body is a list of stages already; `block Name(n) { .. }` gives one a name"),
    (Stage, "Activation", "", "an activation is a stage of its own, such as `relu`"),
    (Stage, "Input", "", "what comes in is declared in the signature: `Net<x: [B, 8] -> ..>`"),
    (Stage, "InputLayer", "", "what comes in is declared in the signature: `Net<x: [B, 8] -> ..>`"),
    (Stage, "Add", "residual { .. }", ""),
    (Stage, "Lambda", "|x| ..", ""),
    (Stage, "Reshape", "flatten", RESHAPED),
    (Stage, "view", "flatten", RESHAPED),
    (Stage, "Concatenate", "concat", "`(u, v) -> concat` in a body of named flows"),
    (Stage, "Multiply", "", "write `let w = u * v;` in a body of named flows"),
    (Stage, "Normalization", "normalize(mean, std)", "or let `BatchNorm` learn both"),
    (Stage, "Rescaling", "normalize", "which divides bytes by 255, then takes `mean` off and divides by `std`"),
    (Stage, "ToTensor", "normalize", "for an input of `u8`, whose bytes it divides by 255"),
    (Stage, "RandomHorizontalFlip", "random_flip", ""),
    (Stage, "RandomTranslation", "random_crop(pad)", "in positions"),
    (Stage, "Conv1D", "Conv1d(channels, kernel)", "over `[B, channels, time]`"),
    (Stage, "Conv2D", "Conv2d(channels, kernel)", INFERRED),
    (Stage, "LazyConv2d", "Conv2d(channels, kernel)", ""),
    (Stage, "Conv2dConfig", "Conv2d(channels, kernel)", INFERRED),
    (Stage, "DepthwiseConv2D", "Conv2d(channels, kernel, groups = channels)", "with as many channels as come in"),
    (Stage, "Conv3d", "", "convolutions go over images and signals: `Conv2d(channels, kernel)`"),
    (Stage, "Conv2DTranspose", "ConvTranspose2d(channels, kernel)", INFERRED),
    (Stage, "UpSampling2D", "upsample(factor)", ""),
    (Stage, "interpolate", "upsample(factor)", ""),
    (Stage, "MaxPool1d", "", "pooling goes over images: `max_pool(kernel)`"),
    (Stage, "MaxPool2d", "max_pool(kernel)", ""),
    (Stage, "MaxPooling2D", "max_pool(kernel)", ""),
    (Stage, "AvgPool2d", "avg_pool(kernel)", ""),
    (Stage, "AveragePooling2D", "avg_pool(kernel)", ""),
    (Stage, "AdaptiveAvgPool2d", "global_avg_pool", "where it has an output of 1 x 1; it drops both axes"),
    (Stage, "AdaptiveMaxPool2d", "global_max_pool", "where it has an output of 1 x 1; it drops both axes"),
    (Stage, "GlobalAveragePooling2D", "global_avg_pool", ""),
    (Stage, "GlobalMaxPooling2D", "global_max_pool", ""),
    (Stage, "RNN", "Rnn(n)", SEQUENCE),
    (Stage, "SimpleRNN", "Rnn(n, last = true)", LAST),
    (Stage, "GRU", "Gru(n)", SEQUENCE),
    (Stage, "LSTM", "Lstm(n)", SEQUENCE),
    (Stage, "Bidirectional", "", BOTH),
    (Stage, "BiLstm", "", BOTH),
    (Stage, "MultiheadAttention", "Attention(heads)", INFERRED),
    (Stage, "MultiHeadAttention", "Attention(heads)", INFERRED),
    (Stage, "RMSNorm", "RmsNorm", ""),
    (Stage, "RMSNormalization", "RmsNorm", ""),
    (Stage, "GaussianNoise", "Normal(deviation)", "added to a value: `let y = x + noise;`"),
    // Activations.
    (Stage, "swish", "silu", ""),
    (Stage, "Swish", "silu", ""),
    (Stage, "SiLU", "silu", ""),
    (Stage, "logistic", "sigmoid", ""),
    (Stage, "expit", "sigmoid", ""),
    (Stage, "Hardswish", "hard_swish", ""),
    (Stage, "heaviside", "step", ""),
    (Stage, "gelu_tanh", "gelu(approx = tanh)", ""),
    (Stage, "gelu_new", "gelu(approx = tanh)", ""),
    (Stage, "gelu_approximate", "gelu(approx = tanh)", ""),
    (Stage, "relu6", "|x| clamp(x, 0.0, 6.0)", ""),
    (Stage, "ReLU6", "|x| clamp(x, 0.0, 6.0)", ""),
    (Stage, "exponential", "|x| exp(x)", ""),
    // Losses.
    (Function, "mse_loss", "mse(prediction, target)", ""),
    (Function, "MSELoss", "mse(prediction, target)", ""),
    (Function, "mean_squared_error", "mse(prediction, target)", ""),
    (Function, "squared_error", "mse(prediction, target)", ""),
    (Function, "l2_loss", "mse(prediction, target)", "`l2(weights)` is the penalty on weights"),
    (Function, "l1_loss", "mae(prediction, target)", ""),
    (Function, "L1Loss", "mae(prediction, target)", ""),
    (Function, "mean_absolute_error", "mae(prediction, target)", ""),
    (Function, "smooth_l1_loss", "huber(prediction, target)", ""),
    (Function, "SmoothL1Loss", "huber(prediction, target)", ""),
    (Function, "huber_loss", "huber(prediction, target)", ""),
    (Function, "HuberLoss", "huber(prediction, target)", ""),
    (Function, "binary_cross_entropy", "bce_with_logits(logits, target)", LOGITS),
    (Function, "binary_crossentropy", "bce_with_logits(logits, target)", LOGITS),
    (Function, "BCELoss", "bce_with_logits(logits, target)", LOGITS),
    (Function, "bce", "bce_with_logits(logits, target)", LOGITS),
    (Function, "log_loss", "bce_with_logits(logits, target)", LOGITS),
    (Function, "BCEWithLogitsLoss", "bce_with_logits(logits, target)", ""),
    (Function, "binary_cross_entropy_with_logits", "bce_with_logits(logits, target)", ""),
    (Function, "sigmoid_binary_cross_entropy", "bce_with_logits(logits, target)", ""),
    (Function, "CrossEntropyLoss", "cross_entropy(logits, target)", ""),
    (Function, "softmax_cross_entropy", "cross_entropy(logits, target)", ""),
    (Function, "softmax_cross_entropy_with_integer_labels", "cross_entropy(logits, target)", ""),
    (
        Function,
        "categorical_crossentropy",
        "cross_entropy(logits, target)",
        "it takes logits, and class ids as targets",
    ),
    (Function, "sparse_categorical_crossentropy", "cross_entropy(logits, target)", "it takes logits"),
    (Function, "nll_loss", "nll(log_probabilities, target)", ""),
    (Function, "NLLLoss", "nll(log_probabilities, target)", ""),
    (Function, "kl_divergence", "kl_div(log_q, p)", ""),
    (Function, "KLDivLoss", "kl_div(log_q, p)", ""),
    (Function, "hinge_loss", "hinge(scores, target)", "its targets are -1 and 1"),
    // Metrics.
    (Function, "accuracy", "mean(argmax(logits) == label)", ""),
    (Function, "accuracy_score", "mean(argmax(logits) == label)", ""),
    (Function, "categorical_accuracy", "mean(argmax(logits) == label)", ""),
    (Function, "binary_accuracy", "mean((logits > 0.0) == (label > 0.5))", ""),
    (Function, "top_k_accuracy", "top_k(logits, target, k = 5)", ""),
    (Function, "precision_score", "precision(scores, target)", ""),
    (Function, "recall_score", "recall(scores, target)", ""),
    (Function, "f1", "", "calculate it from `precision` and `recall`, each a metric, once a whole set is evaluated"),
    (
        Function,
        "f1_score",
        "",
        "calculate it from `precision` and `recall`, each a metric, once a whole set is evaluated",
    ),
    (Function, "r2_score", "r2(prediction, target)", ""),
    // Functions.
    (Function, "log", "ln(x)", ""),
    (Function, "log2", "ln(x) / ln(2.0)", ""),
    (Function, "log10", "ln(x) / ln(10.0)", ""),
    (Function, "power", "pow(x, n = 2)", ""),
    (Function, "powi", "pow(x, n = 2)", ""),
    (Function, "powf", "pow(x, n = 2)", "for other than whole powers `exp(p * ln(x))`"),
    (Function, "sqr", "square(x)", ""),
    (Function, "avg", "mean(x)", ""),
    (Function, "average", "mean(x)", ""),
    (Function, "reduce_mean", "mean(x)", ""),
    (Function, "reduce_sum", "sum(x)", ""),
    (Function, "amax", "max(x)", ""),
    (Function, "argmin", "argmax(-x)", ""),
    (Function, "absolute", "abs(x)", ""),
    (Function, "fabs", "abs(x)", ""),
    (Function, "clip", "clamp(x, low, high)", ""),
    (Function, "clip_by_value", "clamp(x, low, high)", ""),
    (Function, "select", "if p { x } else { y }", ""),
    (Function, "norm", "sqrt(l2(x))", ""),
    (Function, "variance", "var(x)", ""),
    (Function, "std", "sqrt(var(x))", ""),
    (Function, "cat", "concat(a, b)", ""),
    (Function, "concatenate", "concat(a, b)", ""),
    (Function, "hstack", "concat(a, b)", ""),
    (Function, "permute", "transpose(x)", ""),
    (Function, "view", "reshape(x, [B, 4, 7])", ""),
    (Function, "chunk", "", "`let (u, v) = h -> split;` takes a value apart"),
    (Function, "reciprocal", "1.0 / x", ""),
    (Function, "neg", "-x", ""),
    (Function, "matmul", "", "products with trained weights are layers: `Dense(n)`"),
    // Arguments.
    (Argument, "units", "n", ""),
    (Argument, "out_features", "n", ""),
    (Argument, "d_output", "n", ""),
    (Argument, "hidden_size", "n", ""),
    (Argument, "return_sequences", "last", "the last state alone instead of all"),
    (Argument, "go_backwards", "reverse", ""),
    (Argument, "bidirectional", "", BOTH),
    (Argument, "num_layers", "", "`repeat(2) { Lstm(16) }`"),
    (Argument, "batch_first", "", "a sequence is `[B, T, features]`; leave it out"),
    (Argument, "nonlinearity", "activation", ""),
    (Argument, "recurrent_initializer", "recurrent_init", ""),
    (Argument, "unit_forget_bias", "", "the bias of the forget gate starts at 1; leave it out"),
    (Argument, "output_dim", "n", ""),
    (Argument, "features", "n", ""),
    (Argument, "out_channels", "channels", ""),
    (Argument, "filters", "channels", ""),
    (Argument, "kernel_size", "kernel", ""),
    (Argument, "pool_size", "kernel", ""),
    (Argument, "window_shape", "kernel", ""),
    (Argument, "strides", "stride", ""),
    (Argument, "padding", "pad", ""),
    (Argument, "output_padding", "more", ""),
    (Argument, "num_groups", "groups", ""),
    (Argument, "scale_factor", "factor", ""),
    (Argument, "dilation_rate", "dilation", ""),
    (Argument, "kernel_dilation", "dilation", ""),
    (Argument, "feature_group_count", "groups", ""),
    (Argument, "in_channels", "", OUT),
    (Argument, "padding_mode", "", "images are padded with zeros; leave it out"),
    (Argument, "ceil_mode", "", "the number of windows is rounded down; leave it out"),
    (Argument, "count_include_pad", "", "the zeros around the image count; leave it out"),
    (Argument, "data_format", "", "an image is `[B, channels, height, width]`; leave it out"),
    (Argument, "in_features", "", OUT),
    (Argument, "d_input", "", OUT),
    (Argument, "input_size", "", OUT),
    (Argument, "input_dim", "", OUT),
    (Argument, "input_shape", "", OUT),
    (Argument, "num_features", "", OUT),
    (Argument, "normalized_shape", "", OUT),
    (Argument, "activation", "", "an activation is a stage of its own: `Dense(16), relu`"),
    (Argument, "use_bias", "bias", ""),
    (Argument, "kernel_initializer", "init", ""),
    (Argument, "kernel_init", "init", ""),
    (Argument, "weight_init", "init", ""),
    (Argument, "initializer", "init", ""),
    (Argument, "bias_initializer", "", "biases start at zero"),
    (Argument, "bias_init", "", "biases start at zero"),
    (Argument, "kernel_regularizer", "", "a penalty is a term of the loss: `+ 1e-4 * l2(weights)`"),
    (Argument, "weight_decay", "", "a setting of the optimizer, or a term of the loss: `+ 1e-4 * l2(weights)`"),
    (Argument, "rate", "p", ""),
    (Argument, "prob", "p", ""),
    (Argument, "drop_prob", "p", ""),
    (Argument, "keep_prob", "p", "the probability that an element is dropped"),
    (Argument, "epsilon", "eps", ""),
    (Argument, "inplace", "", "memory is planned when the network is compiled; leave it out"),
    (Argument, "track_running_stats", "", "`freeze` on the trainer holds them"),
    (Argument, "negative_slope", "slope", ""),
    (Argument, "alpha", "slope", ""),
    (Argument, "approximate", "approx", ""),
    (Argument, "smoothing", "label_smoothing", ""),
    (Argument, "weight", "class_weights", ""),
    (Argument, "from_logits", "", "it always takes logits; leave it out"),
    (Argument, "reduction", "", "it is a mean over the batch; leave it out"),
    (Argument, "beta", "delta", ""),
    (Argument, "std", "deviation", ""),
    (Argument, "stddev", "deviation", ""),
    (Argument, "dim", "axis", ""),
    (Argument, "axis", "", "the axis is always the last; leave it out"),
    (Argument, "keepdim", "keep", ""),
    (Argument, "keepdims", "keep", ""),
    (Argument, "name", "", "a name follows the stage: `Dense(16) as hidden`"),
    (Argument, "dtype", "", "everything is calculated in f32; leave it out"),
    (Argument, "device", "", "leave it out"),
    (Argument, "seed", "", "a setting of the trainer: `.seed(1)`"),
    // Values.
    (Value, "True", "true", ""),
    (Value, "False", "false", ""),
    (Value, "None", "", "leave the argument out"),
    (Value, "valid", "", "there is no padding by default; leave it out"),
    (Value, "VALID", "", "there is no padding by default; leave it out"),
    (Value, "SAME", "same", ""),
    (Value, "weight", "weights", ""),
    (Value, "params", "weights", "the weights of all layers; one is `dense1.weight`"),
    (Value, "parameters", "weights", "the weights of all layers; one is `dense1.weight`"),
    (Value, "batch_size", "", "the batch is `B`, which is known at run time alone; `mean` divides by it"),
    // Initializers.
    (Init, "ones", "constant(1.0)", ""),
    (Init, "Ones", "constant(1.0)", ""),
    (Init, "random_normal", "normal(deviation)", ""),
    (Init, "RandomNormal", "normal(deviation)", ""),
    (Init, "truncated_normal", "normal(deviation)", "it is not cut off"),
    (Init, "trunc_normal", "normal(deviation)", "it is not cut off"),
    (Init, "random_uniform", "uniform(bound)", ""),
    (Init, "RandomUniform", "uniform(bound)", ""),
];

const INFERRED: &str = "the size of what comes in is inferred";
const OUT: &str = "the size of what comes in is inferred; leave it out";
const LOGITS: &str = "it takes logits, so leave out `sigmoid` before it";
const RESHAPED: &str = "in a body of named flows, `reshape(x, [B, 4, 7])` gives any shape";
const SEQUENCE: &str = "over `[B, T, features]`, with `last = true` the last state alone";
const LAST: &str = "over `[B, T, features]`, without `last` all states";
const BOTH: &str = "one layer with `reverse = true` beside one without, in two flows that `concat` joins";

/// The end of a message about a word that is not known: what is written here instead.
pub fn hint(place: SourcePlace, word: &str) -> Option<String> {
    find(|row| row.0 == place && row.1 == word)
}

/// The same of a function, which may be an activation as well.
pub fn function(word: &str) -> Option<String> {
    let is_activation = |row: &Row| row.0 == Stage && row.2.starts_with(char::is_lowercase) && row.2 != "flatten";
    hint(Function, word).or_else(|| find(|row| row.1 == word && is_activation(row)))
}

/// The function that is called in place of another, where that is all there is to it.
pub fn renamed(word: &str) -> Option<&'static str> {
    let (_, _, instead, _) = ROWS.iter().find(|row| row.0 == Function && row.1 == word)?;
    let (function, operands) = instead.split_once('(')?;
    let is_name = function.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    (is_name && !operands.contains('(') && operands.ends_with(')')).then_some(function)
}

/// The same of an argument, for an owner that has these.
pub fn argument(word: &str, known: &[&str]) -> Option<String> {
    find(|row| row.0 == Argument && row.1 == word && (row.2.is_empty() || known.contains(&row.2)))
}

fn find(is_meant: impl Fn(&Row) -> bool) -> Option<String> {
    let (_, _, instead, why) = ROWS.iter().find(|row| is_meant(row))?;
    Some(match (*instead, *why) {
        ("", why) => format!("; {why}"),
        (instead, "") => format!("; write `{instead}`"),
        (instead, why) => format!("; write `{instead}`: {why}"),
    })
}
