//! What buttons do without JavaScript, and with it where a page is drawn by the server: a
//! form becomes a command. The page comes back with the result; a script that asks for JSON
//! gets the ids of its requests at once.

use std::{net::IpAddr, sync::Arc, time::Duration};

use app::{backend::Refused, routes};
use axum::{
    Extension, Form, Json,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::future::join_all;
use model::{
    Command, CommandRequest, DomainCommand, DomainRef, Fault, FaultKind, HostId, NetworkCommand, Origin, PoolCommand,
    RequestId, Source,
    command::{Address, Secret},
    network::NetworkSpec,
    storage::{PoolSpec, VolumeSpec},
};
use serde_json::json;
use uuid::Uuid;

use super::{Failed, door::Admitted, pages::Pages};
use crate::sight::Sight;

/// How long a form waits for its command to end before the page comes back.
pub(super) const FORM_WAIT: Duration = Duration::from_secs(8);
/// Machines in one form.
const MAX_BATCH: usize = 200;
/// What every form of a command has; whatever else there is are the command's own fields.
const OF_THE_FORM: [&str; 6] = ["token", "do", "back", "from", "confirm", "select"];

/// The fields of a form.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// The last one of that name: a button comes after all fields.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn address(&self) -> Result<IpAddr, Fault> {
        self.text("address").parse().map_err(|_| Fault::invalid("address", "it is an IP address"))
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().trim().to_owned()
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "on" | "yes"))
    }

    /// A size: a number, and its unit in a field of its own.
    fn size(&self, name: &str) -> Result<u64, Fault> {
        let text = self.text(name).replace(',', ".");
        let number: f64 = text.parse().map_err(|_| Fault::invalid(name, "it is a number"))?;
        let factor = match self.get("unit") {
            Some("MiB") => 1_u64 << 20,
            Some("TiB") => 1 << 40,
            _ => 1 << 30,
        };
        // A rest of a mebibyte is nothing that anybody means.
        let bytes = (number * factor as f64 / f64::from(1 << 20)).round() * f64::from(1 << 20);
        if !number.is_finite() || number <= 0.0 || bytes >= 1e19 {
            return Err(Fault::invalid(name, "it is a size greater than nothing"));
        }
        Ok(bytes as u64)
    }

    /// The command's own fields, as they stand in an address.
    fn own(&self) -> Vec<(&str, &str)> {
        let own = self.0.iter().filter(|(name, _)| !OF_THE_FORM.contains(&name.as_str()));
        own.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// What is meant. What is new gets an id that the same form makes again.
    fn targets(&self, kind: &str, target: &str, token: Uuid) -> Result<Vec<DomainRef>, Fault> {
        let targets: Result<Vec<DomainRef>, String> = match target {
            "selected" => {
                let ticked = self.0.iter().filter(|(key, _)| key == "select");
                ticked.map(|(_, value)| value.parse()).collect()
            }
            "new" => {
                let id = Uuid::new_v5(&token, format!("new {kind}").as_bytes());
                self.text("host").parse::<HostId>().map(|host| vec![DomainRef { host, id }])
            }
            one => one.parse().map(|target| vec![target]),
        };
        let targets = targets.map_err(|why| Fault::invalid("target", &why))?;
        match targets.len() {
            0 => Err(Fault::invalid("select", "no machine was selected; go back and tick some")),
            1..=MAX_BATCH => Ok(targets),
            _ => Err(Fault::invalid("select", "at most 200 machines at once without JavaScript")),
        }
    }
}

