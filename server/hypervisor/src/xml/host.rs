//! `<capabilities>` and the little of `<network>` that reading addresses needs.

use roxmltree::Document;

use super::{child, child_text};

/// What capabilities tell of a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Processor architecture.
    pub(crate) arch: String,
    /// Processor model.
    pub(crate) cpu_model: String,
    /// Whether KVM guests are offered.
    pub(crate) kvm: bool,
}

/// Reads capabilities; what is missing stays empty.
pub(crate) fn capabilities(text: &str) -> Capabilities {
    let Ok(document) = Document::parse(text) else { return Capabilities::default() };
    let cpu = child(document.root_element(), "host").and_then(|host| child(host, "cpu"));
    let of_cpu = |name: &str| cpu.map(|cpu| child_text(cpu, name)).unwrap_or_default();
    let kvm = document.descendants().any(|node| node.has_tag_name("domain") && node.attribute("type") == Some("kvm"));
    Capabilities { arch: of_cpu("arch"), cpu_model: of_cpu("model"), kvm }
}

/// Whether a network gives its guests addresses, so that asking for them is safe
/// on the test driver.
pub(crate) fn network_has_addresses(text: &str) -> bool {
    Document::parse(text).is_ok_and(|document| child(document.root_element(), "ip").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_tell_architecture_model_and_kvm() {
        let text = "<capabilities><host><cpu><arch>x86_64</arch><model>EPYC</model></cpu></host>\
                    <guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>";
        let expected = Capabilities { arch: "x86_64".into(), cpu_model: "EPYC".into(), kvm: true };
        assert_eq!(capabilities(text), expected);
        assert_eq!(capabilities("<"), Capabilities::default());
    }

    #[test]
    fn a_network_without_addresses_is_recognised() {
        assert!(network_has_addresses("<network><ip address='192.168.1.1'/></network>"));
        assert!(!network_has_addresses("<network><bridge name='br0'/></network>"));
    }
}
