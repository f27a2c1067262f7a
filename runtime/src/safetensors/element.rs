//! What the elements of a stored tensor are.

/// An element type of the format, by its name there and its size in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    name: &'static str,
    bits: u64,
}

/// All of them; sessions read the four that are floats of common use.
const ALL: [Element; 20] = {
    const fn element(name: &'static str, bits: u64) -> Element {
        Element { name, bits }
    }
    [
        F32,
        F64,
        F16,
        BF16,
        element("BOOL", 8),
        element("U8", 8),
        element("I8", 8),
        element("U16", 16),
        element("I16", 16),
        element("U32", 32),
        element("I32", 32),
        element("U64", 64),
        element("I64", 64),
        element("C64", 64),
        element("F8_E5M2", 8),
        element("F8_E4M3", 8),
        element("F8_E8M0", 8),
        element("F6_E2M3", 6),
        element("F6_E3M2", 6),
        element("F4", 4),
    ]
};

pub(super) const F32: Element = Element { name: "F32", bits: 32 };
const F64: Element = Element { name: "F64", bits: 64 };
const F16: Element = Element { name: "F16", bits: 16 };
const BF16: Element = Element { name: "BF16", bits: 16 };

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Element {
    pub(super) fn named(name: &str) -> Option<Element> {
        ALL.into_iter().find(|element| element.name == name)
    }

    /// How many bytes so many elements are, if that is a whole number below 2^64.
    pub(super) fn bytes(self, shape: &[u64]) -> Option<u64> {
        let bits = shape.iter().try_fold(self.bits, |bits, &extent| bits.checked_mul(extent))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Bytes of one element, if it can be read as a float.
    pub(super) fn width(self) -> Option<usize> {
        [F32, F64, F16, BF16].contains(&self).then_some(self.bits as usize / 8)
    }

    /// Whether a tensor of these is read as floats: exactly, but for `F64`, which is rounded to the nearest.
    pub fn is_float(self) -> bool {
        self.width().is_some()
    }

    /// The float that these little-endian bytes are, as many as the element is wide.
    pub(super) fn float(self, bytes: &[u8]) -> f32 {
        match *bytes {
            [a, b] if self == F16 => half(u16::from_le_bytes([a, b])),
            [a, b] => f32::from_bits(u32::from(u16::from_le_bytes([a, b])) << 16),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
            _ => unreachable!("a float has two, four or eight bytes"),
        }
    }
}

/// IEEE-754 binary16.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    let magnitude = match exponent {
        // Without a leading one: fraction times 2^-24, which f32 holds exactly.
        0 => (fraction as f32 * f32::from_bits((127 - 24) << 23)).to_bits(),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 127 - 15) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_ieee_754_says() {
        // From the standard's examples of binary16, and both ends of the range.
        let known = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x03ff, 6.097_555e-5),
            (0x0001, 5.960_464_5e-8),
            (0x0000, 0.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in known {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x8000).is_sign_negative() && half(0x8000) == 0.0);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn other_floats_are_read_by_their_bits() {
        assert_eq!(BF16.float(&0x3fc0_u16.to_le_bytes()), 1.5);
        assert_eq!(F32.float(&(-0.1_f32).to_le_bytes()), -0.1);
        assert_eq!(F64.float(&0.1_f64.to_le_bytes()), 0.1_f32);
    }

    #[test]
    fn names_are_unique() {
        assert!(ALL.iter().all(|element| Element::named(element.name) == Some(*element)));
    }
}
