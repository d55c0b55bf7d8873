//! Who may call: the consumers of a file and what they prove themselves by, ready to be looked up.

use super::entity::Entities;
use crate::exchange::Consumer;
use std::collections::HashMap;
use std::sync::Arc;

/// Consumers and their credentials.
#[derive(Default)]
pub struct People {
    /// In the order of the file.
    pub consumers: Box<[Arc<Consumer>]>,
    /// By name and by id.
    names: HashMap<Arc<str>, u32>,
}

impl People {
    /// Those of a file.
    pub fn new(entities: &Entities) -> People {
        let mut acls: Vec<Vec<Arc<str>>> = vec![Vec::new(); entities.consumers.len()];
        for acl in &entities.credentials.groups {
            if let Some(of) = acls.get_mut(acl.consumer) {
                of.push(acl.group.as_str().into());
            }
        }
        let consumers: Box<[Arc<Consumer>]> = entities
            .consumers
            .iter()
            .zip(acls)
            .enumerate()
            .map(|(place, (c, acls))| {
                Arc::new(Consumer {
                    id: c.id.to_string().into(),
                    username: c.username.as_deref().map(Arc::from),
                    custom_id: c.custom_id.as_deref().map(Arc::from),
                    place: u32::try_from(place).unwrap_or(u32::MAX),
                    acls: acls.into(),
                    groups: c.groups.iter().filter_map(|g| u32::try_from(*g).ok()).collect(),
                })
            })
            .collect();
        let mut names = HashMap::new();
        for consumer in &consumers {
            names.insert(consumer.id.clone(), consumer.place);
        }
        for consumer in &consumers {
            if let Some(name) = &consumer.username {
                names.insert(name.clone(), consumer.place);
            }
        }
        People { consumers, names }
    }

    /// The consumer of that name or id: what `anonymous` says.
    pub fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.consumers.get(usize::try_from(*self.names.get(name)?).ok()?)
    }
}
