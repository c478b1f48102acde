//! Reads a command from form fields and writes it back, based on its argument declarations. Field
//! names are as in JSON, nested ones with a dot.

use serde_json::{Map, Value};

use super::{Command, DomainCommand, Field, Input, NetworkCommand, PoolCommand};
use crate::Fault;

/// The form field with the unit of a size. Without it a size is in bytes.
pub const UNIT: &str = "unit";
/// Size units in forms, with their bytes.
pub const UNITS: [(&str, u64); 3] = [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl Command {
    /// The command of a kind with the arguments of a form; `get` returns a field by name.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn from_form<'a>(kind: &str, get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Fault> {
        let fields = fields_of(kind).ok_or_else(|| Fault::invalid("do", "unknown command"))?;
        let mut all = Map::new();
        all.insert("kind".into(), kind.into());
        for field in fields {
            let value = read(field, get(field.name).unwrap_or_default(), get(UNIT))?;
            let (within, name) = field.name.rsplit_once('.').unwrap_or(("", field.name));
            let place = match within {
                "" => Some(&mut all),
                within => all.entry(within).or_insert_with(|| Map::new().into()).as_object_mut(),
            };
            place.map(|place| place.insert(name.into(), value));
        }
        let command: Self =
            serde_json::from_value(all.into()).map_err(|error| Fault::invalid("do", &error.to_string()))?;
        Ok(match command {
            Self::Domain(command) => Self::Domain(command.filled()),
            Self::Pool(command) => Self::Pool(command.filled()),
            Self::Network(command) => Self::Network(command.filled()),
        })
    }

    /// The arguments as form fields that `from_form` reads back; secrets are masked.
    pub fn form_fields(&self) -> Vec<(&'static str, String)> {
        let whole = serde_json::to_value(self).unwrap_or_default();
        let value = |name: &str| name.split('.').try_fold(&whole, |value, part| value.get(part));
        let fields = fields_of(self.kind()).unwrap_or_default();
        fields.iter().filter_map(|field| Some((field.name, written(value(field.name)?)?))).collect()
    }
}

/// The arguments of a kind; none if the kind is unknown.
pub fn fields_of(kind: &str) -> Option<&'static [Field]> {
    let domains = DomainCommand::ALL.iter().zip(DomainCommand::FIELDS);
    let pools = PoolCommand::ALL.iter().zip(PoolCommand::FIELDS);
    let mut all = domains.chain(pools).chain(NetworkCommand::ALL.iter().zip(NetworkCommand::FIELDS));
    all.find(|(about, _)| about.kind == kind).map(|(_, fields)| *fields)
}

/// A form value as JSON.
fn read(field: &Field, text: &str, unit: Option<&str>) -> Result<Value, Fault> {
    // Errors use the argument's own name.
    let name = field.name.rsplit('.').next().unwrap_or(field.name);
    Ok(match field.input {
        Input::Line(_) | Input::Choice => text.trim().into(),
        Input::Exact | Input::Secret => text.into(),
        // Browsers send line breaks of text areas as CR LF.
        Input::Lines => text.replace("\r\n", "\n").into(),
        Input::Number(..) => text.trim().parse::<u32>().map_err(|_| Fault::invalid(name, "must be a number"))?.into(),
        Input::Bytes => size(name, text.trim(), unit)?.into(),
        Input::Flag => matches!(text, "true" | "on" | "yes").into(),
        Input::Words => words(text).into(),
        Input::Ip => {
            let address: Result<std::net::IpAddr, _> = text.trim().parse();
            address.map_err(|_| Fault::invalid(name, "must be an IP address"))?.to_string().into()
        }
    })
}

/// The form value of an argument; none if it is not in a field.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        // An unchecked box sends nothing.
        Value::Bool(on) => on.then(|| "yes".to_owned()),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        Value::Null | Value::Object(_) => None,
    }
}

