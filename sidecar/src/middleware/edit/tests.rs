//! Bodies that nobody wrote by hand.

use super::json::Object;
use super::multipart::Form;
use super::pairs::Pairs;
use super::{Edit, Value};
use proptest::prelude::*;

fn change(of: &mut impl Edit) {
    let value = Value::Text(b"v\r\n\"\xff&=");
    let _ = (of.remove("a"), of.rename("b", "c"), of.replace("c", value), of.add("d", value), of.append("e", value));
}

proptest! {
    #[test]
    fn json_is_taken_apart_and_put_together(text in r#"[{]( ?"(a|b|\\"|\\u0061|,|\}|\\\\)*" ?: ?(1|-2[.]50|true|"[,}\]]"|\[[{]"a":"]"}, ?1\]|[{][}]) ?,){0,4}"b":null ?[}]"#) {
        let mut object = Object::read(text.as_bytes()).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&object.write()).unwrap();
        prop_assert_eq!(written, read);
        change(&mut object);
        let changed: serde_json::Value = serde_json::from_slice(&object.write()).unwrap();
        prop_assert!(changed.get("a").is_none() && changed.get("b").is_none(), "{changed}");
        prop_assert!(changed["c"].is_string() && changed["d"].is_string() && changed["e"].is_array(), "{changed}");
    }

    #[test]
    fn what_is_no_json_is_not_taken_for_it(text in r#"[{}\[\]",:a1\\ ]{0,24}"#) {
        let object = Object::read(text.as_bytes());
        let is = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_object());
        prop_assert_eq!(object.is_some(), is);
    }

    #[test]
    fn forms_stay_forms(bytes in r#"(--x(--)?\r\n|\r\n|--x|Content-Disposition: form-data; name="?[ab]"?; ?|filename="b"|[ab]|\n){0,16}"#) {
        if let Some(mut form) = Form::read(bytes.as_bytes(), "x") {
            change(&mut form);
            let written = form.write();
            let again = Form::read(&written, "x");
            prop_assert!(again.is_some(), "{:?}", String::from_utf8_lossy(&written));
            prop_assert_eq!(again.map(|form| form.write()), Some(written));
        }
    }

    #[test]
    fn arguments_stay_arguments(text in "[ab=&%+1;]{0,24}") {
        let mut pairs = Pairs::new(text.as_bytes());
        change(&mut pairs);
        let written = pairs.join();
        prop_assert_eq!(Pairs::new(&written).join(), written);
    }
}
