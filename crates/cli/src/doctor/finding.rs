//! What a check finds.

use super::system::Read;

/// The judgement of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Too little for the target, or a feature that is refused.
    Short,
    /// The fact could not be read.
    Unknown,
    /// It works, and a change would help.
    Note,
    /// Sufficient.
    Good,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Unknown => "unknown",
            Self::Note => "note",
            Self::Good => "good",
        }
    }
}

/// A value that `--fix` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raise {
    Sysctl {
        key: &'static str,
        value: String,
    },
    /// A directive of the section `[Service]` of a systemd unit.
    Unit {
        directive: &'static str,
        value: String,
    },
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The stable name: `descriptors.hard`.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) value: String,
    /// What the value means for the reader.
    pub(crate) allows: String,
    pub(crate) state: State,
    /// How many connections it allows, if it limits their number.
    pub(crate) connections: Option<u64>,
    /// What the target needs, in the unit of the value.
    pub(crate) needed: Option<String>,
    /// Commands that raise it, or what to do if no command does.
    pub(crate) commands: Vec<String>,
    pub(crate) raises: Vec<Raise>,
    /// Where the value is from, and what it does.
    pub(crate) detail: String,
}

impl Finding {
    /// A finding that is good.
    pub(crate) fn good(id: &'static str, title: &'static str, value: impl Into<String>) -> Self {
        Self {
            id,
            title,
            value: clean(value.into()),
            allows: String::new(),
            state: State::Good,
            connections: None,
            needed: None,
            commands: Vec::new(),
            raises: Vec::new(),
            detail: String::new(),
        }
    }

    /// The finding that `make` returns for a fact, or one with the reason why the fact is unknown.
    pub(crate) fn of<T>(
        id: &'static str,
        title: &'static str,
        fact: &Read<T>,
        make: impl FnOnce(&T, Self) -> Self,
    ) -> Self {
        let finding = Self::good(id, title, "");
        match fact {
            Ok(value) => make(value, finding),
            Err(why) => finding.value("unknown").allows(why.clone()).state(State::Unknown),
        }
    }

    pub(crate) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = clean(value.into());
        self
    }

    pub(crate) fn allows(mut self, text: impl Into<String>) -> Self {
        self.allows = clean(text.into());
        self
    }

    pub(crate) fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = clean(text.into());
        self
    }

    pub(crate) fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// The state, if `is_lacking`.
    pub(crate) fn state_if(self, is_lacking: bool, state: State) -> Self {
        if is_lacking { self.state(state) } else { self }
    }

    pub(crate) fn connections(mut self, connections: u64) -> Self {
        self.connections = Some(connections);
        self
    }

    pub(crate) fn needed(mut self, needed: impl Into<String>) -> Self {
        self.needed = Some(needed.into());
        self
    }

    pub(crate) fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// The command of a sysctl; `--fix` prints the value too.
    pub(crate) fn sysctl(mut self, key: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        let quoted = if value.contains(' ') { format!("\"{value}\"") } else { value.clone() };
        self.commands.push(format!("sysctl -w {key}={quoted}"));
        self.raises.push(Raise::Sysctl { key, value });
        self
    }

    /// A directive of the unit of a service, which `--fix` prints too.
    pub(crate) fn unit(mut self, directive: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.commands.push(format!("{directive}={value}   # in the unit of a service"));
        self.raises.push(Raise::Unit { directive, value });
        self
    }
}

/// The maximum number of characters of a value or a text.
const MAX_TEXT: usize = 400;

/// A text from a file, without control characters, which a terminal would obey, and not too long.
fn clean(text: String) -> String {
    let is_clean = text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    if is_clean {
        return text;
    }
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The findings of one part of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) findings: Vec<Finding>,
}

/// An integer with its digits in groups of three: `28 232`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A number, and `one` or `many` as its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Bytes with a unit.
pub(crate) fn bytes(number: u64) -> String {
    ringway_loadtest::bytes(number as f64)
}
