//! The content pack for Graylog, which cannot be run here: all of it hangs together, and asks for fields that there are.

use super::{folder, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The fields of a record as Graylog shows them, from the page on logs.
fn fields() -> BTreeSet<String> {
    let page = std::fs::read_to_string(folder().join("../docs/logs.md")).unwrap();
    let names = regex::Regex::new(r"`_?([a-z_]+)`").unwrap();
    let rows = page.lines().filter(|l| l.starts_with("| `"));
    let cells = rows.filter_map(|l| l.split('|').nth(1));
    let named = cells.flat_map(|cell| names.captures_iter(cell).map(|f| f[1].to_owned()).collect::<Vec<_>>());
    named.chain(["timestamp".to_owned()]).collect()
}

#[test]
fn the_content_pack_hangs_together() {
    let pack = std::fs::read_to_string(folder().join("graylog/content-pack.json")).unwrap();
    let pack: Value = serde_json::from_str(&pack).unwrap();
    assert_eq!((text(&pack, "v"), pack["rev"].as_u64()), ("1", Some(1)));
    let entities = pack["entities"].as_array().unwrap();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids = BTreeSet::from([text(&pack, "id")]);
    for entity in entities {
        assert!(ids.insert(text(entity, "id")), "id twice: {}", entity["id"]);
        *kinds.entry(text(&entity["type"], "name")).or_default() += 1;
    }
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let streams: BTreeSet<&str> =
        entities.iter().filter(|e| e["type"]["name"] == "stream").map(|e| text(e, "id")).collect();
    let known = fields();
    let names = regex::Regex::new(r"([a-z_]+):").unwrap();
    let mut widgets = 0;
    for entity in entities {
        let data = &entity["data"];
        for rule in data["stream_rules"].as_array().into_iter().flatten() {
            let field = text(&rule["field"], "@value");
            assert!(known.contains(field), "{}: no field {field}", data["title"]);
            if rule["type"]["@value"] == "REGEX" {
                regex::Regex::new(text(&rule["value"], "@value")).unwrap();
            }
        }
        let Some(queries) = data["search"]["queries"].as_array() else { continue };
        assert_eq!(queries.len(), data["state"].as_object().unwrap().len());
        for query in queries {
            let state = &data["state"][text(query, "id")];
            let searches: BTreeMap<&str, &Value> =
                query["search_types"].as_array().unwrap().iter().map(|s| (text(s, "id"), s)).collect();
            let mut taken: Vec<[u64; 4]> = Vec::new();
            for widget in state["widgets"].as_array().unwrap() {
                let (id, title) = (text(widget, "id"), &state["titles"]["widget"][text(widget, "id")]);
                assert!(title.as_str().is_some_and(|t| !t.is_empty()), "{id}: no title");
                let search = searches[state["widget_mapping"][id][0].as_str().unwrap()];
                for asked in [widget, search] {
                    assert!(asked["streams"].as_array().unwrap().iter().all(|s| streams.contains(s.as_str().unwrap())));
                    for name in names.captures_iter(text(&asked["query"], "query_string")) {
                        assert!(known.contains(&name[1]), "{title}: no field {}", &name[1]);
                    }
                }
                assert_eq!(widget["query"], search["query"], "{title}");
                // What the widget draws is what its search brings.
                let drawn = widget["config"]["series"].as_array().into_iter().flatten().map(|s| text(s, "function"));
                let brought = search["series"].as_array().into_iter().flatten().map(|s| text(s, "id"));
                assert!(drawn.eq(brought), "{title}");
                let rows = search["row_groups"].as_array().into_iter().chain(search["column_groups"].as_array());
                let groups = rows.flatten().flat_map(|g| g["fields"].as_array().unwrap()).filter_map(Value::as_str);
                let series = search["series"].as_array().into_iter().flatten().filter_map(|s| s["field"].as_str());
                let listed = widget["config"]["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
                for field in groups.chain(series).chain(listed) {
                    assert!(known.contains(field), "{title}: no field {field}");
                }
                let place = ["col", "row", "width", "height"].map(|key| state["positions"][id][key].as_u64().unwrap());
                assert!(place[0] >= 1 && place[0] + place[2] <= 13, "{title}: beyond the 12 columns");
                let over = |a: &[u64; 4], b: &[u64; 4], i: usize| a[i] < b[i] + b[i + 2] && b[i] < a[i] + a[i + 2];
                assert!(!taken.iter().any(|o| over(o, &place, 0) && over(o, &place, 1)), "{title} overlaps");
                taken.push(place);
                widgets += 1;
            }
        }
    }
    assert_eq!(kinds, BTreeMap::from([("dashboard", 1), ("search", 6), ("stream", 3)]));
    println!("the content pack has {kinds:?} and {widgets} widgets");
}
