//! What ssh, or a program at the other machine, complained of, as a failure of the right class with the next step.

use backstay_sdk::{Code, Failure, Output};

/// A sign in a complaint, the class that it means, whether it may pass, and what to do.
struct Sign {
    sign: &'static str,
    code: Code,
    retry: bool,
    hint: &'static str,
}

const fn sign(sign: &'static str, code: Code, retry: bool, hint: &'static str) -> Sign {
    Sign {
        sign,
        code,
        retry,
        hint,
    }
}

const CHANGED: &str = "the server has another key than before: if it was set up anew, remove the old key with `ssh-keygen -R` and add the new one after comparing its fingerprint; otherwise somebody may be in between";
const UNKNOWN: &str = "compare the fingerprint at the server (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), and add the key to the file that `knownHostsFile` names, for example with `ssh-keyscan`";
const REFUSED: &str = "add the public key of `identityFile` to `~/.ssh/authorized_keys` of the account there; the private key must be there, be readable and have no passphrase";
const AWAY: &str = "is the machine running, are `host` and `port` right, and is there a network?";
const STALLED: &str = "does the disk at the other machine still answer? nothing was moved for an hour";
const FULL: &str = "make room there or shorten the retention; earlier snapshots are untouched";

/// The first that fits counts: what is more special stands before what is more general.
static SIGNS: [Sign; 25] = [
    sign("HOST IDENTIFICATION HAS CHANGED", Code::Security, false, CHANGED),
    sign("Host key verification failed", Code::Security, false, UNKNOWN),
    sign("Permission denied (publickey", Code::Permission, false, REFUSED),
    sign("Permission denied (password", Code::Permission, false, REFUSED),
    sign(
        "Permission denied (keyboard-interactive",
        Code::Permission,
        false,
        REFUSED,
    ),
    sign("Permission denied (gssapi", Code::Permission, false, REFUSED),
    sign("Permission denied (hostbased", Code::Permission, false, REFUSED),
    sign(
        "Too many authentication failures",
        Code::Permission,
        false,
        REFUSED,
    ),
    sign("Could not resolve hostname", Code::Network, true, AWAY),
    sign("Connection refused", Code::Network, true, AWAY),
    sign("Connection timed out", Code::Network, true, AWAY),
    sign("No route to host", Code::Network, true, AWAY),
    sign("Network is unreachable", Code::Network, true, AWAY),
    sign("Connection closed by", Code::Network, true, AWAY),
    sign("Connection reset by", Code::Network, true, AWAY),
    sign("closed by remote host", Code::Network, true, AWAY),
    sign("not responding", Code::Network, true, AWAY),
    sign("timeout in data send/receive", Code::Network, true, STALLED),
    sign("No space left on device", Code::DiskSpace, false, FULL),
    sign("Disk quota exceeded", Code::DiskSpace, false, FULL),
    sign(
        "Read-only file system",
        Code::Storage,
        false,
        "mount it there so that it can be written to, and check its health",
    ),
    sign(
        "Permission denied",
        Code::Permission,
        false,
        "let the account write to `remotePath` there",
    ),
    sign(
        "not found",
        Code::Environment,
        false,
        "install what is missing at the other machine: rsync, and GNU's tar, findutils and coreutils",
    ),
    sign("connection unexpectedly closed", Code::Network, true, AWAY),
    sign("Broken pipe", Code::Network, true, AWAY),
];

/// The failure of a command at the other machine that ended badly, such as "cannot store nas:/b/x: Connection refused".
pub fn explain(doing: &str, output: &Output) -> Failure {
    let said = output.complaint();
    let said = if said.is_empty() {
        format!("ssh ended with status {} and said nothing", output.status)
    } else {
        said
    };
    of_words(&output.stderr, format!("{doing}: {said}"))
        .unwrap_or_else(|| Failure::storage(format!("{doing}: {said}")).hint("run it by hand to see more"))
}

/// The failure that words of a program mean, if they are known.
pub fn of_words(said: &str, message: String) -> Option<Failure> {
    let known = SIGNS.iter().find(|known| said.contains(known.sign))?;
    let failure = Failure::new(known.code, message).hint(known.hint);
    Some(if known.retry { failure.retry() } else { failure })
}

/// What complaints mean, for a stream that runs when nobody can be asked any more.
pub fn connection(doing: &str) -> Vec<(String, Failure)> {
    let meaning = |known: &Sign| {
        let failure = Failure::new(known.code, doing).hint(known.hint);
        let failure = if known.retry { failure.retry() } else { failure };
        (known.sign.to_owned(), failure)
    };
    SIGNS.iter().map(meaning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stderr: &str, code: Code, retry: bool) {
        let output = Output {
            command: "ssh".to_owned(),
            is_fed: false,
            status: 255,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let failure = explain("cannot look at nas:/b", &output);
        assert_eq!((failure.code, failure.retry), (code, retry), "{stderr}");
        assert!(failure.message.starts_with("cannot look at nas:/b: "));
        assert!(failure.hint.is_some());
    }

    #[test]
    fn the_cause_is_said_and_has_its_class() {
        check(
            "No ED25519 host key is known for nas and you have requested strict checking.\nHost key verification failed.\n",
            Code::Security,
            false,
        );
        check(
            "Warning: Identity file /k not accessible: No such file or directory.\nroot@nas: Permission denied (publickey).\n",
            Code::Permission,
            false,
        );
        check(
            "ssh: connect to host nas port 22: Connection refused\n",
            Code::Network,
            true,
        );
        check(
            "cat: write error: No space left on device\n",
            Code::DiskSpace,
            false,
        );
        check(
            "sh: 1: cannot create ./x: Permission denied\n",
            Code::Permission,
            false,
        );
        check("", Code::Storage, false);
    }

    #[test]
    fn a_file_that_may_not_be_read_is_no_refused_key() {
        let words = "rsync: [sender] send_files failed to open \"/b/x\": Permission denied (13)\n";
        let failure = of_words(words, String::new()).expect("known");
        assert_eq!(failure.code, Code::Permission);
        assert_ne!(failure.hint.as_deref(), Some(REFUSED));
    }

    #[test]
    fn a_changed_key_is_told_from_an_unknown_one() {
        let words = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n";
        let failure = of_words(words, String::new()).expect("known");
        assert_eq!(failure.hint.as_deref(), Some(CHANGED));
    }
}
