//! Scripts that mean harm.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use backstay_confine::How;

use super::lab::Lab;

#[test]
fn files_of_the_host_are_not_there() {
    let lab = Lab::new();
    let said = lab.sh(
        "for f in /etc/shadow /etc/ssh /root /home /var /boot /sys /run /srv /mnt /opt /etc/fstab /proc/1/environ \
         /proc/1/root/etc /proc/kcore /proc/kmsg /dev/mem /dev/sda /dev/kvm /dev/fuse; do\n\
         head -c 1 $f >/dev/null 2>&1 && echo saw $f\n ls $f/ >/dev/null 2>&1 && echo listed $f\ndone; id -u; ls / | tr '\\n' ' '",
    );
    let user: u32 = said[0].parse().unwrap();
    assert!((65_000..65_500).contains(&user), "{said:?}");
    for name in said[1].split_whitespace() {
        let own = [
            "backstay", "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr",
        ];
        assert!(own.contains(&name), "{name} in {}", said[1]);
    }
}

#[test]
fn the_host_can_not_be_written_to() {
    let lab = Lab::new();
    let said = lab.sh(
        "for f in /x /usr/x /usr/bin/sh /etc/x /etc/passwd /backstay/x /dev/x /dev/sda /proc/sys/kernel/hostname \
         /proc/sysrq-trigger /proc/1/oom_score_adj /bin/x; do (echo x > $f) 2>/dev/null && echo wrote $f; done\n\
         hostname hacked 2>/dev/null; uname -n | grep hacked\ndate -s 2001-01-01 >/dev/null 2>&1 && echo set the clock\n\
         mknod b b 8 0 2>/dev/null && echo made a device\nrenice -n -5 $$ >/dev/null 2>&1 && echo reniced; true",
    );
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn it_has_no_rights_and_gets_none() {
    let lab = Lab::new();
    let said = lab.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status");
    for line in &said {
        let (name, value) = line.split_once(':').unwrap();
        let value = value.trim();
        match name {
            "NoNewPrivs" => assert_eq!(value, "1"),
            "Seccomp" => assert_eq!(value, "2"),
            "Groups" => assert_eq!(value, ""),
            _ => assert_eq!(value.trim_matches('0'), "", "{line}"),
        }
    }
    assert_eq!(said.len(), 8, "{said:?}");
    let said = lab.sh("for p in su sudo mount newgrp passwd chsh; do command -v $p >/dev/null && echo | $p -c id </dev/null 2>/dev/null | grep -q uid=0 && echo root by $p; done; true");
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn calls_that_open_a_way_out_do_not_exist() {
    let lab = Lab::new();
    // clone3, unshare, setns, mount, umount2, pivot_root, chroot, ptrace, process_vm_readv, process_vm_writev, bpf,
    // perf_event_open, keyctl, add_key, request_key, open_by_handle_at, name_to_handle_at, io_uring_setup, userfaultfd,
    // kexec_load, init_module, finit_module, delete_module, fsopen, open_tree, move_mount, pidfd_getfd, memfd_create,
    // memfd_secret, shmget, msgget, semget, mq_open, swapon, reboot, sethostname, settimeofday, clock_settime,
    // acct, quotactl, syslog, iopl, ioperm, modify_ldt, vhangup, fanotify_init, seccomp, landlock_create_ruleset
    #[cfg(target_arch = "x86_64")]
    let calls = "435,272,308,165,166,155,161,101,310,311,321,298,250,248,249,304,303,425,323,246,175,313,176,430,428,429,438,319,447,29,68,64,240,167,169,170,164,227,163,179,103,172,173,154,153,300,317,444";
    #[cfg(target_arch = "aarch64")]
    let calls = "435,97,268,40,39,41,51,117,270,271,280,241,219,217,218,265,264,425,282,104,105,273,106,430,428,429,438,279,447,194,186,190,180,224,142,161,170,112,89,60,116,58,262,277,444";
    let said = lab.python(&format!(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\nfor n in [{calls}]:\n  ctypes.set_errno(0)\n  r = libc.syscall(n, 0, 0, 0, 0, 0, 0)\n  if r != -1 or ctypes.get_errno() != errno.ENOSYS: print(n, r, ctypes.get_errno())"
    ));
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn namespaces_terminals_and_odd_sockets_are_refused_by_their_arguments() {
    let lab = Lab::new();
    let clone = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
    let said = lab.python(&format!(
        "import ctypes, errno, fcntl, socket, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         for flag in [0x10000000, 0x20000, 0x20000000, 0x40000000, 0x02000000, 0x04000000, 0x08000000]:\n  \
           r = libc.syscall({clone}, flag | 17, 0, 0, 0, 0)\n  \
           if r == 0: os._exit(0)\n  \
           if r != -1: print('clone', hex(flag))\n\
         for family in [16, 17, 31, 38, 40, 44]:\n  \
           try:\n    socket.socket(family, socket.SOCK_DGRAM, 0); print('family', family)\n  \
           except OSError: pass\n\
         import pty\na, b = pty.openpty()\n\
         for order in [0x5412, 0x541C]:\n  \
           try:\n    fcntl.ioctl(b, order, b'x'); print('order', hex(order))\n  \
           except OSError as e: assert e.errno == errno.ENOSYS, e\n\
         try:\n  open('/dev/tty'); print('terminal')\nexcept OSError: pass"
    ));
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn programs_that_make_namespaces_fail() {
    let lab = Lab::new();
    let said = lab.sh(
        "unshare -U true 2>/dev/null && echo unshare; unshare -m true 2>/dev/null && echo mounts\n\
         nsenter -t 1 -m true 2>/dev/null && echo nsenter; bwrap --ro-bind / / true 2>/dev/null && echo bwrap\n\
         mount -t tmpfs x /tmp 2>/dev/null && echo mounted; mount -o remount,rw / 2>/dev/null && echo remounted; true",
    );
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn other_processes_are_out_of_reach() {
    let lab = Lab::new();
    let host = std::process::id();
    let said = lab.sh(&format!(
        "kill -9 {host} 2>/dev/null && echo killed the host; kill -9 1 2>/dev/null && echo killed the first\n\
         ls /proc | grep -c '^[0-9]'"
    ));
    let seen: u32 = said.last().unwrap().parse().unwrap();
    assert!(said.len() == 1 && seen < 8, "{said:?}");
    // It can end itself, with all that is its own.
    let done = lab.run(&lab.script("a.sh", "kill -9 -1; kill -9 $$"));
    assert_eq!(done.ended.how, How::Exited(137));
}

#[test]
fn sockets_of_the_host_without_a_file_are_out_of_reach() {
    let lab = Lab::new();
    let name = format!("backstay-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let said = lab.python(&format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ntry:\n  s.connect('\\0{name}')\n  print('connected')\nexcept OSError:\n  print('none')"
    ));
    assert_eq!(said, ["none"]);
}

#[test]
fn no_descriptor_of_the_host_is_handed_down() {
    let lab = Lab::new();
    let said = lab.python("import os\nfor fd in sorted(os.listdir('/proc/self/fd'), key=int):\n  try: print(fd, os.readlink('/proc/self/fd/' + fd).split(':')[0])\n  except OSError: pass");
    assert_eq!(said[0], "0 /dev/null");
    assert_eq!(said[1..3], ["1 pipe", "2 pipe"]);
    assert!(
        said[3..]
            .iter()
            .all(|line| line.contains(lab.path().to_str().unwrap()) || line.contains("/proc/")),
        "{said:?}"
    );
}

#[test]
fn what_it_leaves_is_harmless() {
    let lab = Lab::new();
    let done = lab.run(&lab.script(
        "a.sh",
        "cp /bin/sh sh && chmod 6755 sh\nmkfifo pipe\nln -s /etc/shadow link\nmkdir d && ln -s ../../../etc d/up\n\
         echo ok > d/good && ln -s good d/fine\nmkdir -m 2777 shared\n\
         python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"",
    ));
    assert_eq!(done.ended.how, How::Exited(0), "{:?}", done.lines);
    let mut removed: Vec<_> = done
        .ended
        .output
        .removed
        .iter()
        .map(|r| format!("{}: {}", r.path, r.what))
        .collect();
    removed.sort_unstable();
    assert_eq!(
        removed,
        [
            "d/up: a link that leads out of the output",
            "link: a link that leads out of the output",
            "pipe: a named pipe",
            "sh: a bit that lends the owner's rights (the file is kept)",
            "socket: a socket",
        ]
    );
    use std::os::unix::fs::MetadataExt as _;
    for (name, mode) in [("sh", 0o755), ("shared", 0o777)] {
        assert_eq!(
            fs::metadata(lab.output().join(name)).unwrap().mode() & 0o7777,
            mode,
            "{name}"
        );
    }
    assert!(!lab.output().join("pipe").exists() && lab.output().join("d/fine").exists());
}

#[test]
fn scripts_at_the_same_time_are_strangers() {
    let lab = Lab::new();
    let users: Vec<String> = (0..3).flat_map(|_| lab.sh("id -u")).collect();
    assert!(users[0] != users[1] && users[1] != users[2], "{users:?}");
}

#[test]
fn what_it_says_is_plain_text() {
    let lab = Lab::new();
    let said = lab.sh("printf '\\033]0;owned\\007\\033[31mred\\033[0m\\r\\n\\033]52;c;YQ==\\007x\\377\\n'");
    assert_eq!(said, ["red", "x\u{fffd}"]);
}
