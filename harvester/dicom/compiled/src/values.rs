//! Decodes plain raw values (PS3.5 6.2) into columns; what `harvester/dicom/values.py` finds odd is refused.

use std::borrow::Cow;

use crate::buffers::{Names, Numbers, Texts};
use crate::vr::{NotPlain, Plain, Vr};
use crate::walk::{require, u16_at};

const ESCAPE: u8 = 0x1B;
const MAX_CHARACTER_SET_BYTES: usize = 1024; // of the value of Specific Character Set
const MICROSECONDS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROSECONDS;

type Trim = fn(&[u8]) -> &[u8];

/// How text that is not ASCII is encoded (PS3.3 C.12.1.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CharacterSet {
    Latin1,
    Utf8,
    /// One that the parser in Python decodes.
    Other,
}

impl CharacterSet {
    pub fn named(raw: &[u8]) -> CharacterSet {
        let raw = &raw[..raw.len().min(MAX_CHARACTER_SET_BYTES)];
        match trim_end(raw).trim_ascii() {
            b"" | b"ISO_IR 6" | b"ISO_IR 100" => CharacterSet::Latin1,
            b"ISO_IR 192" => CharacterSet::Utf8,
            _ => CharacterSet::Other,
        }
    }

    /// The text in UTF-8.
    pub fn decode(self, raw: &[u8]) -> Plain<Cow<'_, [u8]>> {
        let odd = raw.iter().fold(0_u8, |found, byte| {
            found | (byte & 0x80) | u8::from(*byte == ESCAPE)
        });
        if odd == 0 {
            return Ok(Cow::Borrowed(raw));
        }
        require(odd & 1 == 0)?;
        match self {
            CharacterSet::Latin1 => {
                let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
                Ok(Cow::Owned(text.into_bytes()))
            }
            CharacterSet::Utf8 if std::str::from_utf8(raw).is_ok() => Ok(Cow::Borrowed(raw)),
            _ => Err(NotPlain),
        }
    }
}

fn is_padding(byte: u8) -> bool {
    byte == b' ' || byte == 0
}

pub fn trim_end(raw: &[u8]) -> &[u8] {
    let length = raw
        .iter()
        .rposition(|byte| !is_padding(*byte))
        .map_or(0, |last| last + 1);
    &raw[..length]
}

fn trim(raw: &[u8]) -> &[u8] {
    let raw = trim_end(raw);
    let start = raw
        .iter()
        .position(|byte| !is_padding(*byte))
        .unwrap_or(raw.len());
    &raw[start..]
}

fn trim_spaces(raw: &[u8]) -> &[u8] {
    let start = raw
        .iter()
        .position(|byte| *byte != b' ')
        .unwrap_or(raw.len());
    let end = raw
        .iter()
        .rposition(|byte| *byte != b' ')
        .map_or(start, |last| last + 1);
    &raw[start..end]
}

fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\\')
}

/// Adds the values of a text; how many there are.
///
/// PS3.5 6.2 says for each value representation which padding counts and whether a backslash separates values.
pub fn push_texts(vr: Vr, raw: &[u8], set: CharacterSet, texts: &mut Texts) -> Plain<usize> {
    let (trim_value, set): (Trim, _) = match vr {
        Vr::AE | Vr::CS | Vr::UI => (trim, CharacterSet::Latin1),
        Vr::AS => (trim_end, CharacterSet::Latin1),
        Vr::UC => (trim_end, set),
        Vr::LT | Vr::ST | Vr::UT => return push_whole(trim_end(&set.decode(raw)?), texts),
        Vr::UR => {
            require(raw.is_ascii() && !raw.contains(&ESCAPE))?;
            let uri = trim_end(raw);
            // What Python takes for white space.
            require(
                uri.last()
                    .is_none_or(|last| !matches!(last, 0x09..=0x0D | 0x1C..=0x1F)),
            )?;
            return push_whole(uri, texts);
        }
        _ => (trim, set),
    };
    let text = set.decode(raw)?;
    let text = trim_value(&text);
    if text.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    for piece in pieces(text) {
        let value = trim_value(piece);
        if value.is_empty() && text.contains(&b'\\') {
            texts.push_null();
        } else {
            texts.push(value)?;
        }
        count += 1;
    }
    Ok(count)
}

