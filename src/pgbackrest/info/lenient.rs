//! Tolerant parsing of the `info` document: an invalid value is unknown instead of an error.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use chrono::DateTime;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::label::BackupType;
use super::super::redact::Said;
use super::{Span, StatusCode};

/// A string that borrows from the document unless it had to be unescaped. A number or a boolean is read as text.
///
/// serde borrows only a bare `Cow<str>`, not one inside an `Option` or a `Vec`; a type of its own is always borrowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(pub Cow<'a, str>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Said<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self::new(text.0))
    }
}

struct TextVisitor<'a>(PhantomData<&'a str>);

impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
    type Value = Text<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Text<'a>, E> {
        Ok(Text(Cow::Owned(truth.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Text<'a>, E> {
        Ok(Text::default())
    }
}

/// The number of labels of each type in a reference list: full, diff, incr. Anything else is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReferenceCounts(pub [u32; 3]);

impl<'de> Deserialize<'de> for ReferenceCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = ReferenceCounts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of labels")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut labels: A) -> Result<ReferenceCounts, A::Error> {
        let mut counts = [0_u32; 3];
        while let Some(label) = labels.next_element::<Text<'de>>()? {
            let of_type = BackupType::of_label(&label).and_then(|known| {
                BackupType::ALL
                    .iter()
                    .zip(&mut counts)
                    .find_map(|(each, count)| (*each == known).then_some(count))
            });
            if let Some(count) = of_type {
                *count = count.saturating_add(1);
            }
        }
        Ok(ReferenceCounts(counts))
    }
}

/// A value of any kind, as an integer if it is one.
#[derive(Clone, Copy)]
enum Scalar {
    Number(i128),
    Flag(bool),
    Type(BackupType),
    Other,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(i128::from(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(i128::from(number)))
    }

    /// Numbers with a fraction or above 64 bits are neither byte counts nor times.
    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(truth))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        let known = BackupType::of_name(text);
        let number = || text.parse::<i64>().map(|number| Scalar::Number(i128::from(number)));
        Ok(known.map(Scalar::Type).or_else(|| number().ok()).unwrap_or(Scalar::Other))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Scalar, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// An integer that fits the type; anything else is unknown.
pub(super) fn number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    match Scalar::deserialize(deserializer)? {
        Scalar::Number(number) => Ok(T::try_from(number).ok()),
        _ => Ok(None),
    }
}

/// The number of a database; as no database has 0, that is an unknown one.
pub(super) fn number_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    number(deserializer).map(Option::unwrap_or_default)
}

/// A boolean; anything else is unknown.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Flag(truth) => Ok(Some(truth)),
        _ => Ok(None),
    }
}

/// One of the backup types; anything else is unknown.
pub(super) fn backup_type<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BackupType>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::Type(known) => Ok(Some(known)),
        _ => Ok(None),
    }
}

/// Two times; unknown unless both are known.
pub(super) fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    #[derive(Deserialize)]
    struct Times {
        #[serde(default, deserialize_with = "number")]
        start: Option<i64>,
        #[serde(default, deserialize_with = "number")]
        stop: Option<i64>,
    }
    let times = Option::<Times>::deserialize(deserializer)?;
    let instant = |seconds: Option<i64>| DateTime::from_timestamp(seconds?, 0);
    Ok(times.and_then(|times| Some(Span { start: instant(times.start)?, stop: instant(times.stop)? })))
}

/// Null means the same as an absent field.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Default for StatusCode {
    fn default() -> Self {
        Self(99)
    }
}

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(number(deserializer)?.map_or_else(Self::default, Self))
    }
}
