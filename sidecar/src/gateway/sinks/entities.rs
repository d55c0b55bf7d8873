//! Services, routes and consumers as Kong's log object shows them.

use crate::gateway::Id;
use crate::gateway::entity::{Consumer, Entities, PathHandling, Peer, Plugin, Route, Service};
use crate::sink::Redactor;
use crate::sink::kong::{Entity, Known};
use serde_json::{Map, Value as Json, json};

/// The one workspace.
const WORKSPACE: &str = "0dc6f45b-8f8d-40d2-a504-473544ee190b";

/// Everybody that commands may belong to, and what of a command is a credential.
pub(super) fn known(entities: &Entities) -> Known {
    let ids = |place: &usize| entities.consumer_groups.get(*place).map(|g| (&g.name, g.id.number()));
    let services = entities.services.iter().map(|s| {
        let json = service(entities, s).to_string().into();
        (s.id.number(), entity(s.id, json, s.name.as_deref(), Some(&s.host)))
    });
    let routes = entities.routes.iter().map(|r| {
        let json = route(entities, r).to_string().into();
        (r.id.number(), entity(r.id, json, r.name.as_deref(), None))
    });
    let consumers = entities.consumers.iter().map(|c| {
        let mut groups: Vec<_> = c.groups.iter().filter_map(ids).collect();
        groups.sort();
        let groups = groups.into_iter().map(|(_, id)| id).collect();
        let json = consumer(c).to_string().into();
        let named = entity(c.id, json, c.username.as_deref(), c.custom_id.as_deref());
        (c.id.number(), Entity { groups, ..named })
    });
    let (headers, query) = secrets(&entities.plugins);
    Known {
        services: services.collect(),
        routes: routes.collect(),
        consumers: consumers.collect(),
        redactor: Redactor::new(&headers, &query, &[]),
        correlation: correlation(&entities.plugins),
    }
}

fn entity(id: Id, json: Box<str>, name: Option<&str>, other: Option<&str>) -> Entity {
    Entity {
        json,
        id: id.to_string().into(),
        name: name.map(Box::from),
        other: other.map(Box::from),
        groups: Vec::new(),
    }
}

/// Without what is not set, as Kong's objects are.
fn tidy(json: Json) -> Json {
    match json {
        Json::Object(map) => {
            let set = |(_, value): &(String, Json)| match value {
                Json::Null => false,
                Json::Array(all) => !all.is_empty(),
                Json::Object(all) => !all.is_empty(),
                _ => true,
            };
            Json::Object(map.into_iter().filter(set).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn service(entities: &Entities, s: &Service) -> Json {
    let authorities: Option<Vec<String>> = s
        .ca_certificates
        .as_ref()
        .map(|all| all.iter().filter_map(|at| entities.ca_certificates.get(*at)).map(|ca| ca.id.to_string()).collect());
    let certificate = s.client_certificate.and_then(|at| entities.certificates.get(at));
    tidy(json!({
        "id": s.id.to_string(),
        "name": s.name,
        "enabled": s.enabled,
        "protocol": s.protocol.as_str(),
        "host": s.host,
        "port": s.port,
        "path": s.path,
        "retries": s.retries,
        "connect_timeout": s.connect_timeout,
        "write_timeout": s.write_timeout,
        "read_timeout": s.read_timeout,
        "tls_verify": s.tls_verify,
        "tls_verify_depth": s.tls_verify_depth,
        "ca_certificates": authorities,
        "client_certificate": certificate.map(|c| json!({"id": c.id.to_string()})),
        "tags": s.tags,
        "ws_id": WORKSPACE,
    }))
}

fn route(entities: &Entities, r: &Route) -> Json {
    let headers: Map<String, Json> = r.headers.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
    let protocols: Vec<&str> = r.protocols.iter().map(|p| p.as_str()).collect();
    tidy(json!({
        "id": r.id.to_string(),
        "name": r.name,
        "service": r.service.and_then(|at| entities.services.get(at)).map(|s| json!({"id": s.id.to_string()})),
        "protocols": protocols,
        "hosts": r.hosts,
        "paths": r.paths,
        "methods": r.methods,
        "headers": headers,
        "snis": r.snis,
        "sources": r.sources.iter().map(peer).collect::<Vec<_>>(),
        "destinations": r.destinations.iter().map(peer).collect::<Vec<_>>(),
        "regex_priority": r.regex_priority,
        "strip_path": r.strip_path,
        "preserve_host": r.preserve_host,
        "https_redirect_status_code": r.https_redirect_status_code,
        "path_handling": match r.path_handling {
            PathHandling::V0 => "v0",
            PathHandling::V1 => "v1",
        },
        "request_buffering": r.request_buffering,
        "response_buffering": r.response_buffering,
        "tags": r.tags,
        "ws_id": WORKSPACE,
    }))
}

fn peer(peer: &Peer) -> Json {
    tidy(json!({"ip": peer.ip.map(|ip| ip.to_string()), "port": peer.port}))
}

fn consumer(c: &Consumer) -> Json {
    tidy(json!({
        "id": c.id.to_string(),
        "username": c.username,
        "custom_id": c.custom_id,
        "tags": c.tags,
        "ws_id": WORKSPACE,
    }))
}

/// Under which names of headers and parameters callers send credentials, beside the usual ones.
fn secrets(plugins: &[Plugin]) -> (Vec<String>, Vec<String>) {
    let (mut headers, mut query) = (Vec::new(), Vec::new());
    let texts = |plugin: &Plugin, key: &str| -> Vec<String> {
        let all = plugin.config.get(key).and_then(Json::as_array).into_iter().flatten();
        all.filter_map(Json::as_str).map(str::to_owned).collect()
    };
    for plugin in plugins {
        match plugin.name.as_str() {
            "key-auth" => {
                headers.extend(texts(plugin, "key_names"));
                query.extend(texts(plugin, "key_names"));
            }
            "jwt" => {
                headers.extend(texts(plugin, "header_names"));
                // What stands there when nothing is said.
                query.push("jwt".to_owned());
                query.extend(texts(plugin, "uri_param_names"));
            }
            _ => {}
        }
    }
    (headers, query)
}

/// The headers of `correlation-id`, in lower case.
fn correlation(plugins: &[Plugin]) -> Vec<String> {
    let mine = plugins.iter().filter(|p| p.enabled && p.name == "correlation-id");
    let header =
        |p: &Plugin| p.config.get("header_name").and_then(Json::as_str).unwrap_or("Kong-Request-ID").to_owned();
    mine.map(header).map(|name| name.to_ascii_lowercase()).collect()
}