fn push_whole(text: &[u8], texts: &mut Texts) -> Plain<usize> {
    if text.is_empty() {
        return Ok(0);
    }
    texts.push(text)?;
    Ok(1)
}

/// Adds person names; how many there are.
pub fn push_names(raw: &[u8], set: CharacterSet, names: &mut Names) -> Plain<usize> {
    let text = set.decode(trim_end(raw))?;
    let mut count = 0;
    let mut any = false;
    for name in pieces(&text) {
        count += 1;
        any |= push_name(name, names)?;
    }
    if count == 1 && !any {
        names.truncate(names.validity.length - 1);
        return Ok(0);
    }
    Ok(count)
}

fn push_name(name: &[u8], names: &mut Names) -> Plain<bool> {
    let length = name
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    let mut parts = name[..length].split(|byte| *byte == b'=');
    let valid = length > 0;
    for group in &mut names.groups {
        match parts.next() {
            Some(part) if !part.is_empty() => group.push(part)?,
            _ => group.push_null(),
        }
    }
    require(parts.next().is_none())?;
    names.validity.push(valid);
    Ok(valid)
}

/// Adds the numbers of a decimal string (DS), exact; how many there are.
pub fn push_decimals(raw: &[u8], numbers: &mut Numbers<f64>) -> Plain<usize> {
    push_numbers(raw, numbers, decimal)
}

/// Adds the numbers of an integer string (IS); how many there are.
pub fn push_integers(raw: &[u8], numbers: &mut Numbers<i64>) -> Plain<usize> {
    push_numbers(raw, numbers, integer)
}

fn push_numbers<T: Copy + Default>(
    raw: &[u8],
    numbers: &mut Numbers<T>,
    read: fn(&[u8]) -> Plain<T>,
) -> Plain<usize> {
    let text = trim_spaces(trim_end(raw));
    if text.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    for piece in pieces(text).map(trim_spaces) {
        count += 1;
        if piece.is_empty() {
            numbers.push_nulls(1);
        } else {
            numbers.push(read(piece)?);
        }
    }
    Ok(count)
}

fn decimal(text: &[u8]) -> Plain<f64> {
    let known = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E');
    require(text.iter().all(known))?;
    let number: f64 = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NotPlain)?;
    require(number.is_finite())?;
    Ok(number)
}

fn integer(text: &[u8]) -> Plain<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    require((1..=18).contains(&digits.len()))?;
    let number = digits_value(digits)?;
    Ok(if negative { -number } else { number })
}

fn digits_value(digits: &[u8]) -> Plain<i64> {
    let mut number = 0;
    for byte in digits {
        require(byte.is_ascii_digit())?;
        number = number * 10 + i64::from(byte - b'0');
    }
    Ok(number)
}

/// The dates or times of a value: None for an empty one. Nothing if there is no text.
fn moments(raw: &[u8]) -> Plain<Option<impl Iterator<Item = Option<&[u8]>>>> {
    require(raw.is_ascii())?;
    let text = trim_end(raw);
    if text.iter().all(|byte| *byte == b' ') {
        return Ok(None);
    }
    Ok(Some(pieces(text).map(|piece| {
        Some(trim_end(piece)).filter(|piece| !piece.is_empty())
    })))
}

fn push_moments<T: Copy + Default>(
    raw: &[u8],
    numbers: &mut Numbers<T>,
    read: fn(&[u8]) -> Plain<T>,
) -> Plain<usize> {
    let Some(values) = moments(raw)? else {
        return Ok(0);
    };
    let mut count = 0;
    for value in values {
        count += 1;
        match value {
            None => numbers.push_nulls(1),
            Some(text) => numbers.push(read(text)?),
        }
    }
    Ok(count)
}

pub fn push_dates(raw: &[u8], numbers: &mut Numbers<i32>) -> Plain<usize> {
    push_moments(raw, numbers, date)
}

pub fn push_times(raw: &[u8], numbers: &mut Numbers<i64>) -> Plain<usize> {
    push_moments(raw, numbers, time)
}

pub fn push_datetimes(raw: &[u8], numbers: &mut Numbers<i64>) -> Plain<usize> {
    push_moments(raw, numbers, datetime)
}

