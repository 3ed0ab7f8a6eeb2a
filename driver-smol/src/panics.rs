//! What a panic on a thread of ours means.

/// Held by a thread that others rely on. Where it panicked, what it was at would be lost for good and nobody would know:
/// the process ends instead, the database being the truth.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a thread panicked: the process ends, the database is the truth");
            std::process::abort();
        }
    }
}
