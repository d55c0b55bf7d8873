use super::*;

const ROOM: Room = Room { keys: 3, bytes: 20 };

fn put(key: &str, value: &'static str, cas: Option<u64>) -> Order {
    Order::Put { key: key.into(), value: Bytes::from_static(value.as_bytes()), flags: 0, cas }
}

#[tokio::test]
async fn there_is_room_for_so_much_and_what_goes_makes_room() {
    let keys = Keys::counting_from(ROOM, 100);
    for key in ["a", "b", "c"] {
        assert_eq!(keys.order(put(key, "1", None)).await, Ok(true));
    }
    assert_eq!(keys.order(put("d", "1", None)).await, Err(Undone::Full), "too many keys");
    assert_eq!(keys.order(put("c", "123456789012345", None)).await, Ok(true), "20 bytes in all");
    assert_eq!(keys.order(put("c", "1234567890123456", None)).await, Err(Undone::Full), "too many bytes");
    assert_eq!(keys.order(put("c", "1", None)).await, Ok(true), "a shorter one gives room back");
    assert_eq!(keys.order(Order::DeleteUnder { prefix: "a".into() }).await, Ok(true));
    assert_eq!(keys.order(put("d", "1", None)).await, Ok(true));
    // Somebody else's are taken over as far as there is room, and what had another value has none then.
    let pair = |key: &str, value: &'static str, modified| {
        Heard::Put(Pair { key: key.into(), value: value.into(), flags: 0, created: 1, modified })
    };
    assert_eq!(keys.follow(vec![pair("e", "1", 200), pair("b", "12345678901234567890", 201)]), 2);
    assert_eq!((keys.get("b"), keys.changed("b"), keys.last()), (None, 201, 201));
}

#[tokio::test]
async fn every_change_has_a_number_of_its_own() {
    let keys = Keys::counting_from(Room { keys: 100, bytes: 1000 }, 7);
    keys.order(put("a", "1", Some(0))).await.unwrap();
    let first = keys.changed("a");
    assert_eq!((first, keys.order(put("a", "2", Some(0))).await), (8, Ok(false)), "it is there already");
    assert_eq!(keys.order(put("a", "2", Some(first))).await, Ok(true));
    assert_eq!(keys.order(Order::Delete { key: "a".into(), cas: Some(first) }).await, Ok(false), "it has changed");
    let last = keys.last();
    assert_eq!(keys.order(Order::Delete { key: "none".into(), cas: None }).await, Ok(true));
    assert_eq!(keys.last(), last, "nothing went, so nothing changed");
    assert_eq!(keys.order(Order::Delete { key: "a".into(), cas: Some(last) }).await, Ok(true));
    assert!(keys.changed("a") > last && keys.changed("other") > last);
}