/// DA, also in ACR-NEMA's form `YYYY.MM.DD`: days since 1970.
fn date(text: &[u8]) -> Plain<i32> {
    let (year, month, day) = match text.len() {
        8 => (&text[..4], &text[4..6], &text[6..]),
        10 if text[4] == b'.' && text[7] == b'.' => (&text[..4], &text[5..7], &text[8..]),
        _ => return Err(NotPlain),
    };
    Ok(days(
        digits_value(year)?,
        digits_value(month)?,
        digits_value(day)?,
    )? as i32)
}

/// The days from 1970-01-01 to a date of the Gregorian calendar from year 1 to 9999.
fn days(year: i64, month: i64, day: i64) -> Plain<i64> {
    require(year >= 1 && (1..=12).contains(&month) && day >= 1)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = [
        31,
        28 + i64::from(leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ][month as usize - 1];
    require(day <= length)?;
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let whole = past * 365 + past / 4 - past / 100 + past / 400;
    Ok(whole + BEFORE[month as usize - 1] + i64::from(leap && month > 2) + day - 719_163)
}

/// TM, also in ACR-NEMA's form `HH:MM:SS`: microseconds since midnight.
fn time(text: &[u8]) -> Plain<i64> {
    if text.get(2) == Some(&b':') {
        require(text.len() >= 8 && text[5] == b':')?;
        return clock(&[&text[..2], &text[3..5], &text[6..8]].concat(), &text[8..]);
    }
    let digits = text
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or(text.len());
    clock(&text[..digits], &text[digits..])
}

/// HH, HHMM or HHMMSS, and a fraction with its point behind seconds.
fn clock(digits: &[u8], fraction: &[u8]) -> Plain<i64> {
    require(matches!(digits.len(), 2 | 4 | 6) && (fraction.is_empty() || digits.len() == 6))?;
    let field = |at: usize| digits.get(at..at + 2).map_or(Ok(0), digits_value);
    let (hour, minute, second) = (field(0)?, field(2)?, field(4)?);
    require(hour < 24 && minute < 60 && second <= 60)?;
    let second = second.min(59); // PS3.5 6.2: a leap second
    Ok(((hour * 60 + minute) * 60 + second) * MICROSECONDS + microseconds(fraction)?)
}

fn microseconds(fraction: &[u8]) -> Plain<i64> {
    let Some((point, digits)) = fraction.split_first() else {
        return Ok(0);
    };
    require(*point == b'.' && (1..=6).contains(&digits.len()))?;
    Ok(digits_value(digits)? * 10_i64.pow(6 - digits.len() as u32))
}

/// DT: microseconds since 1970, in UTC if the value has an offset.
fn datetime(text: &[u8]) -> Plain<i64> {
    let sign = text.iter().position(|byte| matches!(byte, b'+' | b'-'));
    let (local, offset) = match sign {
        None => (text, 0),
        Some(at) => (&text[..at], offset(&text[at..])?),
    };
    let point = local
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or(local.len());
    let (digits, fraction) = local.split_at(point);
    require(matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14))?;
    let field = |at: usize| digits.get(at..at + 2).map_or(Ok(1), digits_value);
    let day = days(digits_value(&digits[..4])?, field(4)?, field(6)?)?;
    let clock = match digits.get(8..) {
        Some(rest) if !rest.is_empty() => clock(rest, fraction)?,
        _ => {
            require(fraction.is_empty())?;
            0
        }
    };
    let moment = day * DAY + clock - offset * 60 * MICROSECONDS;
    let (first, last) = (days(1, 1, 1)? * DAY, (days(9999, 12, 31)? + 1) * DAY);
    require((first..last).contains(&moment))?;
    Ok(moment)
}

/// The minutes of `+HHMM` or `-HHMM` (PS3.5 6.2).
fn offset(text: &[u8]) -> Plain<i64> {
    require(text.len() == 5)?;
    let (hours, minutes) = (digits_value(&text[1..3])?, digits_value(&text[3..])?);
    require(minutes < 60)?;
    let total = hours * 60 + minutes;
    let signed = if text[0] == b'-' { -total } else { total };
    require((-12 * 60..=14 * 60).contains(&signed) && !(text[0] == b'-' && total == 0))?;
    Ok(signed)
}

