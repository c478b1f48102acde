//! Shortens refused requests, which can be repeated without limit and are recorded each time.

use model::Command;

/// The start of a text, in bytes.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A command with its texts and lists shortened.
pub(super) fn shortened(command: &Command) -> Command {
    fn shorten(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = cut(text, 48),
            serde_json::Value::Array(items) => {
                items.truncate(4);
                items.iter_mut().for_each(shorten);
            }
            serde_json::Value::Object(fields) => fields.values_mut().for_each(shorten),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(command).unwrap_or_default();
    shorten(&mut value);
    serde_json::from_value(value).unwrap_or_else(|_| command.clone())
}

#[cfg(test)]
mod tests {
    use model::{
        DomainCommand, PoolCommand,
        command::{Address, DefinePool, FetchVolume, SetDescription, SetTags, SetTitle},
        storage::PoolSpec,
    };

    use super::*;

    #[test]
    fn a_command_keeps_its_kind_and_little_else() {
        let long = || "ä".repeat(30_000);
        let spec = PoolSpec { name: long(), path: long(), host: long(), ..PoolSpec::default() };
        let commands: [Command; 4] = [
            DomainCommand::SetDescription(SetDescription { description: long() }).into(),
            DomainCommand::SetTags(SetTags { tags: vec![long(); 1_000] }).into(),
            PoolCommand::DefinePool(DefinePool { pool: spec, build: true, autostart: true }).into(),
            PoolCommand::FetchVolume(FetchVolume {
                name: long(),
                url: Address(format!("https://x/{}", long())),
                sha256: long(),
            })
            .into(),
        ];
        for command in commands {
            let short = shortened(&command);
            assert_eq!(short.kind(), command.kind());
            let text = serde_json::to_string(&short).expect("JSON");
            assert!(text.len() < 600, "{} {text}", text.len());
            assert_eq!(shortened(&short), short, "once is enough");
        }
        let plain: Command = DomainCommand::SetTitle(SetTitle { title: "web".into() }).into();
        assert_eq!(shortened(&plain), plain);
    }
}
