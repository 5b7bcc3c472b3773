//! Value representations (PS3.5 6.2), and what the data dictionary says of a tag.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// A header, or a value, that is not plain: the parser in Python reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct NotPlain;

pub type Plain<T> = Result<T, NotPlain>;

macro_rules! value_representations {
    ($($name:ident $text:literal),* $(,)?) => {
        /// A value representation; the last four are ambiguous ones of the data dictionary.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Vr { $($name),* }

        impl Vr {
            pub const ALL: &'static [(Vr, &'static str)] = &[$((Vr::$name, $text)),*];

            pub fn text(self) -> &'static str {
                Self::ALL[self as usize].1
            }
        }
    };
}

value_representations! {
    AE "AE", AS "AS", AT "AT", CS "CS", DA "DA", DS "DS", DT "DT", FD "FD", FL "FL", IS "IS", LO "LO",
    LT "LT", OB "OB", OD "OD", OF "OF", OL "OL", OV "OV", OW "OW", PN "PN", SH "SH", SL "SL", SQ "SQ",
    SS "SS", ST "ST", SV "SV", TM "TM", UC "UC", UI "UI", UL "UL", UN "UN", UR "UR", US "US", UT "UT",
    UV "UV", UsOrSs "US or SS", UsOrOw "US or OW", UsOrSsOrOw "US or SS or OW", ObOrOw "OB or OW",
}

impl Vr {
    pub fn from_code(code: u8) -> Option<Vr> {
        Self::ALL.get(usize::from(code)).map(|(vr, _)| *vr)
    }

    pub fn from_bytes(bytes: [u8; 2]) -> Option<Vr> {
        Some(match &bytes {
            b"AE" => Vr::AE,
            b"AS" => Vr::AS,
            b"AT" => Vr::AT,
            b"CS" => Vr::CS,
            b"DA" => Vr::DA,
            b"DS" => Vr::DS,
            b"DT" => Vr::DT,
            b"FD" => Vr::FD,
            b"FL" => Vr::FL,
            b"IS" => Vr::IS,
            b"LO" => Vr::LO,
            b"LT" => Vr::LT,
            b"OB" => Vr::OB,
            b"OD" => Vr::OD,
            b"OF" => Vr::OF,
            b"OL" => Vr::OL,
            b"OV" => Vr::OV,
            b"OW" => Vr::OW,
            b"PN" => Vr::PN,
            b"SH" => Vr::SH,
            b"SL" => Vr::SL,
            b"SQ" => Vr::SQ,
            b"SS" => Vr::SS,
            b"ST" => Vr::ST,
            b"SV" => Vr::SV,
            b"TM" => Vr::TM,
            b"UC" => Vr::UC,
            b"UI" => Vr::UI,
            b"UL" => Vr::UL,
            b"UN" => Vr::UN,
            b"UR" => Vr::UR,
            b"US" => Vr::US,
            b"UT" => Vr::UT,
            b"UV" => Vr::UV,
            _ => return None,
        })
    }

    /// Whether its length has 32 bits behind two reserved bytes (PS3.5 7.1.2).
    pub fn has_long_form(self) -> bool {
        use Vr::*;
        matches!(
            self,
            OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV
        )
    }

    pub fn is_binary(self) -> bool {
        matches!(
            self,
            Vr::OB | Vr::OD | Vr::OF | Vr::OL | Vr::OV | Vr::OW | Vr::UN
        )
    }

    pub fn is_ambiguous(self) -> bool {
        self as u8 >= Vr::UsOrSs as u8
    }

    /// The length of one number in bytes; 0 of other values.
    pub fn number_width(self) -> usize {
        match self {
            Vr::US | Vr::SS => 2,
            Vr::UL | Vr::SL | Vr::FL | Vr::AT => 4,
            Vr::UV | Vr::SV | Vr::FD => 8,
            _ => 0,
        }
    }
}

/// One standard attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub tag: u32,
    pub vr: Vr,
    /// Whether its value multiplicity is not 1.
    pub many: bool,
    /// Whether one keyword stands for many tags (PS3.5 7.6).
    pub repeating: bool,
    /// Whether this is the first of these tags, the only one that has a column.
    pub first: bool,
    pub keyword: Box<str>,
}

/// What only Python knows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Lookups {
    /// The value representation of a private element with this tag, creator and length of the creator: its code
    /// plus 1, or 0 after an error.
    pub private_vr: extern "C" fn(u32, *const u8, usize) -> u8,
    /// Why a value is not valid: tag, code of the value representation, value and its length; the reason is
    /// written to the last two, address and capacity, and its length is returned, 0 if the value is valid.
    pub invalid_reason: extern "C" fn(u32, u8, *const u8, usize, *mut u8, usize) -> usize,
}

/// By tag and creator.
type PrivateVrs = HashMap<(u32, Vec<u8>), Vr>;

