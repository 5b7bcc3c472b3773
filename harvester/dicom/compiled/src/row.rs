//! Adds the elements of one header to the columns.

use std::cell::OnceCell;
use std::fmt::Write;

use crate::buffers::{Numbers, Texts};
use crate::columns::{Column, Level, Values};
use crate::limits::Limits;
use crate::others::Others;
use crate::values::{self, CharacterSet};
use crate::vr::{tag_digits, Dictionary, NotPlain, Plain, Vr};
use crate::walk::{self, require, u16_at, Element, ITEM};

const SPECIFIC_CHARACTER_SET: u32 = 0x0008_0005;
const PIXEL_REPRESENTATION: u32 = 0x0028_0103;
const LUT_DESCRIPTOR: u32 = 0x0028_3002;
const LUT_DATA: u32 = 0x0028_3006;
const MAX_INVALID: usize = 1024; // bytes of an invalid value
const EXACT_FLOATS: i128 = 1 << 53;

/// A data set that is being added, and those that contain it.
pub struct DataSet<'a> {
    first: usize,
    end: usize,
    outer: Option<&'a DataSet<'a>>,
    /// Its Pixel Representation, once it was looked for: a data set may have many elements that depend on it.
    pixel_representation: OnceCell<Option<u16>>,
}

impl<'a> DataSet<'a> {
    fn new(first: usize, end: usize, outer: Option<&'a DataSet<'a>>) -> DataSet<'a> {
        DataSet {
            first,
            end,
            outer,
            pixel_representation: OnceCell::new(),
        }
    }
}

/// The position in a header while its elements go into columns.
pub struct Row<'a> {
    data: &'a [u8],
    elements: &'a [Element],
    dictionary: &'a Dictionary,
    limits: &'a Limits,
    header: u64,
    set: CharacterSet,
    /// The open sequences: tag, and index of the current item.
    sequences: Vec<(u32, u32)>,
    prefix: String,
    prefix_is_current: bool,
    pub created: u64,
    pub filled: u64,
    pub items: u64,
    character_sets: u64,
    pub path_characters: u64,
    work: u64,
    empty: u64,
}

/// The private creators of a data set: tag, and where the name lies.
type Creators<'a> = Vec<(u32, &'a [u8])>;

