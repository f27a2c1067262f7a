//! The pages that hold a program's code. They outlive the module that filled them, with all it knew of its functions.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider, SystemMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};

/// The executable pages of a program, freed when it is dropped.
pub(super) struct Pages(Arc<Mutex<SystemMemoryProvider>>);

/// The same, as a module fills them. A module that is dropped leaves them as they are.
struct Provider(Arc<Mutex<SystemMemoryProvider>>);

impl Default for Pages {
    fn default() -> Pages {
        Pages(Arc::new(Mutex::new(SystemMemoryProvider::new())))
    }
}

impl Pages {
    /// For one module.
    pub(super) fn provider(&self) -> Box<dyn JITMemoryProvider + Send> {
        Box::new(Provider(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the entry points are private to the program that owns the pages and die with it.
        unsafe { lock(&self.0).free_memory() };
    }
}

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        lock(&self.0).allocate(size, align, kind)
    }

    unsafe fn free_memory(&mut self) {
        // SAFETY: whoever calls this vouches for it.
        unsafe { lock(&self.0).free_memory() };
    }

    fn finalize(&mut self, branch_protection: BranchProtection) -> ModuleResult<()> {
        lock(&self.0).finalize(branch_protection).map_err(|error| match error {
            // Nothing is done here but asking the system to let code run. With its causes: the last one is what the system said.
            ModuleError::Backend(error) => ModuleError::Allocation { err: io::Error::other(format!("{error:#}")) },
            other => other,
        })
    }
}

/// One thread compiles a program, so nobody waits here.
fn lock(pages: &Mutex<SystemMemoryProvider>) -> MutexGuard<'_, SystemMemoryProvider> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}
