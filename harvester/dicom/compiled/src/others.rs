//! The columns `OtherElements`, `bulk_data`, `invalid_elements` and `empty_elements`.

use std::fmt::Write;

use crate::buffers::{Lists, Numbers, Texts};
use crate::values::{self, CharacterSet};
use crate::vr::{tag_digits, Dictionary, NotPlain, Plain, Vr};
use crate::walk::Element;

#[derive(Default)]
pub struct Others {
    /// The first part of all paths in the current data set.
    pub prefix: String,
    pub other: OtherElements,
    pub bulk: BulkData,
    pub invalid: InvalidElements,
    pub empty_lists: Lists,
    pub empty: Texts,
    name: String,
}

#[derive(Default)]
pub struct OtherElements {
    pub lists: Lists,
    pub path: Texts,
    pub tag: Texts,
    pub vr: Texts,
    pub creator: Texts,
    pub data_lists: Lists,
    pub data: Texts,
}

#[derive(Default)]
pub struct BulkData {
    pub lists: Lists,
    pub path: Texts,
    pub vr: Texts,
    pub offset: Numbers<i64>,
    pub length: Numbers<i64>,
}

#[derive(Default)]
pub struct InvalidElements {
    pub lists: Lists,
    pub path: Texts,
    pub vr: Texts,
    pub text: Texts,
    pub reason: Texts,
}

impl Others {
    pub fn start_row(&mut self) {
        self.prefix.clear();
    }

    pub fn end_row(&mut self) -> Plain<()> {
        self.other.lists.push(self.other.path.rows())?;
        self.bulk.lists.push(self.bulk.path.rows())?;
        self.invalid.lists.push(self.invalid.path.rows())?;
        self.empty_lists.push(self.empty.rows())
    }

    pub fn rows(&self) -> usize {
        self.empty_lists.rows()
    }

    /// Removes all rows from `rows` on, and what was added to a row that did not end.
    pub fn truncate(&mut self, rows: usize) {
        let kept = self.other.lists.truncate(rows);
        let other = &mut self.other;
        for texts in [
            &mut other.path,
            &mut other.tag,
            &mut other.vr,
            &mut other.creator,
        ] {
            texts.truncate(kept);
        }
        let kept = other.data_lists.truncate(kept);
        other.data.truncate(kept);
        let kept = self.bulk.lists.truncate(rows);
        self.bulk.path.truncate(kept);
        self.bulk.vr.truncate(kept);
        self.bulk.offset.truncate(kept);
        self.bulk.length.truncate(kept);
        let kept = self.invalid.lists.truncate(rows);
        let invalid = &mut self.invalid;
        for texts in [
            &mut invalid.path,
            &mut invalid.vr,
            &mut invalid.text,
            &mut invalid.reason,
        ] {
            texts.truncate(kept);
        }
        let kept = self.empty_lists.truncate(rows);
        self.empty.truncate(kept);
    }

    pub fn empty(&mut self, name: &str) -> Plain<()> {
        self.empty.bytes.extend_from_slice(self.prefix.as_bytes());
        self.empty.push(name.as_bytes())
    }

    pub fn bulk(&mut self, name: &str, vr: Vr, element: &Element) -> Plain<()> {
        self.bulk
            .path
            .bytes
            .extend_from_slice(self.prefix.as_bytes());
        self.bulk.path.push(name.as_bytes())?;
        self.bulk.vr.push(vr.text().as_bytes())?;
        self.bulk.offset.push(i64::from(element.start));
        self.bulk.length.push(i64::from(element.length));
        Ok(())
    }

    pub fn invalid(&mut self, name: &str, vr: Vr, text: &[u8], reason: &[u8]) -> Plain<()> {
        self.invalid
            .path
            .bytes
            .extend_from_slice(self.prefix.as_bytes());
        self.invalid.path.push(name.as_bytes())?;
        self.invalid.vr.push(vr.text().as_bytes())?;
        self.invalid.text.push(text)?;
        self.invalid.reason.push(reason)
    }

    pub fn start_entry(
        &mut self,
        dictionary: &Dictionary,
        tag: u32,
        vr: Vr,
        creator: Option<&[u8]>,
    ) -> Plain<()> {
        let digits = tag_digits(tag);
        self.other.tag.push(&digits)?;
        self.other
            .path
            .bytes
            .extend_from_slice(self.prefix.as_bytes());
        if tag & 0x10000 == 0 {
            self.name.clear();
            dictionary.write_name(tag, &mut self.name);
            self.other.path.push(self.name.as_bytes())?;
        } else {
            self.other.path.push(&digits)?;
        }
        self.other.vr.push(vr.text().as_bytes())?;
        match creator {
            Some(name) => self.other.creator.push(name),
            None => {
                self.other.creator.push_null();
                Ok(())
            }
        }
    }

    pub fn end_entry(&mut self) -> Plain<()> {
        self.other.data_lists.push(self.other.data.rows())
    }

    /// Adds the values of an element as texts; how many there are.
    pub fn push_values(&mut self, vr: Vr, raw: &[u8], set: CharacterSet) -> Plain<usize> {
        let data = &mut self.other.data;
        let before = data.rows();
        let width = vr.number_width();
        if width == 0 {
            // Numbers and dates stay as they are written.
            let vr = match vr {
                Vr::DA | Vr::DS | Vr::DT | Vr::IS | Vr::TM => Vr::AS,
                Vr::PN => Vr::UC,
                _ => vr,
            };
            let count = values::push_texts(vr, raw, set, data)?;
            data.validity.set_all(before);
            return Ok(count);
        }
        let text = &mut self.name;
        if raw.len() % width != 0 {
            text.clear();
            for byte in raw {
                for digit in [byte >> 4, byte & 0xF] {
                    text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                }
            }
            data.push(text.as_bytes())?;
            return Ok(1);
        }
        match vr {
            Vr::AT => {
                for tag in values::tags(raw)? {
                    data.push(&tag_digits(tag))?;
                }
            }
            Vr::FL | Vr::FD => {
                for number in values::floats(vr, raw)? {
                    text.clear();
                    values::write_float(number, text);
                    data.push(text.as_bytes())?;
                }
            }
            _ => {
                for number in values::integers(vr, raw)? {
                    text.clear();
                    match i64::try_from(number) {
                        Ok(number) => write!(text, "{number}"),
                        Err(_) => write!(text, "{number}"), // UV
                    }
                    .map_err(|_| NotPlain)?;
                    data.push(text.as_bytes())?;
                }
            }
        }
        Ok(data.rows() - before)
    }
}
