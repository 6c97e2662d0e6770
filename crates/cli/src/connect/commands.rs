//! What a typed line means: a message, or a command that begins with a slash.

use super::event::{Body, Command};
use super::hex::parse_hex;
use ringway::CloseCode;
use std::fs::File;
use std::io::Read;

/// The commands, for completion and for the help.
pub(super) const COMMANDS: [(&str, &str, &str); 9] = [
    ("/text", "@FILE", "send the content of a file as text; /text WORDS sends the words"),
    ("/binary", "@FILE|HEX", "send bytes: those of a file, or as 48 65 6c 6c 6f"),
    ("/ping", "[TEXT]", "send a ping, and show the round trip"),
    ("/pong", "[TEXT]", "send a pong, which nobody answers"),
    ("/close", "[CODE [REASON]]", "close the connection, with 1000 or another code"),
    ("/json", "on|off", "indent JSON, or not"),
    ("/history", "", "show the lines of this session and of those before"),
    ("/help", "", "this list"),
    ("/quit", "", "close the connection with 1000, as Ctrl-D does"),
];

/// The largest file to send.
const MAX_FILE: u64 = 1 << 30;

/// The payload of a control frame, and the reason of a close frame, at most (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;
const MAX_REASON: usize = 123;

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Something for the shard.
    Command(Command),
    Json(bool),
    History,
    Help,
    Quit,
    /// An empty line.
    Nothing,
}

/// Parses a typed line.
///
/// # Errors
/// One line on what is wrong, and what to type instead.
pub(super) fn parse(line: &str) -> Result<Typed, String> {
    if line.is_empty() {
        return Ok(Typed::Nothing);
    }
    let Some(rest) = line.strip_prefix('/') else { return Ok(text(line)) };
    if rest.starts_with('/') {
        return Ok(text(rest));
    }
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let argument = argument.trim();
    let none = |typed| match argument {
        "" => Ok(typed),
        _ => Err(format!("/{name} has no argument")),
    };
    match name {
        "text" => match argument.strip_prefix('@') {
            Some(path) => {
                let bytes = read(path)?;
                let invalid = |error: std::string::FromUtf8Error| {
                    let at = error.utf8_error().valid_up_to();
                    format!("{path} is not UTF-8 at byte {at}: send it with /binary @{path}")
                };
                Ok(text(&String::from_utf8(bytes).map_err(invalid)?))
            }
            None => Ok(text(argument)),
        },
        "binary" => match argument.strip_prefix('@') {
            Some(path) => Ok(binary(read(path)?)),
            None if argument.is_empty() => Err("give bytes as /binary 48 65 6c, or a file as /binary @FILE".into()),
            None => Ok(binary(parse_hex(argument)?)),
        },
        "ping" => Ok(Typed::Command(Command::Ping(control(name, argument)?))),
        "pong" => Ok(Typed::Command(Command::Pong(control(name, argument)?))),
        "close" => close(argument),
        "json" => match argument {
            "on" => Ok(Typed::Json(true)),
            "off" => Ok(Typed::Json(false)),
            _ => Err("give /json on or /json off".into()),
        },
        "history" => none(Typed::History),
        "help" | "?" => none(Typed::Help),
        "quit" | "exit" => none(Typed::Quit),
        _ => {
            Err(format!("/{name} is no command, and nothing was sent: /help lists them; // sends a line with a slash"))
        }
    }
}

/// The text of `/help`.
pub(super) fn help() -> String {
    let mut help = String::from("A line is sent as text. A line that begins with // is sent with one slash.\n");
    for (name, argument, what) in COMMANDS {
        let usage = format!("{name} {argument}");
        help.push_str(&format!("  {usage:<24} {what}\n"));
    }
    help.push_str("Tab completes commands and files, the arrow keys and Ctrl-R search the history, Ctrl-D closes.");
    help
}

fn text(text: &str) -> Typed {
    Typed::Command(Command::Send(Body::Text(text.to_owned())))
}

fn binary(bytes: Vec<u8>) -> Typed {
    Typed::Command(Command::Send(Body::Binary(bytes)))
}

