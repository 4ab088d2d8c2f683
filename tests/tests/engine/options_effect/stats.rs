//! Effects of the options of statistics.

use nokv::{Db, Options};
use nokv_vfs_mem::MemFs;

use super::Case;
use super::support::small;

pub const CASES: &[Case] = &[("compaction_value_alert_threshold", compaction_value_alert_threshold)];

/// The same data alerts above the threshold, and never with 0.
fn compaction_value_alert_threshold() {
    for (threshold, alert) in [(0.5, true), (1.0, false), (0.0, false)] {
        let options = Options { compaction_value_alert_threshold: threshold, ..small() };
        let db = Db::open_on(MemFs::new(), options).unwrap();
        for k in 0..10u8 {
            db.set(&[k], &[1; 8 << 10]).unwrap();
        }
        db.flush().unwrap();
        let lsm = db.stats().lsm;
        assert!(lsm.value_density_max > 0.5 && lsm.value_density_max < 1.0);
        assert_eq!(lsm.value_density_alert, alert, "{threshold}");
    }
}
