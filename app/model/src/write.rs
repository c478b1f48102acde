//! Writes JSON without default values that the reader fills in.
//!
//! Most fields of a machine are empty, and a page contains a thousand machines, so pages omit them.
//! The API names every field; this is for our own pages only.

use std::fmt::{self, Display};

use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Structures whose readers use `Default` for missing fields. Each field's default is the default
/// of its type.
const FILLED_IN: [&str; 5] = ["Domain", "Graphics", "Serial", "Guest", "VmStats"];

/// Writes a value.
///
/// # Errors
/// If a map has keys that are not texts.
pub fn sparse<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Sparse(value))
}

/// A value or serializer without default values.
struct Sparse<T>(T);

impl<T: Serialize + ?Sized> Serialize for Sparse<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Sparse(serializer))
    }
}

/// Forwards calls unchanged.
macro_rules! plainly {
    ($($name:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $name(self, $($argument: $kind),*) -> Result<S::Ok, S::Error> {
            self.0.$name($($argument),*)
        }
    )*};
}

/// Forwards calls whose parts are written one by one.
macro_rules! inside {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $part:ident)*) => {$(
        fn $name(self, $($argument: $kind),*) -> Result<Self::$part, S::Error> {
            self.0.$name($($argument),*).map(Sparse)
        }
    )*};
}