/// The payload of a ping or a pong.
fn control(name: &str, argument: &str) -> Result<Vec<u8>, String> {
    match argument.len() {
        0..=MAX_CONTROL => Ok(argument.as_bytes().to_vec()),
        len => Err(format!("a {name} has at most {MAX_CONTROL} bytes, and this text has {len}")),
    }
}

fn close(argument: &str) -> Result<Typed, String> {
    let (code, reason) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    let code = match code {
        "" => CloseCode::NORMAL,
        code => close_code(code)?,
    };
    let reason = reason.trim();
    check_reason(reason)?;
    Ok(Typed::Command(Command::Close(code, reason.to_owned())))
}

/// A close code that may be sent.
pub(super) fn close_code(text: &str) -> Result<CloseCode, String> {
    let code = text.parse().map(CloseCode::new).ok().filter(|code| code.is_sendable());
    code.ok_or_else(|| {
        format!(
            "{text} is no close code that may be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999 for your own"
        )
    })
}

/// Checks the length of the reason of a close frame.
pub(super) fn check_reason(reason: &str) -> Result<(), String> {
    match reason.len() {
        0..=MAX_REASON => Ok(()),
        len => Err(format!("a reason has at most {MAX_REASON} bytes, and this one has {len}")),
    }
}

/// The content of a file.
fn read(path: &str) -> Result<Vec<u8>, String> {
    let path = path.trim();
    let unreadable = |error| format!("cannot read {path}: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{path} is larger than 1 GiB, the maximum of a message"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(line: &str) -> Result<Command, String> {
        match parse(line)? {
            Typed::Command(command) => Ok(command),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_text_and_two_slashes_stand_for_one() {
        for (line, text) in [("hello", "hello"), (" a ", " a "), ("//x", "/x"), ("///", "//"), ("/text a b", "a b")] {
            assert_eq!(sent(line), Ok(Command::Send(Body::Text(text.into()))), "{line}");
        }
        assert_eq!(parse(""), Ok(Typed::Nothing));
        assert_eq!(parse("two\nlines"), Ok(text("two\nlines")), "a pasted block is one message");
    }

    #[test]
    fn commands_have_arguments() {
        assert_eq!(sent("/binary 48 69"), Ok(Command::Send(Body::Binary(b"Hi".to_vec()))));
        assert_eq!(sent("/ping"), Ok(Command::Ping(Vec::new())));
        assert_eq!(sent("/pong a b "), Ok(Command::Pong(b"a b".to_vec())));
        assert_eq!(sent("/close"), Ok(Command::Close(CloseCode::NORMAL, String::new())));
        assert_eq!(sent("/close 4001 bye now"), Ok(Command::Close(CloseCode::new(4001), "bye now".into())));
        assert_eq!(
            (parse("/json on"), parse("/help"), parse("/quit")),
            (Ok(Typed::Json(true)), Ok(Typed::Help), Ok(Typed::Quit))
        );
    }

    #[test]
    fn a_wrong_command_says_what_to_type() {
        for (line, part) in [
            ("/nothing", "/nothing is no command, and nothing was sent"),
            ("/", "/ is no command"),
            ("/close 1005", "1005 is no close code that may be sent"),
            ("/close bye", "bye is no close code"),
            ("/binary", "give bytes as /binary 48 65 6c"),
            ("/binary xyz", "'x' is no hexadecimal digit"),
            ("/binary @/nonexistent", "cannot read /nonexistent: No such file"),
            ("/json", "give /json on or /json off"),
            ("/help me", "/help has no argument"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(parse(&format!("/ping {}", "x".repeat(126))).is_err_and(|error| error.contains("125 bytes")));
        assert!(parse(&format!("/close 1000 {}", "x".repeat(124))).is_err_and(|error| error.contains("123 bytes")));
    }

    #[test]
    fn the_help_has_all_commands() {
        let help = help();
        for (name, ..) in COMMANDS {
            assert!(help.contains(name));
            assert!(!parse(name).is_err_and(|error| error.contains("is no command")), "{name}");
        }
    }
}
