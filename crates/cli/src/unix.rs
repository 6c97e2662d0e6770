//! The values of the options of Unix sockets: the mode and the owner of socket files.

use nix::unistd::{Group, User};
use ringway::{OptionError, UnixAddress, UnixSocket};

/// Permissions in octal digits, as `660`.
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) if !text.starts_with('+') => Ok(mode),
        _ => Err("give permissions in octal digits from 0 to 777, as 660".into()),
    }
}

/// The owner of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileOwner {
    user: Option<u32>,
    group: Option<u32>,
}

/// `USER`, `USER:GROUP` or `:GROUP`, by name or number, as chown(1) takes them.
pub(crate) fn owner(text: &str) -> Result<FileOwner, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if user.is_empty() && group.is_empty() || group.contains(':') {
        return Err("give USER, USER:GROUP or :GROUP, as www-data:www-data".into());
    }
    let user_id = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
    let group_id = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
    Ok(FileOwner { user: id("user", user, user_id)?, group: id("group", group, group_id)? })
}

/// The number of a user or group: the text itself if it is a number, as chown(1) decides.
fn id(kind: &str, text: &str, look_up: impl Fn(&str) -> nix::Result<Option<u32>>) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match look_up(text) {
        Ok(Some(id)) => return Ok(Some(id)),
        Err(error) => return Err(format!("cannot look up the {kind} {text:?}: {error}")),
        Ok(None) => {}
    }
    // The number 2³² - 1 means "no change" to chown(2).
    let number = text.parse().ok().filter(|id| *id != u32::MAX);
    number.map(Some).ok_or_else(|| format!("there is no {kind} {text:?}"))
}

/// The socket at this address, with the mode and the owner of its file.
pub(crate) fn socket(
    address: &UnixAddress,
    mode: Option<u32>,
    owner: Option<FileOwner>,
) -> Result<UnixSocket, OptionError> {
    let mut socket = UnixSocket::new(address.clone());
    if let Some(mode) = mode {
        socket = socket.mode(mode)?;
    }
    let FileOwner { user, group } = owner.unwrap_or_default();
    if let Some(user) = user {
        socket = socket.user(user);
    }
    Ok(match group {
        Some(group) => socket.group(group),
        None => socket,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_octal_digits() {
        assert_eq!((mode("660"), mode("0600"), mode("0")), (Ok(0o660), Ok(0o600), Ok(0)));
        assert!(["", "8", "1000", "-1", "+6", "rw"].iter().all(|text| mode(text).is_err()));
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both() {
        let of = |user, group| Ok(FileOwner { user, group });
        // Every system has the user root; its group has other names elsewhere.
        assert_eq!((owner("root"), owner("root:0")), (of(Some(0), None), of(Some(0), Some(0))));
        assert_eq!((owner(":1234"), owner("12:34")), (of(None, Some(1234)), of(Some(12), Some(34))));
        assert_eq!(owner("no-such-user"), Err("there is no user \"no-such-user\"".into()));
        assert_eq!(owner("0:no-such-group"), Err("there is no group \"no-such-group\"".into()));
        assert!(["", ":", "a:b:c", "4294967295"].iter().all(|text| owner(text).is_err()));
    }
}
