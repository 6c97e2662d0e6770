//! Why io_uring is unavailable, and what to change.

use std::fmt;
use std::fs;
use std::io;

/// The oldest kernel with all features that the driver on io_uring needs.
const MIN_KERNEL: (u32, u32) = (6, 1);

/// io_uring is unavailable, or lacks a feature that the driver needs.
///
/// ```
/// use ringway_io::uring::probe;
///
/// match probe() {
///     Ok(features) => println!("io_uring with {features}"),
///     // The text names the failed step, the likely cause and the remedy.
///     Err(unavailable) => eprintln!("{unavailable}"),
/// }
/// ```
#[derive(Debug)]
pub struct Unavailable {
    step: &'static str,
    error: io::Error,
    likely: LikelyCause,
    /// The oldest kernel with all features that the driver needs.
    oldest: (u32, u32),
}

/// The likely cause of an [`Unavailable`], derived from the error and the settings of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LikelyCause {
    /// sysctl `kernel.io_uring_disabled` is 1 or 2.
    Sysctl(u8),
    /// A system call filter, such as the default one of container engines.
    Seccomp,
    /// The kernel has this version, which is too old.
    Kernel(u32, u32),
    /// The limit of locked memory.
    LockedMemory,
    /// The limit of open files.
    OpenFiles,
    /// None of these.
    Unknown,
}

/// The facts about this system that matter for io_uring.
struct SystemFacts {
    /// `kernel.io_uring_disabled`; since 6.6, 0 before.
    disabled: u8,
    /// Whether this process runs under a seccomp filter.
    filtered: bool,
    kernel: Option<(u32, u32)>,
}

impl SystemFacts {
    fn read() -> Self {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            disabled: disabled.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            filtered: status.lines().any(|line| line.starts_with("Seccomp:") && line.trim_end().ends_with('2')),
            kernel: kernel_version(&rustix::system::uname().release().to_string_lossy()),
        }
    }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl LikelyCause {
    fn from(errno: Option<i32>, facts: &SystemFacts, oldest: (u32, u32)) -> Self {
        match errno {
            Some(libc::EMFILE | libc::ENFILE) => return Self::OpenFiles,
            Some(libc::EPERM) if facts.disabled > 0 => return Self::Sysctl(facts.disabled),
            Some(libc::EPERM | libc::EACCES) if facts.filtered => return Self::Seccomp,
            _ => {}
        }
        match facts.kernel {
            Some(kernel) if kernel < oldest => Self::Kernel(kernel.0, kernel.1),
            _ if errno == Some(libc::ENOMEM) => Self::LockedMemory,
            _ if errno == Some(libc::ENOSYS) && facts.filtered => Self::Seccomp,
            _ => Self::Unknown,
        }
    }
}

impl Unavailable {
    pub(super) fn new(step: &'static str, error: io::Error) -> Self {
        Self::of(step, error, MIN_KERNEL)
    }

    /// For a driver that needs `oldest` or a newer kernel.
    pub(crate) fn of(step: &'static str, error: io::Error, oldest: (u32, u32)) -> Self {
        let likely = LikelyCause::from(error.raw_os_error(), &SystemFacts::read(), oldest);
        Self { step, error, likely, oldest }
    }

    /// Whether the system refuses io_uring or lacks a feature, so that another driver can be used.
    /// `false` when the process has reached its limit of open files, which concerns every driver.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.likely != LikelyCause::OpenFiles
    }

    /// The likely cause.
    #[must_use]
    pub fn likely_cause(&self) -> LikelyCause {
        self.likely
    }

    /// The error of the step that failed.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring is unavailable ({} failed: {}): ", self.step, self.error)?;
        match self.likely {
            LikelyCause::Sysctl(1) => f.write_str(
                "sysctl kernel.io_uring_disabled is 1; set it to 0, or add this user to the group in kernel.io_uring_group",
            ),
            LikelyCause::Sysctl(value) => {
                write!(f, "sysctl kernel.io_uring_disabled is {value}; set it to 0 (`sysctl kernel.io_uring_disabled=0`)")
            }
            LikelyCause::Seccomp => f.write_str(
                "a seccomp filter forbids it, as the default profile of container engines does; \
                 allow io_uring_setup, io_uring_enter and io_uring_register (docker: --security-opt seccomp=PROFILE)",
            ),
            LikelyCause::Kernel(major, minor) => {
                write!(f, "Linux {major}.{minor} is too old; {}.{} or newer is needed", self.oldest.0, self.oldest.1)
            }
            LikelyCause::LockedMemory => f.write_str("too little memory may be locked; raise the limit (`ulimit -l`)"),
            LikelyCause::OpenFiles => f.write_str("too many open files; raise the limit (`ulimit -n`)"),
            LikelyCause::Unknown => f.write_str("the kernel may be built without CONFIG_IO_URING; `dmesg` may say more"),
        }
    }
}

/// There is no source, because the text contains the error of the kernel.
impl std::error::Error for Unavailable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(disabled: u8, filtered: bool, kernel: (u32, u32)) -> SystemFacts {
        SystemFacts { disabled, filtered, kernel: Some(kernel) }
    }

    #[test]
    fn the_likely_cause_follows_from_the_error_and_the_system() {
        let cases = [
            (libc::EPERM, facts(2, true, (6, 8)), LikelyCause::Sysctl(2)),
            (libc::EPERM, facts(0, true, (6, 8)), LikelyCause::Seccomp),
            (libc::ENOSYS, facts(0, true, (6, 8)), LikelyCause::Seccomp),
            (libc::ENOSYS, facts(0, false, (4, 19)), LikelyCause::Kernel(4, 19)),
            (libc::EINVAL, facts(0, false, (5, 15)), LikelyCause::Kernel(5, 15)),
            (libc::ENOMEM, facts(0, false, (6, 8)), LikelyCause::LockedMemory),
            (libc::EMFILE, facts(0, false, (6, 8)), LikelyCause::OpenFiles),
            (libc::ENOSYS, facts(0, false, (6, 8)), LikelyCause::Unknown),
        ];
        for (errno, facts, likely) in cases {
            assert_eq!(LikelyCause::from(Some(errno), &facts, MIN_KERNEL), likely, "errno {errno}");
        }
    }

    #[test]
    fn the_line_names_the_value_and_the_remedy() {
        let unavailable = Unavailable {
            step: "io_uring_setup",
            error: io::Error::from_raw_os_error(libc::EPERM),
            likely: LikelyCause::Sysctl(2),
            oldest: MIN_KERNEL,
        };
        let line = unavailable.to_string();
        assert!(line.contains("kernel.io_uring_disabled is 2") && line.contains("set it to 0"), "{line}");
        assert!(!line.contains('\n'));
        assert_eq!(unavailable.likely_cause(), LikelyCause::Sysctl(2));
        assert!(std::error::Error::source(&unavailable).is_none(), "the line contains the error");
        assert_eq!(unavailable.io_error().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_lack_of_descriptors_is_no_refusal() {
        for (errno, refused) in
            [(libc::EPERM, true), (libc::ENOSYS, true), (libc::EMFILE, false), (libc::ENFILE, false)]
        {
            let unavailable = Unavailable::new("io_uring_setup", io::Error::from_raw_os_error(errno));
            assert_eq!(unavailable.is_refusal(), refused, "{unavailable}");
        }
    }

    #[test]
    fn kernel_releases_are_parsed() {
        assert_eq!(kernel_version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(kernel_version("5.15.0"), Some((5, 15)));
        assert_eq!(kernel_version("?"), None);
    }
}
