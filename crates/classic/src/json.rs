//! Reading JSON from strangers, and writing it the way the course's programs do.
//!
//! Reading: one bad entry costs that entry, not the message (`B13`, `B22`), so fields are read leniently into
//! [`Field`], and judged by the caller. Writing: ASCII only, separators as Python writes them, so that the
//! crudest reader of the protocol is at home.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::ser::{Formatter, Serializer};
use serde_json::value::RawValue;

/// One JSON value, as far as the protocol has a use for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    /// A string.
    Text(String),
    /// A number that fits; fractions are rounded down.
    Integer(i64),
    /// A number with a fraction, rounded down.
    Fraction(i64),
    /// Anything else: `true`, `null`, lists, objects, numbers out of range.
    Other,
}

impl Field {
    /// The number rounded down, if it is one in range.
    pub(crate) const fn floored(&self) -> Option<i64> {
        match self {
            Self::Integer(number) | Self::Fraction(number) => Some(*number),
            _ => None,
        }
    }

    /// A TCP port that can be dialled, if it is one (`B10`).
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Integer(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        Ok(Field::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(i64::try_from(number).map_or(Field::Other, Field::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
        Ok(floor(number).map_or(Field::Other, Field::Fraction))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

/// The largest integer not above `number`, if it is in range.
fn floor(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63, exact in a double
    let floored = number.floor();
    #[expect(clippy::cast_possible_truncation, reason = "in range, as the condition says")]
    (-LIMIT..LIMIT).contains(&floored).then_some(floored as i64)
}

/// The fields of an entry that the protocol knows; others are ignored.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    pub(crate) name: Option<Field>,
    pub(crate) mtime: Option<Field>,
    pub(crate) ip: Option<Field>,
    pub(crate) port: Option<Field>,
    pub(crate) dialect: Option<Field>,
}

impl Entry {
    /// Reads one entry; `None` when it is no object, or one that cannot be read.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        if !raw.get().starts_with('{') {
            return None;
        }
        serde_json::from_str(raw.get()).ok()
    }
}

/// Appends a value to `out` as JSON of the protocol.
pub(crate) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = value.serialize(&mut Serializer::with_formatter(&mut *out, PythonStyle));
    debug_assert!(written.is_ok(), "a vector takes every byte, and our values have text keys");
}

/// Ends a message with a newline; never at a length that makes readers of full buffers hang.
pub(crate) fn end_line(out: &mut Vec<u8>) {
    if (out.len() + 1).is_multiple_of(crate::limits::RECV_MULTIPLE_BYTES) {
        out.push(b' ');
    }
    out.push(b'\n');
}

/// JSON as Python's `json.dumps` writes it: `", "` and `": "`, everything beyond ASCII escaped.
struct PythonStyle;

impl Formatter for PythonStyle {
    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return out.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        for c in fragment.chars() {
            if c.is_ascii() {
                write!(out, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b9_b13_numbers_are_floored_or_refused() {
        let cases = [
            ("1700000000.9", Some(1_700_000_000)),
            ("-1.5", Some(-2)),
            ("-0", Some(0)),
            ("9999999999999", Some(9_999_999_999_999)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1e300", None),
            ("\"1700000000\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
            ("{\"a\": 1}", None),
        ];
        for (text, expected) in cases {
            let field: Field = serde_json::from_str(text).unwrap();
            assert_eq!(field.floored(), expected, "{text}");
        }
        for text in ["NaN", "Infinity", "1e999", &"9".repeat(400)] {
            assert!(serde_json::from_str::<Field>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn b10_ports() {
        let cases = [
            ("80", Some(80)),
            ("65535", Some(65535)),
            ("0", None),
            ("65536", None),
            ("-1", None),
            ("80.5", None),
            ("80.0", None),
            ("\"80\"", None),
            ("true", None),
            ("null", None),
        ];
        for (text, expected) in cases {
            assert_eq!(serde_json::from_str::<Field>(text).unwrap().port(), expected, "{text}");
        }
    }

    #[test]
    fn written_as_python_would() {
        let mut out = Vec::new();
        write(&mut out, &serde_json::json!({"a\n": [1, "é😀\u{7f}"], "b": {}}));
        assert_eq!(out, b"{\"a\\n\": [1, \"\\u00e9\\ud83d\\ude00\x7f\"], \"b\": {}}");
    }

    #[test]
    fn no_line_ends_at_a_multiple_of_a_full_buffer() {
        for length in 8_180..8_200 {
            let mut out = vec![b'x'; length];
            end_line(&mut out);
            assert!(!out.len().is_multiple_of(8_192) && out.ends_with(b"\n"));
        }
    }
}
