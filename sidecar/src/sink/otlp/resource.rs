//! Who sends: the resource of every request, and the scope of every record.

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource as Detected;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};
use std::io::Read;
use std::sync::OnceLock;

/// Attribute names of OpenTelemetry's semantic conventions.
mod key {
    pub(super) const SERVICE_NAME: &str = "service.name";
    pub(super) const SERVICE_VERSION: &str = "service.version";
    pub(super) const SERVICE_INSTANCE: &str = "service.instance.id";
    pub(super) const ENVIRONMENT: &str = "deployment.environment.name";
    pub(super) const HOST_NAME: &str = "host.name";
    pub(super) const CONTAINER: &str = "container.id";
}

/// Bytes of a file of /proc that are looked at.
const PROC_MAX: u64 = 64 << 10;
/// Digits of a container's id.
const CONTAINER_DIGITS: usize = 64;

/// What the configuration says of who sends; an empty text is not told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) service: &'a str,
    /// The tag `version`.
    pub(super) version: Option<&'a str>,
    pub(super) env: &'a str,
    pub(super) hostname: &'a str,
    /// Further attributes, which win.
    pub(super) more: &'a [(String, String)],
}

/// The resource: what the configuration says, what the container says, what `OTEL_RESOURCE_ATTRIBUTES` adds (it wins
/// over nothing that the configuration says), and the library's own name.
pub(super) fn resource(said: Said<'_>) -> Resource {
    let mut detected = Detected::builder_empty()
        .with_attribute(KeyValue::new(key::SERVICE_INSTANCE, instance()))
        .with_detectors(&detectors());
    let container = container();
    for (key, value) in [
        (key::SERVICE_NAME, Some(said.service)),
        (key::SERVICE_VERSION, said.version),
        (key::ENVIRONMENT, Some(said.env)),
        (key::HOST_NAME, Some(said.hostname)),
        (key::CONTAINER, container),
    ] {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            detected = detected.with_attribute(KeyValue::new(key, value.to_owned()));
        }
    }
    for (key, value) in said.more {
        detected = detected.with_attribute(KeyValue::new(key.clone(), value.clone()));
    }
    let mut attributes = ResourceAttributesWithSchema::from(&detected.build()).attributes.0;
    // The SDK keeps them in a hash map: without an order no two requests would be alike.
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    Resource { attributes, ..Resource::default() }
}

fn detectors() -> [Box<dyn ResourceDetector>; 2] {
    [Box::new(EnvResourceDetector::new()), Box::new(TelemetryResourceDetector)]
}

/// Who wrote the records.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "fourmi".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// A random UUID (version 4), as the conventions recommend: the same for all signals, as long as this process lives.
fn instance() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let n = (fastrand::u128(..) & !(0xf << 76) & !(3 << 62)) | (4 << 76) | (2 << 62);
        let digits = format!("{n:032x}");
        format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
    })
    .clone()
}

/// The id of the container that this process runs in, when the kernel's files show it: the control group's name
/// (version 1), or the place of a file that the engine mounts (version 2).
fn container() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    ID.get_or_init(|| {
        let in_group = beginning("/proc/self/cgroup").and_then(|text| text.lines().find_map(id_in));
        in_group.or_else(|| {
            let mounts = beginning("/proc/self/mountinfo")?;
            // Other mounts have ids of images and volumes.
            mounts.lines().filter(|l| l.contains("/etc/hostname ") && l.contains("containers/")).find_map(id_in)
        })
    })
    .as_deref()
}

fn beginning(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(PROC_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last run of exactly 64 hexadecimal digits.
fn id_in(line: &str) -> Option<String> {
    let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    line.rsplit(|c| !digit(c)).find(|run| run.len() == CONTAINER_DIGITS).map(str::to_owned)
}

/// For tests of what is around it.
#[cfg(test)]
pub(super) fn of(service: &str) -> Resource {
    resource(Said { service, version: None, env: "", hostname: "", more: &[] })
}

/// One attribute of a resource, as text.
#[cfg(test)]
pub(super) fn value<'a>(
    resource: &'a Resource,
    key: &str,
) -> Option<&'a opentelemetry_proto::tonic::common::v1::AnyValue> {
    resource.attributes.iter().find(|a| a.key == key)?.value.as_ref()
}

#[cfg(test)]
mod tests {
    use super::super::attributes::text;
    use super::*;

    #[test]
    fn a_resource_says_who_where_and_with_what() {
        let made =
            resource(Said { service: "payment", version: Some("1.2"), env: "prod", hostname: "pay-3", more: &[] });
        for (key, expected) in [
            ("service.name", "payment"),
            ("service.version", "1.2"),
            ("deployment.environment.name", "prod"),
            ("host.name", "pay-3"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "opentelemetry"),
        ] {
            assert_eq!(value(&made, key), text(key, expected).value.as_ref(), "{key}");
        }
        assert_eq!(
            made,
            resource(Said { service: "payment", version: Some("1.2"), env: "prod", hostname: "pay-3", more: &[] })
        );
        let bare = of("x");
        assert!(value(&bare, "host.name").is_none() && value(&bare, "service.version").is_none());
        let id = instance();
        assert_eq!((id.len(), id.as_bytes()[14], id.matches('-').count()), (36, b'4', 4), "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }

    #[test]
    fn a_containers_id_is_found_in_both_kinds_of_files() {
        let id = "0123456789abcdef".repeat(4);
        for line in [
            format!("11:pids:/docker/{id}"),
            format!("0::/kubepods.slice/pod1.slice/cri-containerd-{id}.scope"),
            format!("703 678 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw"),
        ] {
            assert_eq!(id_in(&line), Some(id.clone()), "{line}");
        }
        assert_eq!(id_in(&format!("0::/user.slice/{id}0")), None);
    }
}
