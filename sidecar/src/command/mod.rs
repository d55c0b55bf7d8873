//! Which command is this? Name, id, tags and parent, from headers, CloudEvents, framework codecs,
//! JSON pointers or the route.

/// How commands are identified; compiled once from `commands.identify`.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// JSON pointer of the name (RFC 6901).
    pub name: Option<String>,
    /// JSON pointer of the id.
    pub id: Option<String>,
    /// Tag key -> JSON pointer.
    pub tags: Vec<(std::sync::Arc<str>, String)>,
    /// The envelope of a framework.
    pub codec: Option<Codec>,
}

/// Envelopes of PHP frameworks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Symfony Messenger: header `type`.
    Symfony,
    /// Laravel queue: `/displayName`, `/uuid`.
    Laravel,
    /// prooph: `/message_name`, `/uuid`.
    Prooph,
    /// Bernard: `/name` or `/class`.
    Bernard,
    /// SimpleBus: `message_type`.
    SimpleBus,
}
