//! The filter of system calls: what programs, interpreters and their libraries need, and nothing else.
//!
//! A call that isn't on the list doesn't exist for a script (`ENOSYS`), as on an older kernel, so libraries fall
//! back. Not on it are namespaces, mounts, tracing, keys, kernel modules, BPF, io_uring, files by handle, memory without a name, clocks to
//! set, and whatever future kernels add.

mod calls;

use std::collections::BTreeMap;

use backstay_model::{Code, Error, Result};
use libc::{SYS_clone, SYS_ioctl, SYS_personality, SYS_socket, SYS_socketpair};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use calls::{ALLOWED, ALSO_ALLOWED};

/// Flags of `clone` that make namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// `CLONE_NEWTIME`. It shares its bit with the signal that tells of the child's end, which none does.
const NEW_TIME: i32 = 0x80;

/// Families of sockets. The others reach hypervisors, drivers and the kernel's cryptography.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Orders to a terminal that put words into the mouth of whoever sits at it: `TIOCSTI` and `TIOCLINUX`.
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541C];

/// The program for the kernel.
///
/// # Errors
/// This processor isn't known.
pub(crate) fn program() -> Result<Vec<u8>> {
    let failed = |e: seccompiler::BackendError| {
        Error::new(Code::Environment, "the filter of system calls can't be made").because(e)
    };
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(ALSO_ALLOWED)
        .map(|call| (*call, Vec::new()))
        .collect();
    let equal = |argument, value| rule(&[(argument, Compare::Eq, value)]);
    let no_namespace = Compare::MaskedEq(u64::from((NAMESPACES | NEW_TIME).cast_unsigned()));
    rules.insert(SYS_clone, vec![rule(&[(0, no_namespace, 0)]).map_err(failed)?]);
    rules.insert(
        SYS_personality,
        vec![
            equal(0, 0).map_err(failed)?,
            equal(0, 0xffff_ffff).map_err(failed)?,
        ],
    );
    let families = FAMILIES.map(|family| equal(0, u64::from(family.cast_unsigned())));
    rules.insert(
        SYS_socket,
        families
            .into_iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?,
    );
    rules.insert(
        SYS_socketpair,
        vec![equal(0, u64::from(libc::AF_UNIX.cast_unsigned())).map_err(failed)?],
    );
    let others = TERMINAL_INPUT.map(|order| (1, Compare::Ne, order));
    rules.insert(SYS_ioctl, vec![rule(&others).map_err(failed)?]);
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let filter = SeccompFilter::new(rules, missing, SeccompAction::Allow, arch).map_err(failed)?;
    let program = BpfProgram::try_from(filter).map_err(failed)?;
    Ok(program.iter().flat_map(bytes).collect())
}

/// Conditions on the lower halves of arguments, all of which must hold.
fn rule(conditions: &[(u8, Compare, u64)]) -> std::result::Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, compare, value)| {
            SeccompCondition::new(*argument, Length::Dword, compare.clone(), *value)
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    SeccompRule::new(conditions)
}

/// An instruction as the kernel reads it.
fn bytes(instruction: &seccompiler::sock_filter) -> [u8; 8] {
    let [c0, c1] = instruction.code.to_ne_bytes();
    let [k0, k1, k2, k3] = instruction.k.to_ne_bytes();
    [c0, c1, instruction.jt, instruction.jf, k0, k1, k2, k3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_programs_of_this_length() {
        let program = program().unwrap();
        assert!(
            program.len().is_multiple_of(8) && program.len() / 8 < 4096,
            "{}",
            program.len()
        );
    }

    #[test]
    fn what_opens_a_way_out_is_not_on_the_list() {
        for call in [
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_open_by_handle_at,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_kexec_load,
            libc::SYS_memfd_create,
            libc::SYS_shmget,
            libc::SYS_init_module,
            libc::SYS_clock_settime,
            libc::SYS_settimeofday,
        ] {
            assert!(
                !ALLOWED.contains(&call) && !ALSO_ALLOWED.contains(&call),
                "{call}"
            );
        }
    }
}
