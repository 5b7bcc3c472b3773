//! Growing Arrow columns: values, validity, lists.

use crate::vr::{NotPlain, Plain};

/// Which rows have a value: a bit each.
#[derive(Default)]
pub struct Validity {
    pub bits: Vec<u8>,
    pub length: usize,
    pub nulls: usize,
}

impl Validity {
    #[inline]
    pub fn push(&mut self, valid: bool) {
        let bit = self.length & 7;
        if bit == 0 {
            self.bits.push(0);
        }
        if valid {
            let last = self.bits.len() - 1;
            self.bits[last] |= 1 << bit;
        } else {
            self.nulls += 1;
        }
        self.length += 1;
    }

    pub fn push_nulls(&mut self, count: usize) {
        self.length += count;
        self.nulls += count;
        self.bits.resize(self.length.div_ceil(8), 0);
    }

    /// Makes all rows from `first` on valid.
    pub fn set_all(&mut self, first: usize) {
        for row in first..self.length {
            let (byte, mask) = (row >> 3, 1 << (row & 7));
            self.nulls -= usize::from(self.bits[byte] & mask == 0);
            self.bits[byte] |= mask;
        }
    }

    pub fn truncate(&mut self, length: usize) {
        while self.length > length {
            self.length -= 1;
            let (byte, mask) = (self.length >> 3, 1 << (self.length & 7));
            if self.bits[byte] & mask == 0 {
                self.nulls -= 1;
            }
            self.bits[byte] &= !mask;
        }
        self.bits.truncate(length.div_ceil(8));
    }
}

/// Texts one behind the other.
pub struct Texts {
    pub offsets: Vec<i32>,
    pub bytes: Vec<u8>,
    pub validity: Validity,
}

impl Default for Texts {
    fn default() -> Self {
        Texts {
            offsets: vec![0],
            bytes: Vec::new(),
            validity: Validity::default(),
        }
    }
}

impl Texts {
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub fn push(&mut self, text: &[u8]) -> Plain<()> {
        self.bytes.extend_from_slice(text);
        self.end(true)
    }

    /// Ends a text whose bytes were added.
    #[inline]
    pub fn end(&mut self, valid: bool) -> Plain<()> {
        // Arrow counts the bytes of a column in 31 bits.
        let end = i32::try_from(self.bytes.len()).map_err(|_| NotPlain)?;
        self.offsets.push(end);
        self.validity.push(valid);
        Ok(())
    }

    pub fn push_null(&mut self) {
        let end = self.offsets[self.offsets.len() - 1];
        self.offsets.push(end);
        self.validity.push(false);
    }

    pub fn push_nulls(&mut self, count: usize) {
        let end = self.offsets[self.offsets.len() - 1];
        self.offsets.resize(self.offsets.len() + count, end);
        self.validity.push_nulls(count);
    }

    pub fn truncate(&mut self, rows: usize) {
        if rows < self.rows() {
            self.offsets.truncate(rows + 1);
        }
        self.bytes
            .truncate(self.offsets[self.offsets.len() - 1] as usize);
        self.validity.truncate(rows);
    }
}

/// Where the lists of a column end among its values.
pub struct Lists {
    pub offsets: Vec<i32>,
    pub validity: Validity,
}

impl Default for Lists {
    fn default() -> Self {
        Lists {
            offsets: vec![0],
            validity: Validity::default(),
        }
    }
}

impl Lists {
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Ends a list at `end` of the values.
    #[inline]
    pub fn push(&mut self, end: usize) -> Plain<()> {
        self.offsets.push(i32::try_from(end).map_err(|_| NotPlain)?);
        self.validity.push(true);
        Ok(())
    }

    pub fn push_nulls(&mut self, count: usize) {
        let end = self.offsets[self.offsets.len() - 1];
        self.offsets.resize(self.offsets.len() + count, end);
        self.validity.push_nulls(count);
    }

    /// Removes the rows from `rows` on; how many values are left.
    pub fn truncate(&mut self, rows: usize) -> usize {
        if rows < self.rows() {
            self.offsets.truncate(rows + 1);
            self.validity.truncate(rows);
        }
        self.offsets[self.offsets.len() - 1] as usize
    }
}

/// Numbers of one kind.
pub struct Numbers<T> {
    pub values: Vec<T>,
    pub validity: Validity,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Numbers {
            values: Vec::new(),
            validity: Validity::default(),
        }
    }
}

impl<T: Copy + Default> Numbers<T> {
    #[inline]
    pub fn push(&mut self, value: T) {
        self.values.push(value);
        self.validity.push(true);
    }

    pub fn push_nulls(&mut self, count: usize) {
        self.values.resize(self.values.len() + count, T::default());
        self.validity.push_nulls(count);
    }

    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }
}

/// Person names: alphabetic, ideographic and phonetic groups (PS3.5 6.2.1.1).
#[derive(Default)]
pub struct Names {
    pub groups: [Texts; 3],
    pub validity: Validity,
}

impl Names {
    pub fn push_nulls(&mut self, count: usize) {
        for group in &mut self.groups {
            group.push_nulls(count);
        }
        self.validity.push_nulls(count);
    }

    pub fn truncate(&mut self, rows: usize) {
        for group in &mut self.groups {
            group.truncate(rows);
        }
        self.validity.truncate(rows);
    }
}
