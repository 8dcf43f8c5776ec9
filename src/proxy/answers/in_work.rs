//! Which commands this life of this instance is sending.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// The commands that are being sent, by the numbers of their claims. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct InWork(Arc<Mutex<HashSet<u64>>>);

impl InWork {
    /// A command is in work until what this returns is dropped.
    pub(super) fn begin(&self, number: u64) -> Working {
        self.0.lock().insert(number);
        Working {
            number,
            all: self.clone(),
        }
    }

    /// Returns whether a command is in work.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.lock().contains(&number)
    }
}

/// A command that is in work.
#[derive(Debug)]
pub(super) struct Working {
    number: u64,
    all: InWork,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_in_work_until_it_is_dropped() {
        let all = InWork::default();
        let (first, second) = (all.begin(1), all.begin(2));
        drop(first);
        assert!(!all.contains(1));
        assert!(all.contains(2));
        drop(second);
        assert!(!all.contains(2));
    }
}
