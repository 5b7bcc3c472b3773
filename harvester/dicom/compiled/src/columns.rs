//! The columns of each nesting level, which grow by one row a header or an item.

use crate::buffers::{Lists, Names, Numbers, Texts};
use crate::vr::{Attribute, Vr};

/// The values of a column.
pub enum Values {
    /// Binary ones, which have no column.
    None,
    Text(Texts),
    Integer(Numbers<i64>),
    Unsigned(Numbers<u64>),
    Float(Numbers<f64>),
    Date(Numbers<i32>),
    Time(Numbers<i64>),
    DateTime(Numbers<i64>),
    Name(Box<Names>),
    Items(Box<Level>),
}

impl Values {
    pub fn of(vr: Vr) -> Values {
        match vr {
            Vr::SQ => Values::Items(Box::default()),
            Vr::DA => Values::Date(Numbers::default()),
            Vr::TM => Values::Time(Numbers::default()),
            Vr::DT => Values::DateTime(Numbers::default()),
            Vr::DS | Vr::FD | Vr::FL => Values::Float(Numbers::default()),
            Vr::UV => Values::Unsigned(Numbers::default()),
            Vr::IS | Vr::SS | Vr::US | Vr::SL | Vr::UL | Vr::SV => {
                Values::Integer(Numbers::default())
            }
            Vr::UsOrSs | Vr::UsOrOw | Vr::UsOrSsOrOw => Values::Integer(Numbers::default()),
            Vr::PN => Values::Name(Box::default()),
            _ if vr.is_binary() || vr == Vr::ObOrOw => Values::None,
            _ => Values::Text(Texts::default()),
        }
    }

    pub fn push_nulls(&mut self, count: usize) {
        match self {
            Values::None | Values::Items(_) => {}
            Values::Text(texts) => texts.push_nulls(count),
            Values::Integer(numbers) | Values::Time(numbers) | Values::DateTime(numbers) => {
                numbers.push_nulls(count);
            }
            Values::Unsigned(numbers) => numbers.push_nulls(count),
            Values::Float(numbers) => numbers.push_nulls(count),
            Values::Date(numbers) => numbers.push_nulls(count),
            Values::Name(names) => names.push_nulls(count),
        }
    }

    pub fn truncate(&mut self, rows: usize, born: u64) -> u64 {
        match self {
            Values::None => {}
            Values::Text(texts) => texts.truncate(rows),
            Values::Integer(numbers) | Values::Time(numbers) | Values::DateTime(numbers) => {
                numbers.truncate(rows);
            }
            Values::Unsigned(numbers) => numbers.truncate(rows),
            Values::Float(numbers) => numbers.truncate(rows),
            Values::Date(numbers) => numbers.truncate(rows),
            Values::Name(names) => names.truncate(rows),
            Values::Items(level) => return level.truncate(rows, born),
        }
        0
    }

    pub fn rows(&self) -> usize {
        match self {
            Values::None => 0,
            Values::Text(texts) => texts.rows(),
            Values::Integer(numbers) | Values::Time(numbers) | Values::DateTime(numbers) => {
                numbers.values.len()
            }
            Values::Unsigned(numbers) => numbers.values.len(),
            Values::Float(numbers) => numbers.values.len(),
            Values::Date(numbers) => numbers.values.len(),
            Values::Name(names) => names.validity.length,
            Values::Items(level) => level.rows,
        }
    }
}

/// One attribute at one level.
pub struct Column {
    pub attribute: Attribute,
    /// How many rows are filled; the rest of the level's have no value.
    pub rows: usize,
    /// The number of the header that created it.
    born: u64,
    /// Where the lists end, if values or items are many.
    pub lists: Option<Lists>,
    pub values: Values,
}

impl Column {
    pub fn new(attribute: Attribute, born: u64) -> Column {
        let values = Values::of(attribute.vr);
        let many = attribute.many || attribute.vr == Vr::SQ;
        let lists = (many && !matches!(values, Values::None)).then(Lists::default);
        Column {
            attribute,
            rows: 0,
            born,
            lists,
            values,
        }
    }

    /// Fills the rows before `rows` that have no value.
    pub fn fill_missing(&mut self, rows: usize) -> u64 {
        let missing = rows.saturating_sub(self.rows);
        if missing > 0 {
            match &mut self.lists {
                Some(lists) => lists.push_nulls(missing),
                None => self.values.push_nulls(missing),
            }
            self.rows = rows;
        }
        missing as u64
    }

    pub fn truncate(&mut self, rows: usize, born: u64) -> u64 {
        self.rows = self.rows.min(rows);
        let kept = self
            .lists
            .as_mut()
            .map_or(rows, |lists| lists.truncate(rows));
        self.values.truncate(kept, born)
    }

    /// Completes the column, to be exported.
    pub fn complete(&mut self, rows: usize) {
        self.fill_missing(rows);
    }
}

/// The data sets of one nesting level: the headers, or all items of one sequence.
#[derive(Default)]
pub struct Level {
    pub rows: usize,
    /// In ascending order of their tags.
    #[allow(clippy::vec_box)] // new ones are inserted, and move those behind them
    pub columns: Vec<Box<Column>>,
}

impl Level {
    /// Removes all rows from `rows` on, and the columns that the header `born` created; how many these were.
    pub fn truncate(&mut self, rows: usize, born: u64) -> u64 {
        self.rows = self.rows.min(rows);
        let mut removed = 0;
        self.columns.retain_mut(|column| {
            removed += column.truncate(rows, born);
            let stays = column.born != born;
            removed += u64::from(!stays);
            stays
        });
        removed
    }

    /// The number of cells, filled or empty, of this level and those below it.
    pub fn cells(&self) -> u64 {
        let mut cells = 0;
        for column in self.columns.iter().filter(|column| column.rows > 0) {
            cells += self.rows as u64;
            if let Values::Items(level) = &column.values {
                cells += level.cells();
            }
        }
        cells
    }
}
