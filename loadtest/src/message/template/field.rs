//! One field of a template.

use super::{NUMBER_WIDTH, Sink, Stream, TemplateProblem, put_number};
use crate::MAX_SIZE;
use crate::message::base64url::ALPHABET;
use crate::message::compose::TimeUnit;
use crate::message::hash;
use std::str::FromStr;

/// The largest bound of `{int:A-B}`: 18 digits.
const MAX_INT: u64 = 10u64.pow(18) - 1;

/// The length of a UUID as text.
const UUID_WIDTH: usize = 36;

/// A field. `padding` is the character before a number that is shorter than the width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Number { padding: u8 },
    Connection { padding: u8 },
    Time(TimeUnit),
    Random(usize),
    Int { min: u64, max: u64, width: usize, padding: u8 },
    Uuid,
}

impl Field {
    /// The length in bytes.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Number { .. } | Self::Connection { .. } => NUMBER_WIDTH,
            Self::Time(unit) => unit.width(),
            Self::Random(len) => *len,
            Self::Int { width, .. } => *width,
            Self::Uuid => UUID_WIDTH,
        }
    }

    /// Passes the content of the field in a message to `sink`.
    pub(super) fn compose(&self, connection: u32, number: u32, random: &mut Stream, sink: &mut impl Sink) {
        match *self {
            Self::Number { padding } => put_number(sink, number.into(), NUMBER_WIDTH, padding),
            Self::Connection { padding } => put_number(sink, connection.into(), NUMBER_WIDTH, padding),
            Self::Time(unit) => sink.time(unit),
            Self::Random(len) => put_random(len, random, sink),
            Self::Int { min, max, width, padding } => {
                let value = min + hash::below(random.next(), max - min + 1);
                put_number(sink, value, width, padding);
            }
            Self::Uuid => put_uuid(random, sink),
        }
    }
}

/// Random characters, ten from each random number.
fn put_random(len: usize, random: &mut Stream, sink: &mut impl Sink) {
    const CHUNK: usize = 10;
    let mut left = len;
    while left > 0 {
        let bits = random.next();
        let chunk: [u8; CHUNK] = std::array::from_fn(|at| ALPHABET[(bits >> (6 * at)) as usize & 63]);
        let used = left.min(CHUNK);
        sink.put(&chunk[..used]);
        left -= used;
    }
}

/// 122 random bits, the version 4 and the variant 10 (RFC 9562 section 5.4).
fn put_uuid(random: &mut Stream, sink: &mut impl Sink) {
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let bits = bits & !(0xf << 76) | 4 << 76;
    let bits = bits & !(3 << 62) | 2 << 62;
    let mut text = [b'-'; UUID_WIDTH];
    let places = (0..UUID_WIDTH).filter(|at| ![8, 13, 18, 23].contains(at));
    for (digit, place) in places.enumerate() {
        text[place] = b"0123456789abcdef"[(bits >> (124 - 4 * digit)) as usize & 15];
    }
    sink.put(&text);
}

impl FromStr for Field {
    type Err = TemplateProblem;

    /// Parses the text between the braces.
    fn from_str(text: &str) -> Result<Self, TemplateProblem> {
        let (name, form) = match text.split_once(':') {
            Some((name, form)) => (name, Some(form)),
            None => (text, None),
        };
        let (field, forms) = match name {
            "seq" => (padding(form).map(|padding| Self::Number { padding }), "{seq}, or {seq:0} for leading zeros"),
            "conn" => {
                (padding(form).map(|padding| Self::Connection { padding }), "{conn}, or {conn:0} for leading zeros")
            }
            "time" => (unit(form).map(Self::Time), "{time} (milliseconds), {time:us} or {time:ns}"),
            "random" => (length(form).map(Self::Random), "a number of characters from 1 to 67108864, as {random:8}"),
            "int" => (int(form), "two numbers of at most 18 digits, the smaller one first, as {int:1-100}"),
            "uuid" => (form.is_none().then_some(Self::Uuid), "{uuid}"),
            _ => return Err(TemplateProblem::Unknown(text.to_owned())),
        };
        field.ok_or_else(|| TemplateProblem::Form(text.to_owned(), forms))
    }
}

fn padding(form: Option<&str>) -> Option<u8> {
    match form {
        None => Some(b' '),
        Some("0") => Some(b'0'),
        Some(_) => None,
    }
}

fn unit(form: Option<&str>) -> Option<TimeUnit> {
    match form {
        None | Some("ms") => Some(TimeUnit::Milliseconds),
        Some("us") => Some(TimeUnit::Microseconds),
        Some("ns") => Some(TimeUnit::Nanoseconds),
        Some(_) => None,
    }
}

fn length(form: Option<&str>) -> Option<usize> {
    number(form?).map(|len| len as usize).filter(|len| (1..=MAX_SIZE).contains(len))
}

fn int(form: Option<&str>) -> Option<Field> {
    let (first, last) = form?.split_once('-')?;
    let (min, max) = (number(first)?, number(last)?);
    // Leading zeros show that the numbers are to be padded with zeros.
    let padding = if first.len() > 1 && first.starts_with('0') { b'0' } else { b' ' };
    let width = first.len().max(last.len());
    (min <= max && max <= MAX_INT && width <= 18).then_some(Field::Int { min, max, width, padding })
}

/// A number without a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
