//! The machine that programs are tiled for, in numbers. Caches and rates are those of a core of recent years, the same for all:
//! so that a program is tiled alike wherever it is compiled, but for the shape of the microkernels' tiles.

/// Which microkernel a product runs on. All that [fuse](Isa::fuses) give the same bits. Compiled code passes it on as a number.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 12 rows x 32 columns in 24 registers of 16 lanes.
    Avx512,
    /// 6 rows x 16 columns in 12 registers of 8 lanes, with FMA.
    Avx2,
    /// 6 rows x 16 columns in 24 registers of 4 lanes. Every aarch64 has it.
    Neon,
    /// 4 rows x 8 columns in plain Rust.
    Portable,
}

impl Isa {
    /// The fastest one this machine has.
    pub fn detect() -> Isa {
        [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().find(|isa| isa.is_present()).unwrap_or(Isa::Portable)
    }

    /// All that this machine has, fastest first.
    pub fn available() -> Vec<Isa> {
        [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable].into_iter().filter(|isa| isa.is_present()).collect()
    }

    /// Whether its multiply-adds round once. Those in plain Rust do where the target has such an instruction for
    /// certain; elsewhere `mul_add` would be a call into the C library.
    pub const fn fuses(self) -> bool {
        match self {
            Isa::Avx512 | Isa::Avx2 | Isa::Neon => true,
            Isa::Portable => cfg!(any(target_arch = "aarch64", target_feature = "fma")),
        }
    }

    fn is_present(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Isa::Portable => true,
            _ => false,
        }
    }
}

/// The largest tile of a product that stays in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows.
    pub rows: usize,
    /// Columns, those of a packed panel.
    pub cols: usize,
    /// Floats of a register.
    pub lanes: usize,
}

/// What decides how kernels run. Sizes are in bytes, rates in units a nanosecond, both of one core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Its microkernels.
    pub isa: Isa,
    /// Threads that a program may use.
    pub cores: usize,
    /// The tile of its microkernels.
    pub tile: Tile,
    /// Whether it has vectors wider than those of generated code, of as many lanes as a register of its microkernels.
    pub wide_vectors: bool,
    /// What stays in the first cache.
    pub first_cache: usize,
    /// What stays in the second cache.
    pub second_cache: usize,
    /// What stays in the second and a share of the third cache.
    pub third_cache: usize,
    /// From one line to the next, in bytes, or a multiple of it: all lines of a column compete for the same few places of a cache.
    pub conflict: usize,
    /// Floating-point operations of a product.
    pub peak: f64,
    /// Elements of an ordinary step.
    pub elements: f64,
    /// Bytes that are read from the second cache.
    pub cache_bandwidth: f64,
    /// Bytes that are read from beyond it.
    pub bandwidth: f64,
    /// Nanoseconds of work below which a kernel is not worth a meeting of threads.
    pub meeting: f64,
    /// Nanoseconds of work below which one thread is done before others have come.
    pub launch: f64,
}

impl Machine {
    /// A core with these microkernels.
    pub const fn of(isa: Isa) -> Machine {
        let (rows, cols, lanes) = match isa {
            Isa::Avx512 => (12, 32, 16),
            Isa::Avx2 => (6, 16, 8),
            Isa::Neon => (6, 16, 4),
            Isa::Portable if cfg!(target_arch = "aarch64") => (8, 8, 8),
            Isa::Portable => (4, 8, 8),
        };
        Machine {
            isa,
            cores: 1,
            tile: Tile { rows, cols, lanes },
            wide_vectors: matches!(isa, Isa::Avx512 | Isa::Avx2),
            first_cache: 32 << 10,
            second_cache: 2 << 20,
            third_cache: 4 << 20,
            conflict: 4 << 10,
            peak: 100.0,
            elements: 10.0,
            cache_bandwidth: 150.0,
            bandwidth: 30.0,
            meeting: 4_000.0,
            launch: 20_000.0,
        }
    }

    /// The same with so many threads.
    pub const fn with_cores(self, cores: usize) -> Machine {
        Machine { cores, ..self }
    }

    /// What stays in the second cache while as much again passes through it.
    pub const fn reread(&self) -> usize {
        self.second_cache / 2
    }
}
