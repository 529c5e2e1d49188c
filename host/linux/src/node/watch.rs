//! What can be said of an executor that does not answer, from the control thread.

use crate::inspect::Outside;
use baton_executor::Watch;
use std::sync::{Arc, OnceLock};

/// The executor's watch, set as soon as there is one.
#[derive(Clone, Default)]
pub(super) struct Late(Arc<OnceLock<Watch>>);

impl Late {
    pub(super) fn set(&self, watch: Watch) {
        // A node has one executor, so this is the first time.
        let _ = self.0.set(watch);
    }
}

/// Says how far the executor has come and what it polled last.
pub(super) fn outside(watch: &Late) -> Outside {
    let watch = watch.clone();
    Box::new(move || {
        let Some(watch) = watch.0.get() else {
            return "the executor has not begun".into();
        };
        let doing = if watch.is_sleeping() {
            "it sleeps"
        } else {
            "it is awake"
        };
        let task = match watch.last_polled() {
            Some(task) => format!("polled task {task} last"),
            None => "polled no task lately".into(),
        };
        format!("executor: {} turns done, {doing}, {task}", watch.turns())
    })
}
