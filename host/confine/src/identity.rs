//! Who a script is: a user who owns nothing, so that what the kernel lets through still belongs to somebody else.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{getegid, geteuid};

/// The first of the users that scripts run as. Debian keeps 65000 to 65533 free of accounts, and they exist in
/// containers that know only 65536 users.
const FIRST: u32 = 65_000;

/// How many there are.
const COUNT: u32 = 500;

/// Counts the scripts of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// The host is root and must become this user.
    pub(crate) is_other: bool,
}

impl Identity {
    /// Each script of a root host gets another user, so that scripts at the same time can't touch one another. A
    /// host that isn't root has no other user to give.
    pub(crate) fn choose() -> Self {
        if !geteuid().is_root() {
            return Identity {
                user: geteuid().as_raw(),
                group: getegid().as_raw(),
                is_other: false,
            };
        }
        let number = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let id = FIRST + number % COUNT;
        Identity {
            user: id,
            group: id,
            is_other: true,
        }
    }

    /// What a script sees as the list of users.
    pub(crate) fn passwd(self) -> String {
        format!(
            "root:x:0:0:root:/:/usr/sbin/nologin\nscript:x:{}:{}:script:/tmp:/bin/sh\n",
            self.user, self.group
        )
    }

    /// What a script sees as the list of groups.
    pub(crate) fn groups(self) -> String {
        format!("root:x:0:\nscript:x:{}:\n", self.group)
    }
}
