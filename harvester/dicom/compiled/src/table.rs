//! The rows of plain headers: all of a header's, or nothing.

use crate::columns::Level;
use crate::limits::Limits;
use crate::others::Others;
use crate::row::Row;
use crate::vr::{Dictionary, Plain};
use crate::walk::{self, require, Element};

const KEPT_ELEMENTS: usize = 1 << 16; // of the last header, whose memory the next one uses

/// The rows so far, of headers that were plain.
pub struct Table {
    pub top: Level,
    pub others: Others,
    pub limits: Limits,
    /// The number of columns at all levels.
    pub width: u64,
    /// The length of all nested paths.
    pub path_characters: u64,
    /// When they were last counted.
    pub cells: u64,
    filled: u64,
    items: u64,
    header: u64,
    elements: Vec<Element>,
}

impl Table {
    pub fn new(limits: Limits) -> Table {
        Table {
            top: Level::default(),
            others: Others::default(),
            limits,
            width: 0,
            path_characters: 0,
            cells: 0,
            filled: 0,
            items: 0,
            header: 0,
            elements: Vec::new(),
        }
    }

    /// Adds one header's row: all of it, or nothing.
    pub fn append(&mut self, data: &[u8], size: u64, dictionary: &Dictionary) -> Plain<()> {
        self.elements.clear();
        walk::walk(
            data,
            size,
            dictionary,
            &self.limits.walk,
            &mut self.elements,
            &mut 0,
        )?;
        self.header += 1;
        let rows = self.top.rows;
        let elements = std::mem::take(&mut self.elements);
        let mut row = Row::new(data, &elements, dictionary, &self.limits, self.header);
        row.filled = self.filled;
        self.others.start_row();
        self.top.rows += 1;
        let outcome = row
            .fill(&mut self.top, &mut self.others, 0, elements.len(), None)
            .and_then(|()| self.others.end_row());
        let (created, characters) = (row.created, row.path_characters);
        self.filled = row.filled;
        self.items += row.items + 1;
        if elements.capacity() <= KEPT_ELEMENTS {
            self.elements = elements;
        }
        let outcome = outcome.and_then(|()| self.count_cells());
        self.width += created;
        if outcome.is_err() {
            self.roll_back(rows);
        } else {
            self.path_characters += characters;
        }
        outcome
    }

    /// Removes what the last header added.
    pub fn roll_back(&mut self, rows: usize) {
        self.width -= self.top.truncate(rows, self.header);
        self.others.truncate(rows);
        self.filled = 0;
        self.cells = self.top.cells();
    }

    fn count_cells(&mut self) -> Plain<()> {
        if self.items <= self.limits.count_cells_after {
            return Ok(());
        }
        (self.items, self.filled) = (0, 0);
        self.cells = self.top.cells();
        require(self.cells <= self.limits.max_cells)
    }

    /// Begins new rows after these were exported.
    pub fn restart(&mut self, max_columns: u64) {
        self.header += 1;
        if self.width > max_columns {
            self.top = Level::default();
            self.width = 0;
        }
        self.top.truncate(0, u64::MAX);
        self.others = Others::default();
        (self.path_characters, self.cells, self.filled) = (0, 0, 0);
    }
}