/// `POST /commands`: what buttons do without JavaScript. The page comes back
/// with the result of each machine; what loses something is confirmed first.
pub(crate) async fn form(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    Extension(pages): Extension<Arc<Pages>>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fault = match take(sight, origin, &fields, accepts == "application/json").await {
        Ok(answer) => return answer,
        Err(fault) => fault,
    };
    if !accepts.contains("text/html") {
        return Failed(fault).into_response();
    }
    // People get the page of the form, with what they typed.
    let page = super::back_to(fields.get("from").or_else(|| fields.get("back")), routes::VMS);
    let wish = fields.get("do").unwrap_or_default().to_owned();
    let back = match wish.split_once('@').map_or("", |(kind, _)| kind) {
        kind if PoolCommand::KINDS.contains(&kind) => routes::STORAGE,
        kind if NetworkCommand::KINDS.contains(&kind) => routes::NETWORKS,
        _ => routes::VMS,
    };
    let refused = Refused { wish, fields: fields.0, fault };
    pages.refused((&page, back), &headers, &admitted.visit(), refused).await
}

async fn take(sight: Sight, origin: Origin, fields: &Fields, scripted: bool) -> Result<Response, Fault> {
    let token: Uuid = fields
        .get("token")
        .and_then(|token| token.parse().ok())
        .ok_or_else(|| Fault::invalid("token", "the form is damaged; load the page again"))?;
    let (kind, target) = fields
        .get("do")
        .and_then(|wish| wish.split_once('@'))
        .ok_or_else(|| Fault::invalid("do", "no action was chosen"))?;
    sight.backend.may_send(&origin)?;
    let (command, targets) = (wanted(kind, fields)?, fields.targets(kind, target, token)?);
    sight.backend.may_send_parts(&origin, targets.len())?;
    let back = super::back_to(fields.get("back"), routes::VMS);
    let hosts = sight.backend.feed().snapshot().hosts;
    let name_of = |id: &DomainRef| command.target_name(hosts.hosts.get(&id.host)?, id.id);
    let names: Vec<String> = targets.iter().filter_map(name_of).collect();
    let typed = command.typed(names.first().map_or("", String::as_str), targets.len());
    let said = fields.get("confirm");
    let confirmed = said.is_some_and(|said| typed.as_ref().is_none_or(|typed| said.trim() == typed));
    if command.asks(targets.len()).is_some() && !confirmed {
        let confirm = routes::confirm(kind, &targets, &back, &fields.own());
        return Ok(match scripted {
            true => Json(json!({ "confirm": confirm })).into_response(),
            false => Redirect::to(&confirm).into_response(),
        });
    }
    for target in &targets {
        sight.target(&command, target)?;
    }
    let source = if scripted { Source::Page } else { Source::Form };
    let (origin, backend) = (Origin { source, ..origin }, &sight.backend);
    let label = command.label();
    // The same form sent twice makes the same ids, and so has one effect.
    let wish = format!("{kind}@{target} {:?}", fields.own());
    let sent = targets.into_iter().map(|target| {
        let request_id = RequestId(Uuid::new_v5(&token, format!("{wish} {target}").as_bytes()));
        let request = CommandRequest::new(request_id, &target, command.clone());
        let origin = origin.clone();
        async move {
            match backend.accept(request, origin).await {
                Ok(_) if scripted => {}
                Ok(_) => backend.wait(request_id, FORM_WAIT).await,
                Err(fault) if scripted => return Err(fault),
                // What was never written down cannot be shown by its id.
                Err(fault) if fault.kind == FaultKind::InsufficientStorage => return Err(fault),
                // Another refusal is remembered with the id and shown like any other result.
                Err(_) => {}
            }
            Ok(request_id)
        }
    });
    let ids: Vec<RequestId> = join_all(sent).await.into_iter().collect::<Result<_, _>>()?;
    // A form with fields is kept until it works; what a button did is told on the page.
    let kept = !scripted && said.is_none() && !fields.own().is_empty();
    if let ([id], true) = (&ids[..], kept)
        && let Some(Err(fault)) = backend.done(*id).and_then(|done| done.outcome)
    {
        return Err(fault);
    }
    if scripted {
        let answer = json!({ "requestIds": ids, "label": label, "done": command.done(), "name": names.join(", ") });
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    Ok(Redirect::to(&routes::with_results(&back, &ids)).into_response())
}

/// The command that a form asks for.
fn wanted(kind: &str, fields: &Fields) -> Result<Command, Fault> {
    if PoolCommand::KINDS.contains(&kind) {
        return of_pool(kind, fields).map(Command::from);
    }
    if NetworkCommand::KINDS.contains(&kind) {
        return of_network(kind, fields).map(Command::from);
    }
    let text = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let command = match kind {
        "setAutostart" => DomainCommand::SetAutostart { enabled: fields.is_on("enabled") },
        "rename" => DomainCommand::Rename { name: text("name") },
        "setTitle" => DomainCommand::SetTitle { title: text("title") },
        // Browsers send line breaks of text areas as CR LF.
        "setDescription" => DomainCommand::SetDescription { description: text("description").replace("\r\n", "\n") },
        "syncTime" => DomainCommand::SyncTime {},
        "trimFileSystems" => DomainCommand::TrimFileSystems {},
        "freezeFileSystems" => {
            DomainCommand::FreezeFileSystems { seconds: fields.text("seconds").parse().unwrap_or_default() }
        }
        "thawFileSystems" => DomainCommand::ThawFileSystems {},
        "addSshKey" => DomainCommand::AddSshKey { user: text("user"), key: fields.text("key") },
        "removeSshKey" => DomainCommand::RemoveSshKey { user: text("user"), key: text("key") },
        "setGuestPassword" => {
            DomainCommand::SetGuestPassword { user: text("user"), password: Secret(text("password")) }
        }
        "setTags" => DomainCommand::SetTags { tags: app::format::tags(&text("tags")) },
        other => DomainCommand::button(other).ok_or_else(unknown)?,
    };
    Ok(command.into())
}

fn unknown() -> Fault {
    Fault::invalid("do", "there is no such action")
}

fn of_pool(kind: &str, fields: &Fields) -> Result<PoolCommand, Fault> {
    let text = |name: &str| fields.text(name);
    Ok(match kind {
        "startPool" => PoolCommand::StartPool {},
        "stopPool" => PoolCommand::StopPool {},
        "refreshPool" => PoolCommand::RefreshPool {},
        "buildPool" => PoolCommand::BuildPool {},
        "setPoolAutostart" => PoolCommand::SetPoolAutostart { enabled: fields.is_on("enabled") },
        "definePool" => {
            let kind = text("type");
            let [path, host, folder, device, group] = PoolSpec::needs(&kind);
            // What was written for another type is not meant.
            let needed = |needed: bool, field: &str| if needed { text(field) } else { String::new() };
            let pool = PoolSpec {
                name: text("name"),
                kind,
                path: needed(path, "path"),
                host: needed(host, "server"),
                folder: needed(folder, "folder"),
                device: needed(device, "device"),
                group: needed(group, "group"),
            };
            PoolCommand::DefinePool { pool, build: fields.is_on("build"), autostart: fields.is_on("autostart") }
        }
        "deletePool" => PoolCommand::DeletePool { content: fields.is_on("content") },
        "createVolume" => {
            let volume = VolumeSpec {
                name: text("name"),
                capacity_bytes: fields.size("size")?,
                format: text("format"),
                preallocate: fields.is_on("preallocate"),
                backing: text("backing"),
                backing_format: text("backingFormat"),
            };
            PoolCommand::CreateVolume { volume }
        }
        // Its content does not come by a form.
        "uploadVolume" => PoolCommand::UploadVolume { name: text("name"), capacity_bytes: fields.size("size")? },
        "fetchVolume" => {
            let (url, name) = (text("url"), text("name"));
            let name = if name.is_empty() { PoolCommand::name_at(&url).to_owned() } else { name };
            PoolCommand::FetchVolume { name, url: Address(url), sha256: text("sha256").to_ascii_lowercase() }
        }
        // Names of volumes may have blanks at their ends.
        "deleteVolume" => PoolCommand::DeleteVolume { name: fields.get("volume").unwrap_or_default().to_owned() },
        "resizeVolume" => {
            let name = fields.get("volume").unwrap_or_default().to_owned();
            PoolCommand::ResizeVolume { name, capacity_bytes: fields.size("size")? }
        }
        "cloneVolume" => {
            PoolCommand::CloneVolume { name: fields.get("volume").unwrap_or_default().to_owned(), to: text("name") }
        }
        "wipeVolume" => PoolCommand::WipeVolume { name: fields.get("volume").unwrap_or_default().to_owned() },
        _ => return Err(unknown()),
    })
}

fn of_network(kind: &str, fields: &Fields) -> Result<NetworkCommand, Fault> {
    let text = |name: &str| fields.text(name);
    Ok(match kind {
        "startNetwork" => NetworkCommand::StartNetwork {},
        "stopNetwork" => NetworkCommand::StopNetwork {},
        "setNetworkAutostart" => NetworkCommand::SetNetworkAutostart { enabled: fields.is_on("enabled") },
        "deleteNetwork" => NetworkCommand::DeleteNetwork {},
        "defineNetwork" => {
            let network = NetworkSpec {
                name: text("name"),
                mode: text("mode"),
                bridge: text("bridge"),
                device: text("device"),
                ipv4: text("ipv4"),
                dhcp_first: text("dhcpFirst"),
                dhcp_last: text("dhcpLast"),
                ipv6: text("ipv6"),
                dhcp6_first: text("dhcp6First"),
                dhcp6_last: text("dhcp6Last"),
                domain: text("domain"),
            };
            NetworkCommand::DefineNetwork { network, autostart: fields.is_on("autostart") }
        }
        "setStaticHost" => {
            let (mac, address) = (text("mac").to_ascii_lowercase(), fields.address()?);
            NetworkCommand::SetStaticHost { mac, address, name: text("name") }
        }
        "removeStaticHost" => NetworkCommand::RemoveStaticHost { mac: text("mac"), address: fields.address()? },
        "setDnsHost" => {
            let names = text("names").split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            NetworkCommand::SetDnsHost { address: fields.address()?, names }
        }
        "removeDnsHost" => NetworkCommand::RemoveDnsHost { address: fields.address()? },
        _ => return Err(unknown()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        let size = |number: &str, unit: &str| fields(&[("size", number), ("unit", unit)]).size("size").ok();
        assert_eq!(size("20", "GiB"), Some(20 << 30));
        assert_eq!(size("1.5", "GiB"), Some(3 << 29));
        assert_eq!(size("0,5", "TiB"), Some(1 << 39));
        assert_eq!(size("512", "MiB"), Some(512 << 20));
        for wrong in ["", "-1", "0", "nan", "inf", "1e300", "ten"] {
            assert_eq!(size(wrong, "GiB"), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_kind_has_a_form() {
        let all = fields(&[("size", "1"), ("address", "10.0.0.1")]);
        for kind in PoolCommand::KINDS.iter().chain(&NetworkCommand::KINDS) {
            assert_eq!(wanted(kind, &all).expect("known").kind(), *kind);
        }
        for kind in [
            "syncTime",
            "trimFileSystems",
            "freezeFileSystems",
            "thawFileSystems",
            "addSshKey",
            "removeSshKey",
            "setGuestPassword",
            "setAutostart",
            "rename",
            "setTitle",
            "setDescription",
            "setTags",
            "start",
        ] {
            assert_eq!(wanted(kind, &all).expect("known").kind(), kind);
        }
        assert!(wanted("explode", &all).is_err());
    }

    #[test]
    fn what_is_new_gets_the_same_id_from_the_same_form() {
        let (all, token) = (fields(&[("host", "atlas")]), Uuid::from_u128(1));
        let target = |kind| all.targets(kind, "new", token).expect("one").remove(0);
        assert_eq!(target("definePool"), target("definePool"));
        assert_ne!(target("definePool"), target("defineNetwork"));
        assert!(fields(&[("host", "a/b")]).targets("definePool", "new", token).is_err());
    }
}
