use super::*;
use crate::message::compose::Writer;
use proptest::prelude::*;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn message(template: &Template, connection: u32, number: u32, hash: u64) -> String {
    let mut out = Vec::new();
    template.compose(connection, number, hash, &mut Writer::new(&mut out, 1_763_769_601_123_456_789));
    String::from_utf8(out).unwrap()
}

#[test]
fn fields_are_replaced() {
    for (text, expected) in [
        ("", ""),
        ("no field", "no field"),
        ("{seq}", "       123"),
        ("{seq:0}|{conn}|{conn:0}", "0000000123|        45|0000000045"),
        ("{time} {time:ms}", "1763769601123 1763769601123"),
        ("{time:us} {time:ns}", "1763769601123456 1763769601123456789"),
        ("{int:7-7}{int:007-007}{int:7-0000007}", "7007      7"),
        ("grüße {conn:0} 世界", "grüße 0000000045 世界"),
    ] {
        assert_eq!(message(&template(text), 45, 123, 1), expected);
        assert_eq!(template(text).len(), expected.len());
    }
}

#[test]
fn braces_that_begin_no_field_are_text() {
    for (text, expected) in [
        ("{{seq}", "{seq}"),
        ("{{{conn:0}}", "{0000000045}"),
        ("{}", "{}"),
        ("{", "{"),
        ("{{", "{"),
        ("}}", "}}"),
        ("{ \"a\": {\"b\":{1}}}", "{ \"a\": {\"b\":{1}}}"),
    ] {
        assert_eq!(message(&template(text), 45, 123, 1), expected, "{text}");
    }
}

#[test]
fn a_template_of_json_gives_json() {
    let text =
        r#"{"op":"set","id":{seq},"conn":{conn},"user":{"key":"{random:8}","n":{int:1-500}},"at":{time},"u":"{uuid}"}"#;
    let value: serde_json::Value = serde_json::from_str(&message(&template(text), 45, 123, 77)).unwrap();
    assert_eq!((value["id"].as_u64(), value["conn"].as_u64()), (Some(123), Some(45)));
    assert_eq!(value["at"].as_u64(), Some(1_763_769_601_123));
    assert!((1..=500).contains(&value["user"]["n"].as_u64().unwrap()));
    assert_eq!(value["user"]["key"].as_str().unwrap().len(), 8);
}

#[test]
fn integers_are_uniform_between_their_bounds() {
    let template = template("{int:98-103}");
    let mut counts = std::collections::BTreeMap::new();
    for hash in 0..60_000 {
        *counts.entry(message(&template, 0, 0, hash)).or_insert(0u32) += 1;
    }
    let values: Vec<_> = counts.keys().map(String::as_str).collect();
    assert_eq!(values, [" 98", " 99", "100", "101", "102", "103"]);
    assert!(counts.values().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
}

#[test]
fn a_uuid_has_its_version_and_variant() {
    let template = template("{uuid}");
    let mut seen = std::collections::HashSet::new();
    for hash in 0..1000 {
        let uuid = message(&template, 0, 0, hash);
        let groups: Vec<_> = uuid.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert!(groups[2].starts_with('4') && groups[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        assert!(seen.insert(uuid));
    }
}

#[test]
fn the_fields_of_a_message_are_drawn_independently() {
    let text = message(&template("{random:20}{random:20}{uuid}"), 0, 0, 5);
    assert_ne!(text[..20], text[20..40]);
}

#[test]
fn the_number_is_read_where_it_was_written() {
    let with = template("{conn}{random:3}{seq}{seq:0}");
    for number in [0, 9, 10, u32::MAX] {
        assert_eq!(with.number_of(message(&with, 45, number, 3).as_bytes()), Some(number));
    }
    for payload in
        ["", "             ", "             +123456789", "             123456789x", "             4294967296"]
    {
        assert_eq!(with.number_of(payload.as_bytes()), None, "{payload}");
    }
    let without = template("{conn}{random:3}");
    assert!(with.has_number() && !without.has_number());
    assert_eq!(without.number_of(message(&without, 45, 1, 3).as_bytes()), None);
}

#[test]
fn an_error_has_its_position_and_the_remedy() {
    for (text, says) in [
        (
            "a {sequence}",
            "template, line 1, character 3: {sequence} is not a field: give {seq}, {conn}, {time}, {random:N}, \
             {int:A-B} or {uuid}, or write {{ for a brace",
        ),
        (
            "größe\n{seq} {seq",
            "template, line 2, character 7: a field begins and has no closing brace: add it, or write {{ for a brace",
        ),
        (
            "{seq:5}",
            "template, line 1, character 1: {seq:5} has no such form: give {seq}, or {seq:0} for leading zeros",
        ),
        (
            "{time:s}",
            "template, line 1, character 1: {time:s} has no such form: give {time} (milliseconds), {time:us} or {time:ns}",
        ),
        (
            "{random}",
            "template, line 1, character 1: {random} has no such form: give a number of characters from 1 to 67108864, \
             as {random:8}",
        ),
        (
            "{int:5-4}",
            "template, line 1, character 1: {int:5-4} has no such form: give two numbers of at most 18 digits, the \
             smaller one first, as {int:1-100}",
        ),
        ("{uuid:4}", "template, line 1, character 1: {uuid:4} has no such form: give {uuid}"),
        (
            "{random:64000000} {random:64000000}",
            "template, line 1, character 19: messages are larger than 64 MiB: shorten the text or the fields",
        ),
    ] {
        assert_eq!(text.parse::<Template>().unwrap_err().to_string(), says);
    }
    for text in ["{int:}", "{int:1}", "{int:-1-2}", "{int:+1-2}", "{int:1-1000000000000000000}", "{random:0}", "{a}"] {
        assert!(text.parse::<Template>().is_err(), "{text}");
    }
    assert!("{int:0-999999999999999999}".parse::<Template>().is_ok());
}

proptest! {
    #[test]
    fn all_messages_have_the_same_length(
        texts in proptest::collection::vec("[^{]{0,10}", 1..6),
        fields in proptest::collection::vec(
            prop_oneof![
                Just("{seq}"), Just("{conn:0}"), Just("{time:us}"), Just("{random:13}"), Just("{int:5-5000}"),
                Just("{uuid}"), Just("{{"),
            ],
            6,
        ),
        connection: u32, number: u32, hash: u64,
    ) {
        let text: String = texts.iter().zip(&fields).map(|(text, field)| format!("{text}{field}")).collect();
        let template = template(&text);
        prop_assert_eq!(message(&template, connection, number, hash).len(), template.len());
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text in "[{}a-z:0-9-]{0,40}") {
        if let Ok(template) = text.parse::<Template>() {
            prop_assert_eq!(message(&template, 1, 2, 3).len(), template.len());
        }
    }
}