/// The numbers of a binary value as integers.
pub fn integers(vr: Vr, raw: &[u8]) -> Plain<impl Iterator<Item = i128> + '_> {
    let width = vr.number_width();
    require(raw.len() % width == 0)?;
    Ok(raw.chunks_exact(width).map(move |bytes| match vr {
        Vr::US => i128::from(u16::from_le_bytes([bytes[0], bytes[1]])),
        Vr::SS => i128::from(i16::from_le_bytes([bytes[0], bytes[1]])),
        Vr::UL => i128::from(u32::from_le_bytes(array(bytes))),
        Vr::SL => i128::from(i32::from_le_bytes(array(bytes))),
        Vr::UV => i128::from(u64::from_le_bytes(array(bytes))),
        _ => i128::from(i64::from_le_bytes(array(bytes))),
    }))
}

/// The numbers of a binary value in floating point.
pub fn floats(vr: Vr, raw: &[u8]) -> Plain<impl Iterator<Item = f64> + '_> {
    let width = vr.number_width();
    require(raw.len() % width == 0)?;
    Ok(raw.chunks_exact(width).map(move |bytes| match vr {
        Vr::FL => f64::from(f32::from_le_bytes(array(bytes))),
        _ => f64::from_le_bytes(array(bytes)),
    }))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// The tags of an AT value.
pub fn tags(raw: &[u8]) -> Plain<impl Iterator<Item = u32> + '_> {
    require(raw.len() % 4 == 0)?;
    Ok(raw
        .chunks_exact(4)
        .map(|bytes| u32::from(u16_at(bytes, 0)) << 16 | u32::from(u16_at(bytes, 2))))
}

/// A number as Python writes it.
pub fn write_float(number: f64, text: &mut String) {
    if !number.is_finite() {
        let infinite = if number < 0.0 { "-inf" } else { "inf" };
        text.push_str(if number.is_nan() { "nan" } else { infinite });
        return;
    }
    if number == 0.0 {
        text.push_str(if number.is_sign_negative() {
            "-0.0"
        } else {
            "0.0"
        });
        return;
    }
    if number.fract() == 0.0 && number.abs() < 1e15 {
        text.push_str(&(number as i64).to_string());
        text.push_str(".0");
        return;
    }
    let shortest = shortest(number);
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        write_fixed(digits, exponent, text);
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        text.push_str(&format!("{digits}e{sign}{:02}", exponent.abs()));
    }
}

/// The shortest digits that mean this number; of two that are as near, the even ones, as in Python.
fn shortest(number: f64) -> String {
    let text = format!("{number:e}");
    let digits = text
        .bytes()
        .take_while(|byte| *byte != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    if digits < 16 {
        return text; // a tie needs more digits
    }
    let rounded = format!("{number:.*e}", digits - 1);
    if rounded.parse() == Ok(number) {
        rounded
    } else {
        text
    }
}

/// Writes `-1.25` with an exponent of 2 as `-125.0`.
fn write_fixed(mantissa: &str, exponent: i32, text: &mut String) {
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    text.push_str(sign);
    if exponent < 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        text.push_str(&digits);
        return;
    }
    let point = exponent as usize + 1;
    if digits.len() <= point {
        text.push_str(&digits);
        text.extend(std::iter::repeat_n('0', point - digits.len()));
        text.push_str(".0");
    } else {
        text.push_str(&digits[..point]);
        text.push('.');
        text.push_str(&digits[point..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: f64) -> String {
        let mut text = String::new();
        write_float(number, &mut text);
        text
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e16, "1e+16"),
            (1234567890123456.0, "1234567890123456.0"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e300, "1e+300"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (f64::from(-180.5358_f32), "-180.53579711914062"), // as near to 063
            (0.5, "0.5"),
            (0.00012, "0.00012"),
            (125.0, "125.0"),
            (-3.0, "-3.0"),
            (999999999999999.0, "999999999999999.0"),
            (1e15, "1000000000000000.0"),
            (0.0, "0.0"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(written(number), text);
        }
    }

    #[test]
    fn days_count_from_1970() {
        assert_eq!(date(b"19700101"), Ok(0));
        assert_eq!(date(b"2000.03.01"), Ok(11_017));
        assert_eq!(date(b"00010101"), Ok(-719_162));
        assert_eq!(date(b"19000229"), Err(NotPlain));
    }
}
