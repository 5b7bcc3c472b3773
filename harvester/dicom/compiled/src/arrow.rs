//! Hands columns over by Arrow's C data interface (https://arrow.apache.org/docs/format/CDataInterface.html).

use std::ffi::{c_char, c_void, CString};
use std::mem;
use std::ptr;

use crate::buffers::{Lists, Names, Numbers, Texts, Validity};
use crate::columns::{Level, Values};
use crate::others::Others;
use crate::table::Table;

const NULLABLE: i64 = 2;

#[repr(C)]
pub struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
pub struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

enum Buffer {
    Absent,
    Bytes(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Unsigned(Vec<u64>),
    Float(Vec<f64>),
}

impl Buffer {
    fn address(&self) -> *const c_void {
        match self {
            Buffer::Absent => ptr::null(),
            Buffer::Bytes(values) => values.as_ptr().cast(),
            Buffer::Int32(values) => values.as_ptr().cast(),
            Buffer::Int64(values) => values.as_ptr().cast(),
            Buffer::Unsigned(values) => values.as_ptr().cast(),
            Buffer::Float(values) => values.as_ptr().cast(),
        }
    }
}

/// A column that is handed over.
struct Column {
    name: String,
    format: &'static str,
    rows: usize,
    nulls: usize,
    buffers: Vec<Buffer>,
    children: Vec<Column>,
}

impl Column {
    fn named(mut self, name: &str) -> Column {
        self.name = name.to_owned();
        self
    }
}

fn validity(validity: Validity) -> Buffer {
    if validity.nulls == 0 {
        Buffer::Absent
    } else {
        Buffer::Bytes(validity.bits)
    }
}

fn texts(texts: Texts) -> Column {
    let (rows, nulls) = (texts.rows(), texts.validity.nulls);
    let buffers = vec![
        validity(texts.validity),
        Buffer::Int32(texts.offsets),
        Buffer::Bytes(texts.bytes),
    ];
    Column {
        name: String::new(),
        format: "u",
        rows,
        nulls,
        buffers,
        children: Vec::new(),
    }
}

fn numbers<T>(format: &'static str, numbers: Numbers<T>, wrap: fn(Vec<T>) -> Buffer) -> Column {
    let (rows, nulls) = (numbers.values.len(), numbers.validity.nulls);
    let buffers = vec![validity(numbers.validity), wrap(numbers.values)];
    Column {
        name: String::new(),
        format,
        rows,
        nulls,
        buffers,
        children: Vec::new(),
    }
}

fn names(names: Names) -> Column {
    let (rows, nulls) = (names.validity.length, names.validity.nulls);
    let groups = ["Alphabetic", "Ideographic", "Phonetic"];
    let children = names
        .groups
        .into_iter()
        .zip(groups)
        .map(|(group, name)| texts(group).named(name))
        .collect();
    let buffers = vec![validity(names.validity)];
    Column {
        name: String::new(),
        format: "+s",
        rows,
        nulls,
        buffers,
        children,
    }
}

fn structs(rows: usize, children: Vec<Column>) -> Column {
    let buffers = vec![Buffer::Absent];
    Column {
        name: String::new(),
        format: "+s",
        rows,
        nulls: 0,
        buffers,
        children,
    }
}

fn lists(lists: Lists, items: Column) -> Column {
    let (rows, nulls) = (lists.rows(), lists.validity.nulls);
    let buffers = vec![validity(lists.validity), Buffer::Int32(lists.offsets)];
    Column {
        name: String::new(),
        format: "+l",
        rows,
        nulls,
        buffers,
        children: vec![items.named("item")],
    }
}

fn values(values: Values) -> Option<Column> {
    Some(match values {
        Values::None => return None,
        Values::Text(column) => texts(column),
        Values::Integer(column) => numbers("l", column, Buffer::Int64),
        Values::Unsigned(column) => numbers("L", column, Buffer::Unsigned),
        Values::Float(column) => numbers("g", column, Buffer::Float),
        Values::Date(column) => numbers("tdD", column, Buffer::Int32),
        Values::Time(column) => numbers("ttu", column, Buffer::Int64),
        Values::DateTime(column) => numbers("tsu:", column, Buffer::Int64),
        Values::Name(column) => names(*column),
        Values::Items(mut level) => items(&mut level),
    })
}

/// Takes the values, and leaves the column empty.
fn taken(held: &mut Values) -> Option<Column> {
    let empty = match held {
        Values::None => return None,
        Values::Items(level) => return Some(items(level)),
        Values::Text(_) => Values::Text(Texts::default()),
        Values::Integer(_) => Values::Integer(Numbers::default()),
        Values::Unsigned(_) => Values::Unsigned(Numbers::default()),
        Values::Float(_) => Values::Float(Numbers::default()),
        Values::Date(_) => Values::Date(Numbers::default()),
        Values::Time(_) => Values::Time(Numbers::default()),
        Values::DateTime(_) => Values::DateTime(Numbers::default()),
        Values::Name(_) => Values::Name(Box::default()),
    };
    values(mem::replace(held, empty))
}

/// The columns of a level that have values; they are empty afterwards.
fn level(level: &mut Level) -> Vec<Column> {
    let rows = level.rows;
    let mut columns = Vec::with_capacity(level.columns.len());
    for column in level.columns.iter_mut().filter(|column| column.rows > 0) {
        column.complete(rows);
        column.rows = 0;
        let list = column.lists.as_mut().map(mem::take);
        let Some(exported) = taken(&mut column.values) else {
            continue;
        };
        let exported = match list {
            Some(list) => lists(list, exported),
            None => exported,
        };
        columns.push(exported.named(&column.attribute.keyword));
    }
    level.rows = 0;
    columns
}

/// The items of a sequence. Parquet has no struct without a field: this attribute may be in any item
/// (PS3.5 7.5.3).
fn items(held: &mut Level) -> Column {
    let rows = held.rows;
    let mut fields = level(held);
    if fields.is_empty() {
        let mut empty = Lists::default();
        empty.push_nulls(rows);
        fields.push(lists(empty, texts(Texts::default())).named("SpecificCharacterSet"));
    }
    structs(rows, fields)
}

fn others(others: Others) -> [Column; 4] {
    let other = others.other;
    let fields = vec![
        texts(other.path).named("path"),
        texts(other.tag).named("Tag"),
        texts(other.vr).named("VR"),
        texts(other.creator).named("Creator"),
        lists(other.data_lists, texts(other.data)).named("Data"),
    ];
    let elements = lists(other.lists, structs(fields[0].rows, fields));
    let bulk = others.bulk;
    let fields = vec![
        texts(bulk.path).named("path"),
        texts(bulk.vr).named("VR"),
        numbers("l", bulk.offset, Buffer::Int64).named("offset"),
        numbers("l", bulk.length, Buffer::Int64).named("length"),
    ];
    let bulk = lists(bulk.lists, structs(fields[0].rows, fields));
    let invalid = others.invalid;
    let fields = vec![
        texts(invalid.path).named("path"),
        texts(invalid.vr).named("VR"),
        texts(invalid.text).named("text"),
        texts(invalid.reason).named("reason"),
    ];
    let invalid = lists(invalid.lists, structs(fields[0].rows, fields));
    let empty = lists(others.empty_lists, texts(others.empty));
    [
        elements.named("OtherElements"),
        bulk.named("bulk_data"),
        invalid.named("invalid_elements"),
        empty.named("empty_elements"),
    ]
}

/// Takes all rows of a table as one struct array.
///
/// # Safety
///
/// `array` and `schema` point to memory for one structure each.
pub unsafe fn export(table: &mut Table, array: *mut ArrowArray, schema: *mut ArrowSchema) {
    let rows = table.top.rows;
    let mut columns = level(&mut table.top);
    columns.extend(others(mem::take(&mut table.others)));
    let table = structs(rows, columns);
    // SAFETY: the caller's contract; both are written once and not read.
    unsafe {
        schema.write(schema_of(&table));
        array.write(array_of(table));
    }
}

struct SchemaParts {
    _name: CString,
    _format: CString,
    children: Vec<*mut ArrowSchema>,
}

fn schema_of(column: &Column) -> ArrowSchema {
    let children = column
        .children
        .iter()
        .map(|child| Box::into_raw(Box::new(schema_of(child))))
        .collect();
    let mut parts = Box::new(SchemaParts {
        _name: CString::new(column.name.as_str()).unwrap_or_default(),
        _format: CString::new(column.format).unwrap_or_default(),
        children,
    });
    ArrowSchema {
        format: parts._format.as_ptr(),
        name: parts._name.as_ptr(),
        metadata: ptr::null(),
        flags: NULLABLE,
        n_children: parts.children.len() as i64,
        children: parts.children.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(parts).cast(),
    }
}

struct ArrayParts {
    _buffers: Vec<Buffer>,
    addresses: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
}

fn array_of(column: Column) -> ArrowArray {
    let children = column
        .children
        .into_iter()
        .map(|child| Box::into_raw(Box::new(array_of(child))))
        .collect();
    let addresses = column.buffers.iter().map(Buffer::address).collect();
    let mut parts = Box::new(ArrayParts {
        _buffers: column.buffers,
        addresses,
        children,
    });
    ArrowArray {
        length: column.rows as i64,
        null_count: column.nulls as i64,
        offset: 0,
        n_buffers: parts.addresses.len() as i64,
        n_children: parts.children.len() as i64,
        buffers: parts.addresses.as_mut_ptr(),
        children: parts.children.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(parts).cast(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: the interface's contract: called once, with a structure that `schema_of` filled. A consumer may
    // have released a child before, or moved it: its `release` is null then.
    unsafe {
        let parts = Box::from_raw((*schema).private_data.cast::<SchemaParts>());
        for child in parts.children {
            if let Some(release) = (*child).release {
                release(child);
            }
            drop(Box::from_raw(child));
        }
        (*schema).release = None;
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: as of `release_schema`.
    unsafe {
        let parts = Box::from_raw((*array).private_data.cast::<ArrayParts>());
        for child in parts.children {
            if let Some(release) = (*child).release {
                release(child);
            }
            drop(Box::from_raw(child));
        }
        (*array).release = None;
    }
}
