//! Finds where the elements of a plain header lie: whole, in order, and without a breach of PS3.5.
//!
//! Everything else is refused. What is accepted gives the same elements as `harvester/dicom/walker.py`.

use crate::vr::{Dictionary, NotPlain, Plain, Vr};

pub const ITEM: u32 = 0xFFFE_E000;
const ITEM_DELIMITATION: u32 = 0xFFFE_E00D;
const SEQUENCE_DELIMITATION: u32 = 0xFFFE_E0DD;
const UNDEFINED_LENGTH: u32 = 0xFFFF_FFFF;
const TRANSFER_SYNTAX_UID: u32 = 0x0002_0010;
const EXTENDED_OFFSET_TABLE: u32 = 0x7FE0_0001;
const FIRST_PIXEL_DATA: u32 = 0x7FE0_0008;
const LAST_PIXEL_DATA: u32 = 0x7FE0_0010;
/// The elements whose place is told: those that a crawl looks at itself.
const SPANS: [u32; 5] = [
    TRANSFER_SYNTAX_UID,
    0x0008_0018,
    0x0008_0060,
    0x0020_000E,
    0x0028_0008,
];
const PREAMBLE: usize = 132; // PS3.10 7.1: 128 bytes and DICM
const FIRST_GROUPS: [u16; 7] = [0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028];
pub const MAX_CREATOR_BYTES: u32 = 96;
const MAX_UID: u32 = 64; // bytes, PS3.5 9.1

/// An element or an item; its content, if it is a sequence or an item, are the entries up to `end`.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    pub tag: u32,
    pub vr: Vr,
    /// Where the value starts in the object.
    pub start: u32,
    pub length: u32,
    /// The index behind its content.
    pub end: u32,
}

/// What a header says besides its elements; offsets are the object's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Facts {
    pub header_bytes: u64,
    /// -1: the object has no pixel data.
    pub pixel_data_offset: i64,
    /// -1: it has none, or it is encapsulated.
    pub pixel_data_length: i64,
    pub pixel_data_tag: u32,
    /// Where the values of `SPANS` start, 0 if absent, and their lengths.
    pub spans: [[u32; 2]; 5],
    /// 0: all zeros, 1: TIFF, 2: other.
    pub preamble: u8,
    pub implicit: u8,
    pub encapsulated: u8,
    pub basic_offset_table: u8,
    pub extended_offset_table: u8,
}

// As many bytes as `FACTS` in `interface.py` has.
const _: () = assert!(std::mem::size_of::<Facts>() == 80);

/// Bounds of the walk; beyond them the parser in Python decides.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WalkLimits {
    pub max_header_bytes: u64,
    pub max_elements: u64,
    pub max_depth: u64,
    pub max_kept_value: u64,
    pub max_kept_binary: u64,
}

impl WalkLimits {
    /// Whether the value is so long a binary one that the parser in Python does not keep it.
    pub fn skips(&self, element: &Element) -> bool {
        element.vr.is_binary() && u64::from(element.length) > self.max_kept_binary
    }
}

pub fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

fn tag_at(data: &[u8], at: usize) -> u32 {
    u32::from(u16_at(data, at)) << 16 | u32::from(u16_at(data, at + 2))
}

/// Walks one object's first bytes.
///
/// `size` is the object's; the header has to lie in `data` as a whole. The elements are appended. Where nothing
/// but bytes are missing, `needed` becomes how many there must be at least.
pub fn walk(
    data: &[u8],
    size: u64,
    dictionary: &Dictionary,
    limits: &WalkLimits,
    elements: &mut Vec<Element>,
    needed: &mut u64,
) -> Plain<Facts> {
    let length = data.len() as u64;
    require(length <= u64::from(u32::MAX >> 1))?;
    require(length <= limits.max_header_bytes && length <= size)?;
    let mut walker = Walker {
        data,
        size,
        dictionary,
        limits,
        elements,
        needed,
    };
    walker.header()
}

/// Where a data set ends.
#[derive(Clone, Copy)]
enum End {
    At(usize),
    Delimitation { before: usize },
}

struct Walker<'a> {
    data: &'a [u8],
    size: u64,
    dictionary: &'a Dictionary,
    limits: &'a WalkLimits,
    elements: &'a mut Vec<Element>,
    needed: &'a mut u64,
}

/// The private creators of a data set so far: tag, start and length of the name.
type Creators = Vec<(u32, u32, u32)>;

