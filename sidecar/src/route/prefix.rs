//! Which of many texts another text begins with: a radix tree, walked once along the text however many there are.
//! Given the bytes backwards it answers which texts it ends with.

struct Node {
    /// The bytes from the parent to here.
    edge: Box<[u8]>,
    /// What the caller keeps here, if a text ends here.
    value: Option<u32>,
    /// First byte of the child's edge, and the child; sorted.
    children: Vec<(u8, usize)>,
}

/// Texts, each with a number.
pub(super) struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node::new(&[], None)] }
    }
}

impl Node {
    fn new(edge: &[u8], value: Option<u32>) -> Node {
        Node { edge: edge.into(), value, children: Vec::new() }
    }
}

impl Tree {
    /// The number of `text`; `fresh` if it is new.
    pub(super) fn insert(&mut self, text: &[u8], fresh: u32) -> u32 {
        let mut at = 0;
        let mut rest = text;
        loop {
            let Some(&first) = rest.first() else {
                return *self.nodes[at].value.get_or_insert(fresh);
            };
            let place = match self.nodes[at].children.binary_search_by_key(&first, |c| c.0) {
                Ok(place) => place,
                Err(place) => {
                    let leaf = self.push(Node::new(rest, Some(fresh)));
                    self.nodes[at].children.insert(place, (first, leaf));
                    return fresh;
                }
            };
            let child = self.nodes[at].children[place].1;
            let edge = &self.nodes[child].edge;
            let common = edge.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < edge.len() {
                let (upper, lower) = edge.split_at(common);
                let mut middle = Node::new(upper, None);
                let lower: Box<[u8]> = lower.into();
                middle.children.push((lower[0], child));
                self.nodes[child].edge = lower;
                let middle = self.push(middle);
                self.nodes[at].children[place].1 = middle;
                at = middle;
            } else {
                at = child;
            }
            rest = &rest[common..];
        }
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Visits the number of every text that `bytes` begin with, shortest first. Tells how many nodes it saw.
    pub(super) fn walk(&self, mut bytes: impl Iterator<Item = u8>, mut visit: impl FnMut(u32)) -> u32 {
        let mut seen = 0;
        let mut at = self.nodes.first();
        while let Some(node) = at {
            seen += 1;
            if let Some(value) = node.value {
                visit(value);
            }
            at = bytes.next().and_then(|first| {
                let place = node.children.binary_search_by_key(&first, |c| c.0).ok()?;
                let child = self.nodes.get(node.children.get(place)?.1)?;
                child.edge.iter().skip(1).all(|b| bytes.next() == Some(*b)).then_some(child)
            });
        }
        seen
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes[0].value.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn finds_what_a_scan_finds(texts in proptest::collection::vec("[ab/]{0,6}", 0..40), asked in "[ab/]{0,12}") {
            let mut tree = Tree::default();
            let mut known: Vec<&str> = Vec::new();
            for text in &texts {
                let fresh = known.len() as u32;
                if tree.insert(text.as_bytes(), fresh) == fresh {
                    known.push(text);
                }
            }
            prop_assert_eq!(tree.is_empty(), texts.is_empty());
            let mut found = Vec::new();
            let seen = tree.walk(asked.bytes(), |n| found.push(known[n as usize]));
            prop_assert!(seen as usize <= asked.len() + 1);
            let mut expected: Vec<&str> = known.iter().copied().filter(|t| asked.starts_with(t)).collect();
            expected.sort_by_key(|t| t.len());
            prop_assert_eq!(found, expected);
        }
    }
}
