//! CRC-32 (IEEE 802.3, RFC 1952 section 8), for those who use the crate `crc32fast` and are given this instead: the `zip` crate in the
//! page, and flate2 in the tracker.
//!
//! That crate brings sixteen tables of 256 numbers each, 16 KiB that no compression makes shorter: a thirtieth of what everybody loads
//! who opens the page, for the few who save a folder. Here they are made when the first sum is: some microseconds. The way of summing
//! is the same, sixteen bytes at a time (M. E. Kounavis, F. L. Berry, "A systematic approach to building high performance
//! software-based CRC generators", 2005), and so are the names; what a processor has for it is not used.

use std::sync::LazyLock;

/// The polynomial, its lowest power first.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// Bytes that are summed in one step.
const STEP: usize = 16;

/// `TABLES[zeros][byte]`: the sum of that byte with so many zero bytes behind it.
static TABLES: LazyLock<Box<[[u32; 256]; STEP]>> = LazyLock::new(|| {
    let mut tables = Box::new([[0; 256]; STEP]);
    for byte in 0..256 {
        let mut sum = byte as u32;
        for _ in 0..8 {
            sum = shifted(sum);
        }
        for table in tables.iter_mut() {
            table[byte] = sum;
            for _ in 0..8 {
                sum = shifted(sum);
            }
        }
    }
    tables
});

/// The sum with one zero bit behind it.
const fn shifted(sum: u32) -> u32 {
    if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ POLYNOMIAL }
}

/// The sum of these bytes.
pub fn hash(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

/// A sum of bytes that come in parts.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    sum: u32,
    len: u64,
}

impl Hasher {
    /// Of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of bytes that have this sum.
    pub fn new_with_initial(sum: u32) -> Self {
        Self::new_with_initial_len(sum, 0)
    }

    /// Of so many bytes that have this sum.
    pub fn new_with_initial_len(sum: u32, len: u64) -> Self {
        Self { sum, len }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let tables: &[[u32; 256]; STEP] = &TABLES;
        let mut sum = !self.sum;
        let (steps, rest) = bytes.as_chunks::<STEP>();
        for step in steps {
            let mut step = *step;
            for (byte, before) in step.iter_mut().zip(sum.to_le_bytes()) {
                *byte ^= before;
            }
            sum = 0;
            for (byte, table) in step.into_iter().zip(tables.iter().rev()) {
                sum ^= table[usize::from(byte)];
            }
        }
        for byte in rest {
            sum = (sum >> 8) ^ tables[0][usize::from(sum as u8 ^ byte)];
        }
        self.sum = !sum;
        self.len += bytes.len() as u64;
    }

    /// The sum.
    pub fn finalize(self) -> u32 {
        self.sum
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Adds the bytes of which `other` is the sum.
    pub fn combine(&mut self, other: &Self) {
        // As many zero bytes as there are others: a power of "one zero bit", by squaring. Each column of the matrix is what becomes
        // of one bit.
        let mut zeros: [u32; 32] = std::array::from_fn(|bit| shifted(1 << bit));
        let square = |matrix: [u32; 32]| matrix.map(|column| applied(&matrix, column));
        for _ in 0..3 {
            zeros = square(zeros);
        }
        let mut left = other.len;
        while left > 0 {
            if left & 1 == 1 {
                self.sum = applied(&zeros, self.sum);
            }
            zeros = square(zeros);
            left >>= 1;
        }
        self.sum ^= other.sum;
        self.len += other.len;
    }
}

/// What a matrix makes of a sum.
fn applied(matrix: &[u32; 32], sum: u32) -> u32 {
    matrix
        .iter()
        .enumerate()
        .filter(|(bit, _)| sum >> bit & 1 == 1)
        .fold(0, |made, (_, column)| made ^ column)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, as the definition says.
    fn defined(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| shifted(sum)))
    }

    #[test]
    fn the_check_value_of_the_catalogues_is_right() {
        assert_eq!(hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(hash(b""), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_have_the_defined_sum(bytes: Vec<u8>, cut: usize) {
            let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
            let expected = defined(&bytes);
            let mut hasher = Hasher::new_with_initial(hash(first));
            hasher.update(second);
            prop_assert_eq!(hasher.finalize(), expected);

            let [mut one, mut other] = [Hasher::new(), Hasher::new()];
            one.update(first);
            other.update(second);
            one.combine(&other);
            prop_assert_eq!(one.finalize(), expected);
        }
    }
}
