//! What the benches of the codec share.

mod side_by_side;

pub use side_by_side::{Candidate, Figure, MEMCPY, Rounds, appending, copying, in_place, key, memcpy};

/// Texts by the share of what is not ASCII in them: none, about one character in fifty, and all of three bytes.
pub const LANGUAGES: [(&str, &str); 3] = [
    ("ASCII", "It is a truth universally acknowledged, that "),
    ("mixed", "Der Zug fährt um halb neun vom Gleis drei ab, also etwas "),
    ("Japanese", "吾輩は猫である名前はまだ無いどこで生れたかとんと見当がつかぬ"),
];

/// `pattern` again and again, in exactly `size` bytes.
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
