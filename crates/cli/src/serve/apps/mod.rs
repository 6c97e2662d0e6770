//! The applications of `ringway serve`, one file each: how it is written on the command line, and
//! its handler.

pub(super) mod broadcast;
pub(super) mod broadcast_topic;
pub(super) mod delay;
pub(super) mod echo;
pub(super) mod push;
pub(super) mod sink;
pub(super) mod stall;
pub(super) mod topics;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::Error;
use clap::{Arg, Command};
use delay::DelayOptions;
use push::PushOptions;
use stall::StallOptions;
use std::ffi::OsStr;
use std::fmt;

/// The application that `serve` runs, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum App {
    Echo,
    Broadcast,
    BroadcastTopic,
    Topics,
    Sink,
    Delay(DelayOptions),
    Stall(StallOptions),
    Push(PushOptions),
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str(echo::SYNTAX.name),
            Self::Broadcast => f.write_str(broadcast::SYNTAX.name),
            Self::BroadcastTopic => f.write_str(broadcast::ON_TOPIC),
            Self::Topics => f.write_str(topics::SYNTAX.name),
            Self::Sink => f.write_str(sink::SYNTAX.name),
            Self::Delay(options) => options.fmt(f),
            Self::Stall(options) => options.fmt(f),
            Self::Push(options) => options.fmt(f),
        }
    }
}

/// How an application is written on the command line: `NAME` or `NAME:OPTIONS`.
struct Syntax {
    name: &'static str,
    /// A complete value of the flag.
    example: &'static str,
    help: &'static str,
    /// Parses the options; the error says what to give instead.
    parse: fn(Option<&str>) -> Result<App, String>,
}

const ALL: [&Syntax; 7] =
    [&echo::SYNTAX, &broadcast::SYNTAX, &topics::SYNTAX, &sink::SYNTAX, &delay::SYNTAX, &stall::SYNTAX, &push::SYNTAX];

/// Parses an application.
fn app(text: &str) -> Result<App, String> {
    let (name, options) = text.split_once(':').map_or((text, None), |(name, options)| (name, Some(options)));
    let Some(syntax) = ALL.iter().find(|syntax| syntax.name == name) else {
        let examples: Vec<&str> = ALL.iter().map(|syntax| syntax.example).collect();
        return Err(format!("give one of {}", examples.join(", ")));
    };
    (syntax.parse)(options)
}

/// The result of an application without options.
fn without_options(app: App, options: Option<&str>) -> Result<App, String> {
    options.map_or(Ok(app), |_| Err(format!("it takes no options: give {app}")))
}

/// The parser of `--app`. It has examples of values for the help and for completions, which a plain
/// function has not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppParser;

impl TypedValueParser for AppParser {
    type Value = App;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<App, Error> {
        StringValueParser::new().try_map(|text| app(&text)).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(ALL.iter().map(|syntax| PossibleValue::new(syntax.example).help(syntax.help))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_valid_and_has_the_name_of_its_application() {
        for syntax in ALL {
            let parsed = app(syntax.example).expect("an example is valid");
            assert!(parsed.to_string().starts_with(syntax.name), "{parsed}");
        }
    }

    #[test]
    fn an_unknown_application_is_answered_with_all_of_them() {
        let error = app("chess").expect_err("there is no such application");
        assert!(ALL.iter().all(|syntax| error.contains(syntax.example)), "{error}");
    }

    #[test]
    fn applications_without_options_refuse_them() {
        for text in ["echo:", "echo:1", "sink:1", "topics:1"] {
            let (name, _) = text.split_once(':').expect("a name and options");
            assert_eq!(app(text), Err(format!("it takes no options: give {name}")));
        }
    }

    #[test]
    fn applications_with_options_require_them() {
        for text in ["delay", "delay:", "stall", "stall:", "push", "push:"] {
            assert!(app(text).is_err_and(|error| error.starts_with("give ")), "{text}");
        }
    }
}