/// The data dictionary, and the value representations of private elements that were looked up.
pub struct Dictionary {
    attributes: Vec<Attribute>,
    repeating: Vec<(u32, Attribute)>,
    private: RwLock<PrivateVrs>,
    lookups: Lookups,
}

const MAX_PRIVATE: usize = 1 << 16;
const MAX_REASON: usize = 4096; // bytes
const MANY: u8 = 1;

impl Dictionary {
    /// Reads entries of tag, mask (little endian), value representation, flags, length of the keyword, keyword.
    pub fn read(mut packed: &[u8], lookups: Lookups) -> Option<Dictionary> {
        let (attributes, repeating) = (Vec::new(), Vec::new());
        let mut dictionary = Dictionary {
            attributes,
            repeating,
            private: RwLock::default(),
            lookups,
        };
        while !packed.is_empty() {
            let (head, rest) = packed.split_at_checked(11)?;
            let tag = u32::from_le_bytes(head[..4].try_into().ok()?);
            let mask = u32::from_le_bytes(head[4..8].try_into().ok()?);
            let vr = Vr::from_code(head[8])?;
            let (keyword, rest) = rest.split_at_checked(usize::from(head[10]))?;
            let keyword = std::str::from_utf8(keyword).ok()?.into();
            let repeating = mask != u32::MAX;
            let many = head[9] & MANY != 0;
            let entry = Attribute {
                tag,
                vr,
                many,
                repeating,
                first: true,
                keyword,
            };
            if repeating {
                dictionary.repeating.push((mask, entry));
            } else {
                dictionary.attributes.push(entry);
            }
            packed = rest;
        }
        dictionary.attributes.sort_by_key(|entry| entry.tag);
        Some(dictionary)
    }

    /// The entry of a tag that is not private.
    pub fn standard(&self, tag: u32) -> Option<&Attribute> {
        let found = self
            .attributes
            .binary_search_by_key(&tag, |entry| entry.tag);
        found.ok().map(|index| &self.attributes[index])
    }

    /// The entry for a tag; None for a private tag, or one without a keyword.
    pub fn attribute(&self, tag: u32) -> Option<Attribute> {
        if tag & 0x10000 != 0 {
            return None; // PS3.5 7.8: odd groups are private
        }
        if let Some(entry) = self.standard(tag) {
            return (!entry.keyword.is_empty()).then(|| entry.clone());
        }
        let (_, entry) = self
            .repeating
            .iter()
            .find(|(mask, entry)| tag & mask == entry.tag)?;
        Some(Attribute {
            tag,
            first: tag == entry.tag,
            ..entry.clone()
        })
    }

    pub fn standard_vr(&self, tag: u32) -> Vr {
        if let Some(entry) = self.standard(tag) {
            return entry.vr;
        }
        if tag & 0xFFFF == 0 {
            return Vr::UL; // PS3.5 7.2: a group length
        }
        self.attribute(tag).map_or(Vr::UN, |entry| entry.vr)
    }

    /// The name of an element in a path: its keyword if that means this tag alone, else the tag.
    pub fn write_name(&self, tag: u32, text: &mut String) {
        match self.attribute(tag) {
            Some(entry) if entry.first => text.push_str(&entry.keyword),
            _ => write_tag(tag, text),
        }
    }

    pub fn private_vr(&self, tag: u32, creator: &[u8]) -> Plain<Vr> {
        let key = (tag, creator.to_vec());
        let known = self
            .private
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .copied();
        if let Some(vr) = known {
            return Ok(vr);
        }
        let code = (self.lookups.private_vr)(tag, creator.as_ptr(), creator.len());
        let found = code
            .checked_sub(1)
            .and_then(Vr::from_code)
            .ok_or(NotPlain)?;
        let mut private = self.private.write().unwrap_or_else(PoisonError::into_inner);
        if private.len() >= MAX_PRIVATE {
            private.clear();
        }
        private.insert(key, found);
        Ok(found)
    }

    /// Why a value in ASCII is not valid; refused if it is valid all the same, though odd.
    pub fn invalid_reason(&self, tag: u32, vr: Vr, raw: &[u8]) -> Plain<Vec<u8>> {
        let mut reason = vec![0; MAX_REASON];
        let length = (self.lookups.invalid_reason)(
            tag,
            vr as u8,
            raw.as_ptr(),
            raw.len(),
            reason.as_mut_ptr(),
            MAX_REASON,
        );
        reason.truncate(length);
        if reason.is_empty() || std::str::from_utf8(&reason).is_err() {
            Err(NotPlain)
        } else {
            Ok(reason)
        }
    }
}

/// Eight hexadecimal digits.
pub fn tag_digits(tag: u32) -> [u8; 8] {
    std::array::from_fn(|place| b"0123456789ABCDEF"[(tag >> (28 - 4 * place) & 0xF) as usize])
}

pub fn write_tag(tag: u32, text: &mut String) {
    text.extend(tag_digits(tag).map(char::from));
}
