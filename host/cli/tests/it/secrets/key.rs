//! The key that seals them: who may read it, where it is, and another one in its place.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use backstay_testkit::cli::Moment;
use backstay_testkit::turns::Turns;

use super::lab::{Lab, said};

impl Lab {
    /// A job that uses the secret `token`, whose text is `hunter-22`.
    fn with_job() -> Self {
        let lab = Lab::new();
        lab.backstay.secret("token", "hunter-22");
        lab.apply("j", "test \"$LAB_SECRET\" = hunter-22");
        lab
    }

    #[track_caller]
    fn assert_usable(&self, at: &str) {
        let run = self.backstay.run(&["run", "j"]);
        assert_eq!(run.code, 0, "{at}: {}", said(&run));
    }

    /// The keys in the file.
    fn keys(&self) -> Vec<String> {
        let text = fs::read_to_string(self.key()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("AGE-SECRET-KEY-"));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn another_one_takes_its_place() {
    let lab = Lab::with_job();
    let before = fs::read(lab.key()).unwrap();
    let database = lab.backstay.data_dir().join("backstay.db");
    let rotated = lab.backstay.json(&["secret", "rotate-key"]);
    assert_eq!(rotated["secrets"], 1);
    assert_eq!(lab.keys().len(), 1);
    assert_eq!(
        fs::metadata(lab.key()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    lab.assert_usable("after a rotation");
    assert!(database.exists());
    // The old one opens nothing any more.
    fs::write(lab.key(), before).unwrap();
    lab.backstay.run(&["run", "j"]).code(15);
}

#[test]
fn nothing_is_sealed_for_the_key_of_another_machine() {
    let lab = Lab::with_job();
    let other = Lab::with_job();
    let ours = fs::read(lab.key()).unwrap();
    fs::copy(other.key(), lab.key()).unwrap();
    let (set, code) = (["secret", "set", "second", "--from-env", "HOME"], 15);
    let refused = lab.backstay.run(&set).code(code);
    let said = said(&refused);
    assert!(said.contains("`token` can't be opened with the key in"), "{said}");
    fs::write(lab.key(), ours).unwrap();
    lab.backstay.run(&set).code(0);
    lab.assert_usable("with the right key");
}

#[test]
fn killed_at_every_step_of_a_rotation_nothing_is_lost() {
    let lab = Lab::with_job();
    let mut interrupted = 0;
    for call in ["rename", "fsync"] {
        let mut turns = Turns::of(2);
        while let Some(nth) = turns.next() {
            let ended = lab
                .backstay
                .killed_at(&["secret", "rotate-key"], Moment::of(call, nth));
            let at = format!("killed at {call} {nth}");
            lab.assert_usable(&at);
            if turns.note(ended.was_killed_or_ok()) {
                if lab.keys().len() > 1 {
                    interrupted += 1;
                    // What is new is sealed for the newest key.
                    lab.backstay.secret("another", &at);
                }
            } else {
                assert_eq!(lab.keys().len(), 1, "{call}");
            }
        }
    }
    assert!(interrupted >= 1);
}

#[test]
fn the_doctor_looks_who_may_read_it() {
    let lab = Lab::with_job();
    let found = |ok: bool, words: &str| {
        let checks = lab.doctor("key of the secrets");
        assert!(
            matches!(&checks[..], [(_, found, says)] if *found == ok && says.contains(words)),
            "{checks:?}"
        );
    };
    found(true, "secrets.key");
    fs::set_permissions(lab.key(), fs::Permissions::from_mode(0o640)).unwrap();
    found(false, "chmod 600");
    fs::set_permissions(lab.key(), fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(lab.key()).unwrap().uid();
    // Only root can give files away.
    if owner == 0 {
        chown(lab.key(), Some(4711), None).unwrap();
        found(false, "belongs to the user 4711");
        chown(lab.key(), Some(0), None).unwrap();
    }
    let aside = lab.at("aside");
    fs::rename(lab.key(), &aside).unwrap();
    found(false, "put secrets.key back");
    fs::rename(&aside, lab.key()).unwrap();
    found(true, "secrets.key");
    let keys = fs::read_to_string(lab.key()).unwrap();
    fs::write(lab.key(), keys.clone() + &keys).unwrap();
    found(false, "rotate-key` ends what was begun");
}

#[test]
fn it_may_be_a_credential_of_the_service_manager() {
    let lab = Lab::with_job();
    let credentials = lab.at("credentials");
    fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("backstay-secrets.key");
    fs::rename(lab.key(), &credential).unwrap();
    // As systemd leaves it for a service of another user.
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).unwrap();
    lab.backstay.run(&["run", "j"]).code(15);
    let Lab { backstay } = lab;
    let lab = Lab {
        backstay: backstay.env("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
    };
    lab.assert_usable("with a credential");
    let refused = lab.backstay.run(&["secret", "rotate-key"]).code(2);
    assert!(said(&refused).contains("age-keygen"), "{}", refused.stderr);
    // Another key before it, made elsewhere.
    let other = Lab::with_job();
    let [old, new] = [&credential, &other.key()].map(|file| fs::read_to_string(file).unwrap());
    fs::write(&credential, format!("{new}{old}")).unwrap();
    lab.backstay.run(&["secret", "rotate-key"]).ok();
    fs::write(&credential, new).unwrap();
    lab.assert_usable("with another key in the credential");
    assert!(!lab.key().exists());
}