/// The words of a text, separated by blanks, commas or line breaks.
pub fn words(text: &str) -> Vec<String> {
    let between = |c: char| c == ',' || c.is_whitespace();
    text.split(between).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A size in bytes, from a number and a unit.
fn size(name: &str, text: &str, unit: Option<&str>) -> Result<u64, Fault> {
    let Some(unit) = unit else { return text.parse().map_err(|_| Fault::invalid(name, "must be a number")) };
    let number: f64 = text.replace(',', ".").parse().map_err(|_| Fault::invalid(name, "must be a number"))?;
    let factor = UNITS.iter().find(|(known, _)| *known == unit).map_or(1 << 30, |(_, factor)| *factor);
    // Sizes are rounded to whole MiB.
    let bytes = (number * factor as f64 / f64::from(1 << 20)).round() * f64::from(1 << 20);
    if bytes >= 1e19 {
        return Err(Fault::invalid(name, "exceeds the maximum"));
    }
    if !number.is_finite() || number <= 0.0 {
        return Err(Fault::invalid(name, "must be greater than 0"));
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{CloneVolume, DefinePool, FetchVolume, SetTags};

    fn command(kind: &str, fields: &[(&'static str, &'static str)]) -> Result<Command, Fault> {
        Command::from_form(kind, |name| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let size = |number: &'static str, unit: &'static str| super::size("size", number, Some(unit)).ok();
        assert_eq!(size("20", "GiB"), Some(20 << 30));
        assert_eq!(size("1.5", "GiB"), Some(3 << 29));
        assert_eq!(size("0,5", "TiB"), Some(1 << 39));
        assert_eq!(size("512", "MiB"), Some(512 << 20));
        for wrong in ["", "-1", "0", "nan", "inf", "1e300", "ten"] {
            assert_eq!(size(wrong, "GiB"), None, "{wrong:?}");
        }
        assert_eq!(super::size("size", "1048577", None), Ok(1_048_577), "bytes are not rounded");
    }

    #[test]
    fn every_kind_is_read_from_its_form_and_written_as_it_was() {
        for about in Command::all() {
            let value = |field: &Field| match field.input {
                _ if field.name == "pool.kind" => "fs".to_owned(),
                _ if field.name == "network.mode" => "open".to_owned(),
                Input::Number(least, _) => least.to_string(),
                Input::Bytes => "1048577".to_owned(),
                Input::Ip => "10.0.0.1".to_owned(),
                Input::Flag => "yes".to_owned(),
                _ => "a".to_owned(),
            };
            let fields: Vec<(&str, String)> =
                fields_of(about.kind).expect("known").iter().map(|field| (field.name, value(field))).collect();
            let get = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            let command =
                Command::from_form(about.kind, get).unwrap_or_else(|fault| panic!("{}: {fault:?}", about.kind));
            assert_eq!(command.kind(), about.kind);
            let again = command.form_fields();
            let get = |name: &str| again.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
            assert_eq!(Command::from_form(about.kind, get), Ok(command), "{}", about.kind);
            // Every argument in JSON has a field.
            let json = serde_json::to_value(Command::from_form(about.kind, get).expect("read")).expect("JSON");
            let arguments: usize = json
                .as_object()
                .expect("an object")
                .iter()
                .map(|(name, value)| match value {
                    _ if name == "kind" => 0,
                    Value::Object(within) => within.len(),
                    _ => 1,
                })
                .sum();
            assert_eq!(arguments, fields_of(about.kind).expect("known").len(), "{json}");
        }
        assert_eq!(command("explode", &[]).expect_err("unknown").field.as_deref(), Some("do"));
    }

    #[test]
    fn what_a_form_holds_is_read_as_it_is_meant() {
        let tags = vec!["prod".into(), "web".into(), "db".into()];
        assert_eq!(command("setTags", &[("tags", " prod,web  db,\n")]), Ok(SetTags { tags }.into()));
        // Existing volume names may have blanks at the ends, new ones may not.
        let clone = command("cloneVolume", &[("name", " a "), ("to", " b ")]);
        assert_eq!(clone, Ok(CloneVolume { name: " a ".into(), to: "b".into() }.into()));
        // Fields of another pool type are dropped.
        let pool = [("pool.name", "iso"), ("pool.kind", "dir"), ("pool.path", "/srv"), ("pool.device", "/dev/sda")];
        let Ok(Command::Pool(crate::PoolCommand::DefinePool(DefinePool { pool, build, .. }))) =
            command("definePool", &pool)
        else {
            panic!("it is read");
        };
        assert_eq!((pool.path.as_str(), pool.device.as_str(), build), ("/srv", "", false));
        let fetch = command("fetchVolume", &[("url", "https://example.org/a.iso?x"), ("sha256", "AB")]);
        let url = crate::command::Address("https://example.org/a.iso?x".into());
        assert_eq!(fetch, Ok(FetchVolume { name: "a.iso".into(), url, sha256: "ab".into() }.into()));
        let fault = command("removeDnsHost", &[("address", "nowhere")]).expect_err("no address");
        assert_eq!(fault.field.as_deref(), Some("address"));
    }
}
