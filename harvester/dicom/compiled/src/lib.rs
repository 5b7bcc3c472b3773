//! Reads plain DICOM headers into Arrow columns: the compiled form of the parser and the columns in Python.
//!
//! A header that is odd in any way is refused, and the parser in Python reads it.

mod arrow;
mod buffers;
mod columns;
mod limits;
mod others;
mod row;
mod table;
mod values;
mod vr;
mod walk;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::slice;

use arrow::{ArrowArray, ArrowSchema};
use limits::Limits;
use table::Table;
use vr::{Dictionary, Lookups, NotPlain, Plain};
use walk::{Element, Facts, WalkLimits};

const ABI_VERSION: u32 = 2;

const PLAIN: i32 = 0;
const NOT_PLAIN: i32 = 1;
const NEED_MORE: i32 = 2;

/// The size of a table.
#[repr(C)]
pub struct Size {
    rows: u64,
    width: u64,
    path_characters: u64,
    cells: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn harvester_abi_version() -> u32 {
    ABI_VERSION
}

/// Reads a dictionary; null if it is not well formed.
///
/// # Safety
///
/// `packed` points to `length` bytes; the functions of `lookups` can be called as long as the dictionary is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_dictionary_new(
    packed: *const u8,
    length: usize,
    lookups: *const Lookups,
) -> *mut Dictionary {
    // SAFETY: the caller's contract.
    let (packed, lookups) = unsafe { (slice::from_raw_parts(packed, length), *lookups) };
    match Dictionary::read(packed, lookups) {
        Some(dictionary) => Box::into_raw(Box::new(dictionary)),
        None => ptr::null_mut(),
    }
}

/// Frees a dictionary.
///
/// # Safety
///
/// It is one of `harvester_dictionary_new`, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_dictionary_free(dictionary: *mut Dictionary) {
    if !dictionary.is_null() {
        // SAFETY: the caller's contract.
        drop(unsafe { Box::from_raw(dictionary) });
    }
}

/// Walks a header: 0 and its facts, or 1: it is not plain, or 2: bytes are missing, `header_bytes` of them are
/// needed at least.
///
/// # Safety
///
/// `data` points to `length` bytes; the other pointers are valid, `facts` for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_facts(
    dictionary: *const Dictionary,
    limits: *const Limits,
    data: *const u8,
    length: usize,
    size: u64,
    facts: *mut Facts,
) -> i32 {
    // SAFETY: the caller's contract.
    let (dictionary, limits, data) =
        unsafe { (&*dictionary, &*limits, slice::from_raw_parts(data, length)) };
    let mut needed = 0;
    let found = guarded(|| walk_alone(data, size, dictionary, &limits.walk, &mut needed));
    let (status, found) = match found {
        Ok(found) => (PLAIN, found),
        Err(NotPlain) if needed > 0 => (
            NEED_MORE,
            Facts {
                header_bytes: needed,
                ..Facts::default()
            },
        ),
        Err(NotPlain) => (NOT_PLAIN, Facts::default()),
    };
    // SAFETY: the caller's contract.
    unsafe { facts.write(found) };
    status
}

fn walk_alone(
    data: &[u8],
    size: u64,
    dictionary: &Dictionary,
    limits: &WalkLimits,
    needed: &mut u64,
) -> Plain<Facts> {
    let mut elements: Vec<Element> = Vec::with_capacity(256);
    walk::walk(data, size, dictionary, limits, &mut elements, needed)
}

/// Makes an empty table.
///
/// # Safety
///
/// `limits` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_table_new(limits: *const Limits) -> *mut Table {
    // SAFETY: the caller's contract.
    Box::into_raw(Box::new(Table::new(unsafe { *limits })))
}

/// Frees a table.
///
/// # Safety
///
/// It is one of `harvester_table_new`, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_table_free(table: *mut Table) {
    if !table.is_null() {
        // SAFETY: the caller's contract.
        drop(unsafe { Box::from_raw(table) });
    }
}

/// Adds a header's row: 0, or 1: it is not plain, and nothing was added.
///
/// # Safety
///
/// No other call uses the table meanwhile; `data` points to `length` bytes; the other pointers are valid,
/// `table_size` for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_table_append(
    table: *mut Table,
    dictionary: *const Dictionary,
    data: *const u8,
    length: usize,
    size: u64,
    table_size: *mut Size,
) -> i32 {
    // SAFETY: the caller's contract.
    let (table, dictionary, data) = unsafe {
        (
            &mut *table,
            &*dictionary,
            slice::from_raw_parts(data, length),
        )
    };
    let rows = table.top.rows;
    let outcome = guarded(|| table.append(data, size, dictionary));
    if outcome.is_err() && table.top.rows > rows {
        table.roll_back(rows); // a panic left it half done
    }
    let (width, path_characters, cells) = (table.width, table.path_characters, table.cells);
    // SAFETY: the caller's contract.
    unsafe {
        table_size.write(Size {
            rows: table.top.rows as u64,
            width,
            path_characters,
            cells,
        })
    };
    outcome.map_or(NOT_PLAIN, |()| PLAIN)
}

/// Hands all rows over as an Arrow struct array, and begins new ones.
///
/// # Safety
///
/// No other call uses the table meanwhile; `array` and `schema` point to memory for one structure each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn harvester_table_finish(
    table: *mut Table,
    max_columns: u64,
    array: *mut ArrowArray,
    schema: *mut ArrowSchema,
) -> i32 {
    // SAFETY: the caller's contract.
    let table = unsafe { &mut *table };
    let outcome = guarded(|| {
        // SAFETY: the caller's contract.
        unsafe { arrow::export(table, array, schema) };
        table.restart(max_columns);
        Ok(())
    });
    outcome.map_or(NOT_PLAIN, |()| PLAIN)
}

/// What a function returns; a panic, which is a bug, becomes a refusal: no other code has to be unwound.
fn guarded<T>(function: impl FnOnce() -> Plain<T>) -> Plain<T> {
    catch_unwind(AssertUnwindSafe(function)).unwrap_or(Err(NotPlain))
}