impl<'a> Row<'a> {
    pub fn new(
        data: &'a [u8],
        elements: &'a [Element],
        dictionary: &'a Dictionary,
        limits: &'a Limits,
        header: u64,
    ) -> Row<'a> {
        Row {
            data,
            elements,
            dictionary,
            limits,
            header,
            set: CharacterSet::Latin1,
            sequences: Vec::new(),
            prefix: String::new(),
            prefix_is_current: true,
            created: 0,
            filled: 0,
            items: 0,
            character_sets: 0,
            path_characters: 0,
            work: 0,
            empty: 0,
        }
    }

    /// Adds a data set to its level's last row.
    pub fn fill(
        &mut self,
        level: &mut Level,
        others: &mut Others,
        first: usize,
        end: usize,
        outer: Option<&DataSet>,
    ) -> Plain<()> {
        let elements = self.elements;
        let (row, set) = (level.rows - 1, DataSet::new(first, end, outer));
        let mut creators = Creators::new();
        let (mut at, mut cursor) = (first, 0);
        while at < end {
            let element = elements[at];
            if element.tag & 0x10000 != 0 {
                self.other(others, at, &set, &mut creators)?;
            } else if self.find(level, &mut cursor, element.tag)? {
                self.put(&mut level.columns[cursor], others, at, row, &set)?;
            } else {
                self.other(others, at, &set, &mut creators)?;
            }
            at = element.end as usize;
        }
        Ok(())
    }

    /// Moves the cursor to the column of a tag, which is created if it is new; false: it has none.
    fn find(&mut self, level: &mut Level, cursor: &mut usize, tag: u32) -> Plain<bool> {
        let columns = &mut level.columns;
        let mut steps = 0;
        while *cursor < columns.len() && columns[*cursor].attribute.tag < tag {
            *cursor += 1;
            steps += 1;
            if steps == 8 {
                *cursor += columns[*cursor..].partition_point(|column| column.attribute.tag < tag);
                break;
            }
        }
        if columns
            .get(*cursor)
            .is_some_and(|column| column.attribute.tag == tag)
        {
            return Ok(true);
        }
        let Some(attribute) = self.dictionary.attribute(tag) else {
            return Ok(false);
        };
        require(self.created < self.limits.max_attributes)?;
        self.created += 1;
        columns.insert(*cursor, Box::new(Column::new(attribute, self.header)));
        Ok(true)
    }

    fn raw(&self, element: &Element) -> &'a [u8] {
        &self.data[element.start as usize..(element.start + element.length) as usize]
    }

    /// Adds an element to its column.
    fn put(
        &mut self,
        column: &mut Column,
        others: &mut Others,
        at: usize,
        row: usize,
        set: &DataSet,
    ) -> Plain<()> {
        let element = self.elements[at];
        if element.vr == Vr::SQ {
            require(!column.attribute.repeating)?;
            return self.put_items(column, others, at, row, set);
        }
        let (repeating, first) = (column.attribute.repeating, column.attribute.first);
        if repeating {
            self.entry(others, &element, None, set)?;
            if !first {
                return Ok(());
            }
        }
        let vr = self.definite_vr(element.vr, element.tag, set);
        if vr.is_binary() || matches!(column.values, Values::None) {
            if !repeating {
                self.path(element.tag)?;
                self.prefix_of(others);
                others.bulk(&column.attribute.keyword, vr, &element)?;
                if element.length == 0 {
                    self.empty(others, &column.attribute.keyword)?;
                }
            }
            return Ok(());
        }
        require(!matches!(column.values, Values::Items(_)))?;
        let raw = self.raw(&element);
        if element.tag == SPECIFIC_CHARACTER_SET {
            self.enter_character_set(raw)?;
        }
        self.fill_missing(column, row)?;
        let pushed = if raw.is_empty() {
            Ok(0)
        } else {
            self.push(column, vr, raw)
        };
        let many = column.lists.is_some();
        let Some(count) = pushed.ok().filter(|count| many || *count < 2) else {
            column.truncate(row, u64::MAX);
            column.fill_missing(row + 1);
            return self.invalid(column, others, vr, raw);
        };
        column.rows = row + 1;
        if let Some(lists) = &mut column.lists {
            lists.push(column.values.rows())?;
        } else if count == 0 {
            column.values.push_nulls(1);
        }
        if count == 0 && !repeating {
            self.empty(others, &column.attribute.keyword)?;
        }
        Ok(())
    }

    /// Adds a value that its column cannot hold to `invalid_elements`.
    fn invalid(&mut self, column: &Column, others: &mut Others, vr: Vr, raw: &[u8]) -> Plain<()> {
        let attribute = &column.attribute;
        // What it means must not depend on the character set.
        require(raw.iter().all(|byte| byte.is_ascii() && *byte != 0x1B) && vr.number_width() == 0)?;
        require(raw.len() <= MAX_INVALID && !attribute.repeating && vr != Vr::SQ)?;
        let reason = self.dictionary.invalid_reason(attribute.tag, vr, raw)?;
        self.spend(self.limits.invalid_work)?;
        self.path(attribute.tag)?;
        self.prefix_of(others);
        others.invalid(&attribute.keyword, vr, values::trim_end(raw), &reason)
    }

    fn fill_missing(&mut self, column: &mut Column, row: usize) -> Plain<()> {
        require(column.rows <= row)?;
        self.filled += column.fill_missing(row);
        require(self.filled <= self.limits.max_cells)
    }

    fn put_items(
        &mut self,
        column: &mut Column,
        others: &mut Others,
        at: usize,
        row: usize,
        set: &DataSet,
    ) -> Plain<()> {
        self.fill_missing(column, row)?;
        column.rows = row + 1;
        let (Values::Items(level), Some(lists)) = (&mut column.values, &mut column.lists) else {
            return Err(NotPlain); // items where the dictionary has another value
        };
        let outer_set = self.set;
        let end = self.elements[at].end as usize;
        let (mut item, mut index) = (at + 1, 0);
        while item < end {
            debug_assert_eq!(self.elements[item].tag, ITEM);
            let next = self.elements[item].end as usize;
            self.sequences.push((self.elements[at].tag, index));
            self.prefix_is_current = false;
            level.rows += 1;
            self.fill(level, others, item + 1, next, Some(set))?;
            self.sequences.pop();
            self.prefix_is_current = false;
            self.set = outer_set; // PS3.5 7.5.3: an item's character set ends with it
            (item, index) = (next, index + 1);
        }
        self.items += u64::from(index);
        lists.push(level.rows)?;
        if index == 0 {
            self.empty(others, &column.attribute.keyword)?;
        }
        Ok(())
    }

    /// Adds the values of an element to its column; how many there are.
    fn push(&mut self, column: &mut Column, vr: Vr, raw: &[u8]) -> Plain<usize> {
        use Vr::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, ST, TM, UC, UI, UR, UT};
        let is_string = matches!(vr, AE | AS | CS | LO | LT | SH | ST | UC | UI | UR | UT);
        let is_text = is_string || matches!(vr, DA | DS | DT | IS | PN | TM);
        let own = column.attribute.vr;
        let set = self.set;
        match &mut column.values {
            Values::Text(texts) if own == AT || vr == AT => {
                require(own == vr)?;
                push_tags(raw, texts)
            }
            Values::Text(_)
            | Values::Name(_)
            | Values::Date(_)
            | Values::Time(_)
            | Values::DateTime(_) => {
                require(is_text)?;
                let count = match &mut column.values {
                    Values::Text(texts) => {
                        values::push_texts(if is_string { vr } else { LO }, raw, set, texts)?
                    }
                    Values::Name(names) => values::push_names(raw, set, names)?,
                    Values::Date(numbers) => values::push_dates(raw, numbers)?,
                    Values::Time(numbers) => values::push_times(raw, numbers)?,
                    Values::DateTime(numbers) => values::push_datetimes(raw, numbers)?,
                    _ => return Err(NotPlain),
                };
                self.count_values(count)?;
                Ok(count)
            }
            Values::Integer(numbers) if is_text => {
                require(!is_lut_descriptor(column.attribute.tag))?;
                let before = numbers.validity.nulls;
                let count = values::push_integers(raw, numbers)?;
                self.count_numbers(count, vr == IS && numbers.validity.nulls == before)?;
                Ok(count)
            }
            Values::Integer(numbers) => push_integers(column.attribute.tag, vr, raw, numbers),
            Values::Unsigned(numbers) => {
                require(vr == Vr::UV)?;
                let before = numbers.values.len();
                values::integers(vr, raw)?.for_each(|number| numbers.push(number as u64));
                Ok(numbers.values.len() - before)
            }
            Values::Float(numbers) if is_text => {
                let before = numbers.validity.nulls;
                let count = values::push_decimals(raw, numbers)?;
                self.count_numbers(count, vr == DS && numbers.validity.nulls == before)?;
                Ok(count)
            }
            Values::Float(numbers) => {
                let before = numbers.values.len();
                if matches!(vr, FD | FL) {
                    values::floats(vr, raw)?.for_each(|number| numbers.push(number));
                } else {
                    require(vr != AT)?;
                    for number in values::integers(vr, raw)? {
                        require(number.abs() <= EXACT_FLOATS)?;
                        numbers.push(number as f64);
                    }
                }
                Ok(numbers.values.len() - before)
            }
            Values::None | Values::Items(_) => Err(NotPlain),
        }
    }

    fn count_values(&mut self, count: usize) -> Plain<()> {
        self.spend(self.limits.value_work * (count as u64).saturating_sub(1))
    }

    /// Counts numbers that are written as text; plain ones are cheap in Python, too.
    fn count_numbers(&mut self, count: usize, plain: bool) -> Plain<()> {
        if plain {
            return Ok(());
        }
        self.count_values(count)
    }

    fn spend(&mut self, work: u64) -> Plain<()> {
        self.work += work;
        require(self.work <= self.limits.max_work)
    }

    fn enter_character_set(&mut self, raw: &[u8]) -> Plain<()> {
        self.character_sets += 1;
        require(self.character_sets <= self.limits.max_character_sets)?;
        self.set = CharacterSet::named(raw);
        Ok(())
    }

    /// Counts an entry, and makes the path of the current data set if it is not current.
    fn path(&mut self, tag: u32) -> Plain<()> {
        self.spend(self.limits.entry_work)?;
        self.count_path(tag)
    }

    fn count_path(&mut self, _tag: u32) -> Plain<()> {
        if self.sequences.is_empty() {
            return Ok(());
        }
        self.make_prefix();
        // A keyword has at most 64 characters.
        self.path_characters += self.prefix.len() as u64 + 64;
        require(self.path_characters <= self.limits.max_path_characters)
    }

    fn make_prefix(&mut self) {
        if self.prefix_is_current {
            return;
        }
        self.prefix.clear();
        for (tag, index) in &self.sequences {
            self.dictionary.write_name(*tag, &mut self.prefix);
            self.prefix.push('[');
            // A text grows without an error.
            let _ = write!(self.prefix, "{index}].");
        }
        self.prefix_is_current = true;
    }

    fn prefix_of(&mut self, others: &mut Others) {
        self.make_prefix();
        others.prefix.clear();
        others.prefix.push_str(&self.prefix);
    }

    /// Adds an element of the current data set that has no value.
    fn empty(&mut self, others: &mut Others, name: &str) -> Plain<()> {
        self.empty += 1;
        require(self.empty <= self.limits.max_empty_elements)?;
        self.count_path(0)?;
        self.prefix_of(others);
        others.empty(name)
    }

    /// Adds an element without a column, with everything in it.
    fn other(
        &mut self,
        others: &mut Others,
        at: usize,
        set: &DataSet<'_>,
        creators: &mut Creators<'a>,
    ) -> Plain<()> {
        let element = self.elements[at];
        let creator = self.creator(&element, creators)?;
        if element.vr == Vr::SQ {
            return self.other_items(others, at, creator, set);
        }
        self.entry(others, &element, creator, set)
    }

    /// The private creator of an element; a creator is remembered for those behind it.
    fn creator(&self, element: &Element, creators: &mut Creators<'a>) -> Plain<Option<&'a [u8]>> {
        let tag = element.tag;
        if walk::is_private_creator(tag) {
            if element.vr != Vr::SQ && element.length <= walk::MAX_CREATOR_BYTES {
                creators.push((tag, walk::creator_name(self.raw(element))?));
            }
            return Ok(None);
        }
        if tag & 0x10000 == 0 {
            return Ok(None);
        }
        let wanted = tag & 0xFFFF_0000 | tag >> 8 & 0xFF;
        let found = creators.binary_search_by_key(&wanted, |known| known.0);
        Ok(found.ok().map(|index| creators[index].1))
    }

    fn other_items(
        &mut self,
        others: &mut Others,
        at: usize,
        creator: Option<&[u8]>,
        set: &DataSet<'_>,
    ) -> Plain<()> {
        let element = self.elements[at];
        self.path(element.tag)?;
        self.prefix_of(others);
        others.start_entry(self.dictionary, element.tag, Vr::SQ, creator)?;
        others.end_entry()?;
        let end = element.end as usize;
        if at + 1 == end {
            let mut name = String::new();
            self.dictionary.write_name(element.tag, &mut name);
            return self.empty(others, &name);
        }
        let outer_set = self.set;
        let (mut item, mut index) = (at + 1, 0);
        while item < end {
            let next = self.elements[item].end as usize;
            self.sequences.push((element.tag, index));
            self.prefix_is_current = false;
            let mut creators = Creators::new();
            let inner_set = DataSet::new(item + 1, next, Some(set));
            let mut inner = item + 1;
            while inner < next {
                let found = self.elements[inner];
                if found.tag == SPECIFIC_CHARACTER_SET
                    && found.vr != Vr::SQ
                    && !self.limits.walk.skips(&found)
                {
                    self.enter_character_set(self.raw(&found))?;
                }
                self.other(others, inner, &inner_set, &mut creators)?;
                inner = found.end as usize;
            }
            self.sequences.pop();
            self.prefix_is_current = false;
            self.set = outer_set;
            (item, index) = (next, index + 1);
        }
        Ok(())
    }

    /// Adds an entry of `OtherElements`.
    fn entry(
        &mut self,
        others: &mut Others,
        element: &Element,
        creator: Option<&[u8]>,
        set: &DataSet<'_>,
    ) -> Plain<()> {
        let vr = self.definite_vr(element.vr, element.tag, set);
        self.path(element.tag)?;
        self.prefix_of(others);
        others.start_entry(self.dictionary, element.tag, vr, creator)?;
        let raw = self.raw(element);
        let count = if vr.is_binary() || raw.is_empty() {
            0
        } else {
            others.push_values(vr, raw, self.set)?
        };
        self.count_values(count)?;
        others.end_entry()?;
        if vr.is_binary() || count == 0 {
            let mut name = String::new();
            self.dictionary.write_name(element.tag, &mut name);
            if vr.is_binary() {
                others.bulk(&name, vr, element)?;
            }
            if raw.is_empty() || !vr.is_binary() {
                self.empty(others, &name)?;
            }
        }
        Ok(())
    }

    /// The meaning of an ambiguous value representation in this data set (PS3.5 annex A.1).
    fn definite_vr(&self, vr: Vr, tag: u32, set: &DataSet<'_>) -> Vr {
        if !vr.is_ambiguous() {
            return vr;
        }
        if vr == Vr::UsOrSs {
            let mut within = Some(set);
            while let Some(data_set) = within {
                let found = data_set
                    .pixel_representation
                    .get_or_init(|| self.first_number(data_set, PIXEL_REPRESENTATION));
                match found {
                    Some(1) => return Vr::SS,
                    Some(_) => return Vr::US,
                    None => within = data_set.outer,
                }
            }
            return Vr::US;
        }
        // PS3.3 C.11.1.1.1: a table of one value
        let single = tag == LUT_DATA && self.first_number(set, LUT_DESCRIPTOR) == Some(1);
        if single {
            Vr::US
        } else {
            Vr::OW
        }
    }

    fn first_number(&self, set: &DataSet<'_>, tag: u32) -> Option<u16> {
        let mut at = set.first;
        while at < set.end {
            let element = &self.elements[at];
            let is_kept = element.vr != Vr::SQ && !self.limits.walk.skips(element);
            if element.tag == tag && is_kept && element.length >= 2 {
                return Some(u16_at(self.raw(element), 0));
            }
            if element.tag > tag {
                return None;
            }
            at = element.end as usize;
        }
        None
    }
}

fn is_lut_descriptor(tag: u32) -> bool {
    matches!(tag, 0x0028_1101..=0x0028_1103 | LUT_DESCRIPTOR)
}

fn push_tags(raw: &[u8], texts: &mut Texts) -> Plain<usize> {
    let mut count = 0;
    for tag in values::tags(raw)? {
        texts.push(&tag_digits(tag))?;
        count += 1;
    }
    Ok(count)
}

fn push_integers(tag: u32, vr: Vr, raw: &[u8], numbers: &mut Numbers<i64>) -> Plain<usize> {
    require(vr.number_width() > 0 && !matches!(vr, Vr::FL | Vr::FD | Vr::AT))?;
    let before = numbers.values.len();
    for number in values::integers(vr, raw)? {
        numbers.push(i64::try_from(number).map_err(|_| NotPlain)?);
    }
    let count = numbers.values.len() - before;
    // PS3.3 C.11.1.1.1: the first value is a count, never negative whatever the value representation.
    if is_lut_descriptor(tag) && count > 1 && numbers.values[before] < 0 {
        numbers.values[before] += 1 << 16;
    }
    Ok(count)
}
