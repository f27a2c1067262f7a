//! What a process may find around it: threads that stayed with its parent, a system that gives no memory for code.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cranelift_module::ModuleError;

use super::guarded::step;
use super::{Pool, compile, failed};
use crate::error::BuildError;
use crate::fuse::{Budget, fuse, group};
use crate::memory::{Input, Memory, Params};

use crate::plan::plan;
use crate::simplify::simplify;
use crate::tiling::{Isa, Machine, tile};

/// What a child of `fork` ends with: the code that it gives, 101 after a panic, 255 if it is killed, after a while at the
/// latest.
fn child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs its body and ends there; nothing of the parent's goes on in it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "a child can be had");
    if pid == 0 {
        // SAFETY: a clock that ends the child if it hangs, and its children with it.
        unsafe {
            libc::alarm(30);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: it ends without any of the parent's destructors.
        unsafe { libc::_exit(code) }
    }
    let mut status = 0;
    // SAFETY: the child is ours, and its status has room.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 }
}

#[test]
fn a_child_of_fork_computes_without_the_threads_and_drops_them() {
    let fused = group(fuse(&simplify(&step([130, 140]))), &Budget::new(300));
    let plan = plan(&fused, tile(&fused, 300, Machine::of(Isa::detect()).with_cores(2))).expect("it fits");
    let code = compile(&fused, &plan).expect("it compiles");
    assert!(code.shares(300));
    let x: Vec<f32> = (0..300 * 130).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
    let mut pool = Pool::new(2).expect("threads can be had");
    code.reserve(&mut pool);
    let mut arena = vec![0.0; plan.with_scratch(2)];
    let mut run = |pool: &mut Pool| {
        let mut params = vec![0.01; plan.params_len];
        let (params_of_run, inputs) = (Params::Own(&mut params), [Input::Float(&x)]);
        let memory = Memory { arena: &mut arena, params: params_of_run, scalars: &[], inputs: &inputs, batch: 300 };
        assert!(code.run_on(pool, memory));
        params.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    let expected = run(&mut pool);
    let code = child(|| {
        let same = (0..3).all(|_| run(&mut pool) == expected);
        drop(pool);
        i32::from(!same)
    });
    assert_eq!(code, 0);
}

#[test]
fn a_child_that_has_the_number_of_its_parent_is_told_from_it() {
    const SKIPPED: i32 = 77;
    // SAFETY: from here on, children of this process begin a namespace. Mostly only the superuser may.
    let begin = || unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0;
    let code = child(|| {
        if !begin() {
            return SKIPPED;
        }
        child(|| {
            let (pool, number) = (Pool::new(2).expect("threads can be had"), std::process::id());
            if !begin() {
                return SKIPPED;
            }
            child(|| {
                let same = std::process::id() == number;
                drop(pool);
                i32::from(!same)
            })
        })
    });
    assert!([0, SKIPPED].contains(&code), "{code}");
}

#[test]
fn only_what_the_system_refuses_is_told_of_the_memory_for_code() {
    let refused = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(matches!(failed(ModuleError::Allocation { err: refused }), BuildError::CodeMemory(_)));
    let error = failed(ModuleError::Backend(std::fmt::Error.into()));
    assert!(matches!(error, BuildError::Machine(_)), "{error}");
}

#[test]
fn where_no_memory_may_be_executed_the_error_is_what_the_system_says() {
    const SET_MDWE: i32 = 65;
    const REFUSE_EXEC_GAIN: u64 = 1;
    const SKIPPED: i32 = 77;
    let code = child(|| {
        // SAFETY: from here on the child gets no new executable memory. Systems that are too old for it refuse.
        if unsafe { libc::prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0_u64, 0_u64, 0_u64) } != 0 {
            return SKIPPED;
        }
        let fused = fuse(&simplify(&step([3, 2])));
        let plan = plan(&fused, tile(&fused, 4, Machine::of(Isa::detect()))).expect("it fits");
        match compile(&fused, &plan) {
            Err(error @ BuildError::CodeMemory(_)) => i32::from(!error.to_string().contains("os error 13")),
            _ => 2,
        }
    });
    assert!([0, SKIPPED].contains(&code), "{code}");
}
