//! Leases: what is claimed is renewed for as long as its work runs.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::store::StoreError;

/// Renews a lease until it is lost: `renew` says whether it is still held.
///
/// A lease counts from when it was asked for, however long the renewal took: where others write for long, little of it may be
/// left by then. A renewal that failed is tried again soon: it may have waited in vain behind somebody who writes for long,
/// and when that ends others look whether the lease has run out.
pub(crate) async fn keep<R>(lease: Duration, what: &'static str, mut renew: impl FnMut() -> R)
where
    R: Future<Output = Result<bool, StoreError>>,
{
    let mut pause = lease / 3;
    loop {
        tokio::time::sleep(pause).await;
        let asked = Instant::now();
        match renew().await {
            Ok(true) => pause = (lease / 3).saturating_sub(asked.elapsed()).max(lease / 12),
            Ok(false) => return,
            Err(error) => {
                pause = lease / 12;
                tracing::warn!(%error, "{what} could not be renewed; it is tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::store::StoreErrorKind;

    /// When renewals are asked for, in thousandths of a lease, where each takes so long and ends so.
    async fn asked(ends: &[(u64, Option<bool>)]) -> Vec<u128> {
        let (lease, begun) = (Duration::from_millis(1_200), tokio::time::Instant::now());
        let (asked, mut ends) = (RefCell::new(Vec::new()), ends.iter());
        keep(lease, "a claim", || {
            asked.borrow_mut().push(begun.elapsed().as_millis() * 10 / 12);
            let (takes, end) = *ends.next().unwrap();
            async move {
                // What a renewal takes is real time: a lease goes by the system's clock.
                std::thread::sleep(Duration::from_millis(takes));
                end.ok_or_else(|| StoreError::new(StoreErrorKind::Busy, "made to fail"))
            }
        })
        .await;
        asked.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_held_is_renewed_every_third_of_it_until_it_is_lost() {
        let held = (0, Some(true));
        assert_eq!(asked(&[held, held, (0, Some(false))]).await, [333, 666, 1_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_renewal_that_was_slow_or_failed_the_next_comes_soon() {
        // Slower than the time between two: virtual time stands still meanwhile.
        let times = asked(&[(500, Some(true)), (0, None), (0, Some(true)), (0, Some(false))]).await;
        assert_eq!(times, [333, 416, 500, 833]);
    }
}