impl<S: Serializer> Serializer for Sparse<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Sparse<S::SerializeSeq>;
    type SerializeTuple = Sparse<S::SerializeTuple>;
    type SerializeTupleStruct = Sparse<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Sparse<S::SerializeTupleVariant>;
    type SerializeMap = Sparse<S::SerializeMap>;
    type SerializeStruct = Fields<S::SerializeStruct>;
    type SerializeStructVariant = Sparse<S::SerializeStructVariant>;

    plainly! {
        serialize_bool(value: bool) serialize_i8(value: i8) serialize_i16(value: i16) serialize_i32(value: i32)
        serialize_i64(value: i64) serialize_u8(value: u8) serialize_u16(value: u16) serialize_u32(value: u32)
        serialize_u64(value: u64) serialize_f32(value: f32) serialize_f64(value: f64) serialize_char(value: char)
        serialize_str(value: &str) serialize_bytes(value: &[u8]) serialize_none() serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    inside! {
        serialize_seq(length: Option<usize>) -> SerializeSeq
        serialize_tuple(length: usize) -> SerializeTuple
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeTupleVariant
        serialize_map(length: Option<usize>) -> SerializeMap
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeStructVariant
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Sparse(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Sparse(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Sparse(value))
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Self::SerializeStruct, S::Error> {
        let filled_in = FILLED_IN.contains(&name);
        self.0.serialize_struct(name, length).map(|fields| Fields { fields, filled_in })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Writes tuples and maps.
macro_rules! parts {
    ($($kind:ident $name:ident)*) => {$(
        impl<S: $kind> $kind for Sparse<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$name(&Sparse(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

parts! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

impl<S: SerializeMap> SerializeMap for Sparse<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Sparse(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

impl<S: SerializeStructVariant> SerializeStructVariant for Sparse<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), S::Error> {
        self.0.serialize_field(key, &Sparse(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Writes the fields of a structure.
struct Fields<S> {
    fields: S,
    /// Whether the reader fills in missing fields.
    filled_in: bool,
}

impl<S: SerializeStruct> SerializeStruct for Fields<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), S::Error> {
        if self.filled_in && matches!(value.serialize(Look), Err(Looked::Nothing)) {
            return self.fields.skip_field(key);
        }
        self.fields.serialize_field(key, &Sparse(value))
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
        self.fields.skip_field(key)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.fields.end()
    }
}

/// Inspects a value without writing it; the result is its error.
struct Look;

/// Whether a value is the default.
#[derive(Debug)]
enum Looked {
    /// The default of its type: false, zero, empty.
    Nothing,
    Something,
}

impl Display for Looked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl std::error::Error for Looked {}

impl Error for Looked {
    fn custom<T: Display>(_: T) -> Self {
        Self::Something
    }
}

fn looked<T>(is_nothing: bool) -> Result<T, Looked> {
    Err(if is_nothing { Looked::Nothing } else { Looked::Something })
}

/// Whether each kind of value is the default.
macro_rules! look {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $part:ty = $is_nothing:expr;)*) => {$(
        fn $name(self, $($argument: $kind),*) -> Result<$part, Looked> {
            looked($is_nothing)
        }
    )*};
}

impl Serializer for Look {
    type Ok = ();
    type Error = Looked;
    type SerializeSeq = Impossible<(), Looked>;
    type SerializeTuple = Impossible<(), Looked>;
    type SerializeTupleStruct = Impossible<(), Looked>;
    type SerializeTupleVariant = Impossible<(), Looked>;
    type SerializeMap = Impossible<(), Looked>;
    type SerializeStruct = Impossible<(), Looked>;
    type SerializeStructVariant = Impossible<(), Looked>;

    look! {
        serialize_bool(value: bool) -> () = !value;
        serialize_i8(value: i8) -> () = value == 0;
        serialize_i16(value: i16) -> () = value == 0;
        serialize_i32(value: i32) -> () = value == 0;
        serialize_i64(value: i64) -> () = value == 0;
        serialize_u8(value: u8) -> () = value == 0;
        serialize_u16(value: u16) -> () = value == 0;
        serialize_u32(value: u32) -> () = value == 0;
        serialize_u64(value: u64) -> () = value == 0;
        serialize_f32(value: f32) -> () = value.to_bits() == 0;
        serialize_f64(value: f64) -> () = value.to_bits() == 0;
        serialize_char(_value: char) -> () = false;
        serialize_str(value: &str) -> () = value.is_empty();
        serialize_bytes(value: &[u8]) -> () = value.is_empty();
        serialize_none() -> () = true;
        serialize_unit() -> () = true;
        serialize_unit_struct(_name: &'static str) -> () = false;
        // The default variant is not known here.
        serialize_unit_variant(_name: &'static str, _index: u32, _variant: &'static str) -> () = false;
        serialize_seq(length: Option<usize>) -> Self::SerializeSeq = length == Some(0);
        serialize_tuple(_length: usize) -> Self::SerializeTuple = false;
        serialize_tuple_struct(_name: &'static str, _length: usize) -> Self::SerializeTupleStruct = false;
        serialize_tuple_variant(_name: &'static str, _index: u32, _variant: &'static str, _length: usize)
            -> Self::SerializeTupleVariant = false;
        serialize_map(length: Option<usize>) -> Self::SerializeMap = length == Some(0);
        serialize_struct(_name: &'static str, _length: usize) -> Self::SerializeStruct = false;
        serialize_struct_variant(_name: &'static str, _index: u32, _variant: &'static str, _length: usize)
            -> Self::SerializeStructVariant = false;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Looked> {
        looked(false)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Looked> {
        looked(false)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Looked> {
        looked(false)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Serialize, de::DeserializeOwned};

    use super::sparse;
    use crate::{
        Domain, Fault, FaultKind, VmStats,
        console::Serial,
        domain::{Graphics, Guest},
        read::read,
    };

    /// A value written and read back.
    fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
        let text = sparse(value).expect("names are the only keys");
        assert_eq!(read::<T>(&text).expect("it is read"), *value, "{text}");
        text
    }

    #[test]
    fn what_goes_without_saying_is_left_out_and_filled_in_again() {
        for nothing in [written(&Graphics::default()), written(&Serial::default()), written(&Guest::default())] {
            assert_eq!(nothing, "{}");
        }
        let none = "00000000-0000-0000-0000-000000000000";
        let domain =
            Domain { graphics: vec![Graphics { kind: "x".into(), ..Graphics::default() }], ..Domain::default() };
        let text = format!(r#"{{"id":"{none}","state":"unknown","graphics":[{{"kind":"x"}}],"agent":"absent"}}"#);
        assert_eq!(written(&domain), text);
        let stats = VmStats { memory_total_mb: 512, ..VmStats::default() };
        assert_eq!(written(&stats), format!(r#"{{"vmId":"{none}","memoryTotalMb":512,"memorySource":"resident"}}"#));
    }

    #[test]
    fn what_is_said_to_be_nothing_is_still_said_where_it_may_also_be_unknown() {
        let graphics = vec![Graphics { port: Some(0), ..Graphics::default() }];
        let domain = Domain { guest: Some(Guest::default()), since: Some(0), graphics, ..Domain::default() };
        let text = written(&domain);
        for part in [r#""guest":{}"#, r#""since":0"#, r#""graphics":[{"port":0}]"#] {
            assert!(text.contains(part), "{text}");
        }
        assert!(written(&VmStats { cpu_usage_percent: Some(0.0), ..VmStats::default() }).contains("Percent\":0.0"));
    }

    #[test]
    fn what_has_no_reader_that_fills_it_in_is_written_whole() {
        let fault = Fault::new(FaultKind::Busy, "");
        assert_eq!(written(&fault), serde_json::to_string(&fault).expect("names are the only keys"));
    }
}
