//! Code shared by the benches of the codec.

mod side_by_side;

pub use side_by_side::{Candidate, Figure, MEMCPY, Rounds, appending, copying, in_place, key, memcpy};

/// Texts by their share of characters beyond ASCII: none, about one in fifty, and all (three bytes
/// each).
pub const LANGUAGES: [(&str, &str); 3] = [
    ("ASCII", "It is a truth universally acknowledged, that "),
    ("mixed", "Der Zug fährt um halb neun vom Gleis drei ab, also etwas "),
    ("Japanese", "吾輩は猫である名前はまだ無いどこで生れたかとんと見当がつかぬ"),
];

/// `pattern` repeated to exactly `size` bytes.
pub fn text_of(size: usize, pattern: &str) -> String {
    let mut text = String::with_capacity(size);
    for character in pattern.chars().cycle() {
        if text.len() + character.len_utf8() > size {
            break;
        }
        text.push(character);
    }
    text.extend(std::iter::repeat_n('.', size - text.len()));
    text
}