impl Walker<'_> {
    fn header(&mut self) -> Plain<Facts> {
        let data = self.data;
        require(data.len() >= PREAMBLE + 8 && &data[128..PREAMBLE] == b"DICM")?;
        require(u16_at(data, PREAMBLE) == 2)?;
        let mut facts = Facts {
            preamble: preamble(data),
            pixel_data_offset: -1,
            ..Facts::default()
        };
        facts.pixel_data_length = -1;
        let at = self.meta_information()?;
        let group = u16_at(data, at);
        require(FIRST_GROUPS[1..].contains(&group))?;
        let implicit = !(data[at + 4].is_ascii_uppercase() && data[at + 5].is_ascii_uppercase());
        require(implicit || Vr::from_bytes([data[at + 4], data[at + 5]]).is_some())?;
        facts.implicit = implicit.into();
        self.data_set_with_pixels(at, implicit, &mut facts)?;
        facts.spans = self.spans();
        Ok(facts)
    }

    /// Where no element may reach further: the object's end.
    fn bound(&self) -> usize {
        self.size as usize
    }

    /// Checks that bytes up to `end` are there, and not behind `bound`.
    fn have(&mut self, end: usize, bound: usize) -> Plain<()> {
        require(end <= bound)?;
        if end > self.data.len() {
            require(end as u64 <= self.limits.max_header_bytes)?;
            *self.needed = end as u64;
            return Err(NotPlain);
        }
        Ok(())
    }

    fn spans(&self) -> [[u32; 2]; 5] {
        let (mut spans, mut next, mut at) = ([[0; 2]; 5], 0, 0);
        while let (Some(wanted), Some(element)) = (SPANS.get(next), self.elements.get(at)) {
            if element.tag < *wanted {
                at = element.end as usize;
                continue;
            }
            if element.tag == *wanted && element.vr != Vr::SQ && !self.limits.skips(element) {
                spans[next] = [element.start, element.length];
            }
            next += 1;
        }
        spans
    }

    /// The File Meta Information, always in explicit VR (PS3.10 7.1); where the data set starts.
    fn meta_information(&mut self) -> Plain<usize> {
        let (mut at, mut last) = (PREAMBLE, 0);
        let mut transfer_syntax: Option<&[u8]> = None;
        loop {
            self.have(at + 8, self.bound())?;
            let tag = tag_at(self.data, at);
            if tag >> 16 != 2 {
                break;
            }
            require(tag > last)?;
            last = tag;
            let end = self.element(at, self.bound(), false, 0, &mut Creators::new())?;
            if tag == TRANSFER_SYNTAX_UID {
                let element = &self.elements[self.elements.len() - 1];
                require(element.tag == tag && element.length <= MAX_UID)?;
                transfer_syntax = Some(&self.data[element.start as usize..end]);
            }
            at = end;
        }
        let uid = transfer_syntax.ok_or(NotPlain)?.trim_ascii_end();
        let uid = uid.strip_suffix(b"\0").unwrap_or(uid);
        require(
            !uid.is_empty()
                && uid
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || *byte == b'.'),
        )?;
        let odd: [&[u8]; 4] = [
            b"1.2.840.10008.1.2.2",    // big endian
            b"1.2.840.10008.1.2.1.99", // deflated
            b"1.2.840.10008.1.2.4.95",
            b"1.2.840.10008.1.2.4.205",
        ];
        require(!odd.contains(&uid))?;
        Ok(at)
    }

    fn data_set_with_pixels(
        &mut self,
        start: usize,
        implicit: bool,
        facts: &mut Facts,
    ) -> Plain<()> {
        let (data, size) = (self.data, self.size);
        let (mut at, mut last) = (start, 0x0002_FFFF);
        let mut creators = Creators::new();
        loop {
            if at as u64 == size {
                facts.header_bytes = size;
                return Ok(());
            }
            self.have(at + 8, self.bound())?;
            let tag = tag_at(data, at);
            require(tag > last && tag < 0xFFFE_0000)?;
            if (FIRST_PIXEL_DATA..=LAST_PIXEL_DATA).contains(&tag) && tag & 7 <= 1 {
                return self.pixel_data(at, tag, implicit, facts);
            }
            last = tag;
            at = self.element(at, self.bound(), implicit, 0, &mut creators)?;
        }
    }

    fn pixel_data(&mut self, at: usize, tag: u32, implicit: bool, facts: &mut Facts) -> Plain<()> {
        let data = self.data;
        let (start, length) = if implicit {
            (at + 8, u32_at(data, at + 4))
        } else {
            let vr = Vr::from_bytes([data[at + 4], data[at + 5]]).ok_or(NotPlain)?;
            require(vr.has_long_form() && vr != Vr::UN)?;
            self.have(at + 12, self.bound())?;
            (at + 12, u32_at(data, at + 8))
        };
        facts.header_bytes = at as u64;
        facts.pixel_data_tag = tag;
        facts.pixel_data_offset = start as i64;
        if length != UNDEFINED_LENGTH {
            facts.pixel_data_length = i64::from(length);
            return Ok(());
        }
        // PS3.5 A.4: the first item is the Basic Offset Table, which may be empty.
        require(start + 8 <= data.len())?;
        facts.encapsulated = 1;
        facts.basic_offset_table =
            (tag_at(data, start) == ITEM && u32_at(data, start + 4) > 0).into();
        let mut at = 0;
        while let Some(element) = self.elements.get(at) {
            if element.tag == EXTENDED_OFFSET_TABLE {
                require(element.vr != Vr::SQ)?;
                facts.extended_offset_table = (element.length > 0).into();
            }
            at = element.end as usize;
        }
        Ok(())
    }

    /// One element, with its items if it is a sequence; where the next one starts.
    fn element(
        &mut self,
        at: usize,
        bound: usize,
        implicit: bool,
        depth: u64,
        creators: &mut Creators,
    ) -> Plain<usize> {
        let data = self.data;
        let tag = tag_at(data, at);
        let (vr, start, length) = if implicit {
            let length = u32_at(data, at + 4);
            (
                self.vr_without_one(tag, length, at + 8, creators)?,
                at + 8,
                length,
            )
        } else {
            let vr = Vr::from_bytes([data[at + 4], data[at + 5]]).ok_or(NotPlain)?;
            if vr.has_long_form() {
                self.have(at + 12, bound)?;
                let length = u32_at(data, at + 8);
                (self.known_vr(vr, tag, length, creators)?, at + 12, length)
            } else {
                (vr, at + 8, u32::from(u16_at(data, at + 6)))
            }
        };
        require((self.elements.len() as u64) < self.limits.max_elements)?;
        let index = self.elements.len();
        self.elements.push(Element {
            tag,
            vr,
            start: start as u32,
            length,
            end: index as u32 + 1,
        });
        if vr == Vr::SQ {
            let end = self.sequence(start, length, bound, implicit, depth)?;
            self.elements[index].end = self.elements.len() as u32;
            return Ok(end);
        }
        require(length != UNDEFINED_LENGTH)?;
        let end = start + length as usize;
        let is_skipped = self.limits.skips(&self.elements[index]);
        require(!is_skipped || end <= self.data.len())?;
        require(u64::from(length) <= self.limits.max_kept_value || vr.is_binary())?;
        self.have(end, bound)?;
        if is_private_creator(tag) && length <= MAX_CREATOR_BYTES {
            creators.push((tag, start as u32, length));
        }
        Ok(end)
    }

    /// The value representation of an element in implicit VR.
    fn vr_without_one(
        &mut self,
        tag: u32,
        length: u32,
        start: usize,
        creators: &Creators,
    ) -> Plain<Vr> {
        let vr = if tag & 0x10000 == 0 {
            self.dictionary.standard_vr(tag)
        } else if length == UNDEFINED_LENGTH {
            Vr::SQ
        } else {
            self.private_vr(tag, creators)?
        };
        if vr == Vr::SQ && tag & 0x10000 != 0 && length != 0 {
            self.have(start + 8, self.bound())?;
            require(self.begins_with_item(start))?;
        }
        Ok(vr)
    }

    /// The value representation of an element in explicit VR, which may be unknown (PS3.5 6.2.2).
    fn known_vr(&self, vr: Vr, tag: u32, length: u32, creators: &Creators) -> Plain<Vr> {
        if vr != Vr::UN {
            return Ok(vr);
        }
        require(length != UNDEFINED_LENGTH)?;
        let known = if tag & 0x10000 != 0 {
            self.private_vr(tag, creators)?
        } else if length < 0xFFFF {
            self.dictionary.standard_vr(tag)
        } else {
            Vr::UN
        };
        require(known != Vr::SQ)?;
        Ok(known)
    }

    fn private_vr(&self, tag: u32, creators: &Creators) -> Plain<Vr> {
        if is_private_creator(tag) {
            return Ok(Vr::LO);
        }
        if tag & 0xFF00 == 0 {
            return Ok(Vr::UN);
        }
        let creator = tag & 0xFFFF_0000 | tag >> 8 & 0xFF;
        let Ok(index) = creators.binary_search_by_key(&creator, |known| known.0) else {
            return Ok(Vr::UN);
        };
        let (_, start, length) = creators[index];
        let name = creator_name(&self.data[start as usize..(start + length) as usize])?;
        if name.is_empty() {
            Ok(Vr::UN)
        } else {
            self.dictionary.private_vr(tag, name)
        }
    }

    fn begins_with_item(&self, at: usize) -> bool {
        matches!(tag_at(self.data, at), ITEM | SEQUENCE_DELIMITATION)
    }

    /// The items of a sequence; where the next element starts.
    fn sequence(
        &mut self,
        start: usize,
        length: u32,
        bound: usize,
        implicit: bool,
        depth: u64,
    ) -> Plain<usize> {
        require(depth < self.limits.max_depth)?;
        if length == 0 {
            return Ok(start);
        }
        let bounded = length != UNDEFINED_LENGTH;
        let outer = bound;
        let bound = if bounded {
            start + length as usize
        } else {
            bound
        };
        require(bound <= outer)?;
        let mut at = start;
        while !(bounded && at == bound) {
            self.have(at + 8, bound)?;
            let tag = tag_at(self.data, at);
            if tag == SEQUENCE_DELIMITATION && !bounded {
                return Ok(at + 8);
            }
            require(tag == ITEM)?;
            at = self.item(at, bound, implicit, depth)?;
        }
        Ok(at)
    }

    fn item(&mut self, at: usize, bound: usize, implicit: bool, depth: u64) -> Plain<usize> {
        let length = u32_at(self.data, at + 4);
        require((self.elements.len() as u64) < self.limits.max_elements)?;
        let (index, start) = (self.elements.len(), at + 8);
        let item = Element {
            tag: ITEM,
            vr: Vr::SQ,
            start: start as u32,
            length,
            end: 0,
        };
        self.elements.push(item);
        let end = if length == UNDEFINED_LENGTH {
            End::Delimitation { before: bound }
        } else {
            require(start + length as usize <= bound)?;
            End::At(start + length as usize)
        };
        let next = self.data_set(start, end, implicit, depth + 1)?;
        self.elements[index].end = self.elements.len() as u32;
        Ok(next)
    }

    fn data_set(&mut self, start: usize, end: End, implicit: bool, depth: u64) -> Plain<usize> {
        let (mut at, mut last) = (start, 0);
        let mut creators = Creators::new();
        let (End::At(bound) | End::Delimitation { before: bound }) = end;
        loop {
            let delimited = matches!(end, End::Delimitation { .. });
            if at == bound && !delimited {
                return Ok(at);
            }
            self.have(at + 8, bound)?;
            let tag = tag_at(self.data, at);
            if tag == ITEM_DELIMITATION && delimited {
                require(u32_at(self.data, at + 4) == 0)?;
                return Ok(at + 8);
            }
            require(tag > last && tag < 0xFFFE_0000)?;
            // Some writers put explicit elements into items of an implicit data set.
            let found = [self.data[at + 4], self.data[at + 5]];
            require(!(implicit && last == 0 && Vr::from_bytes(found).is_some()))?;
            last = tag;
            at = self.element(at, bound, implicit, depth, &mut creators)?;
        }
    }
}

pub fn is_private_creator(tag: u32) -> bool {
    tag & 0x1_FF00 == 0x1_0000 && tag & 0xFF >= 0x10
}

/// The name of a private creator without its padding, if it is in the default repertoire.
pub fn creator_name(raw: &[u8]) -> Plain<&[u8]> {
    let length = raw
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | 0))
        .map_or(0, |last| last + 1);
    require(
        raw[..length]
            .iter()
            .all(|byte| byte.is_ascii() && *byte != 0x1B),
    )?;
    Ok(&raw[..length])
}

pub fn require(condition: bool) -> Plain<()> {
    if condition {
        Ok(())
    } else {
        Err(NotPlain)
    }
}

fn preamble(data: &[u8]) -> u8 {
    match &data[..4] {
        b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+" => 1,
        _ if data[..128].iter().all(|byte| *byte == 0) => 0,
        _ => 2,
    }
}
