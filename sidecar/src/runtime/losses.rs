//! Says in the log when a sink begins to lose.

use super::keeper::Keeper;
use std::collections::HashMap;
use std::rc::Rc;

/// How often sinks are asked how they are.
const SINK_WATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// Says once when a sink begins to lose, and once when it has stopped.
pub(super) async fn watch_sinks(keeper: Rc<Keeper>) {
    let mut known: HashMap<(String, String), (u64, bool)> = HashMap::new();
    let mut errors: HashMap<(String, String), String> = HashMap::new();
    loop {
        tokio::time::sleep(SINK_WATCH).await;
        for s in keeper.hub.stats() {
            let lost = s.dropped_full + s.dropped_error + s.oversize;
            let key = (s.sink.to_string(), s.target.to_string());
            if let Some(error) = &s.last_error
                && s.sent == 0
                && errors.insert(key, error.clone()).is_none()
            {
                tracing::warn!(sink = %s.sink, target = %s.target, "nothing could be sent yet: {error}");
            }
            let (before, failing) = known.entry((s.sink.to_string(), s.target.to_string())).or_insert((0, false));
            if lost > *before && !*failing {
                let error = s.last_error.as_deref().unwrap_or("too slow");
                tracing::warn!(sink = %s.sink, target = %s.target, lost, "records are being lost: {error}");
                *failing = true;
            } else if lost == *before && *failing {
                tracing::info!(sink = %s.sink, target = %s.target, lost, "no more records are being lost");
                *failing = false;
            }
            *before = lost;
        }
    }
}
