//! Bounds of what headers may take; beyond them the parser in Python decides.

use crate::walk::WalkLimits;

/// The bounds of the walk and of the columns, as `header_limits.py` has them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Limits {
    pub walk: WalkLimits,
    pub max_attributes: u64,
    pub max_cells: u64,
    pub count_cells_after: u64,
    pub max_empty_elements: u64,
    pub max_character_sets: u64,
    pub max_path_characters: u64,
    pub max_work: u64,
    pub entry_work: u64,
    pub invalid_work: u64,
    pub value_work: u64,
}
