//! CRC-64/XZ: finds every error of one bit, and every other damage but for one case in 2^64.
//!
//! ECMA-182, polynomial `0x42f0e1eba9ea3693`, reflected, as the `.xz` format (version 1.1.0, section 6) uses it. Eight
//! bytes are taken at a time (Kounavis & Berry 2005, slicing by 8).

/// A checksum of what it has been given so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc64(u64);

impl Crc64 {
    pub(super) fn new() -> Crc64 {
        Crc64(!0)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let x = (crc ^ u64::from_le_bytes(*eight)).to_le_bytes();
            crc = (0..8).fold(0, |sum, byte| sum ^ TABLES[7 - byte][usize::from(x[byte])]);
        }
        for &byte in rest {
            crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum, in 16 digits.
    pub(super) fn digits(self) -> String {
        format!("{:016x}", !self.0)
    }
}

/// `TABLES[n][byte]`: what a byte adds once `n` more have come after it.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    const POLYNOMIAL: u64 = 0x42f0_e1eb_a9ea_3693_u64.reverse_bits();
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        n += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::Crc64;

    fn digits(parts: &[&[u8]]) -> String {
        let mut crc = Crc64::new();
        parts.iter().for_each(|part| crc.add(part));
        crc.digits()
    }

    #[test]
    fn the_check_value_of_the_catalog_comes_out() {
        // Reveng, catalog of parametrized CRC algorithms, CRC-64/XZ.
        assert_eq!(digits(&[b"123456789"]), "995dc9bbdf1939fa");
    }

    #[test]
    fn the_checksum_does_not_depend_on_how_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * i % 251) as u8).collect();
        for cut in 0..bytes.len() {
            assert_eq!(digits(&[&bytes[..cut], &bytes[cut..]]), digits(&[&bytes]));
        }
    }
}
