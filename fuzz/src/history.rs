//! Ancestors ascend to the timeline, and what was read reads the same again.

use std::fmt::Write as _;

use pgbackrest_keeper::pgbackrest::archive::TimelineHistory;

pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for timeline in [1, 2, 5, u32::MAX] {
        let read = TimelineHistory::parse(timeline, &text);
        if text.len() + 4 < TimelineHistory::MAX_BYTES {
            assert_eq!(TimelineHistory::parse(timeline, &format!("{text}\n#\n")), read);
        }
        let Ok(history) = read else { continue };
        assert!(timeline > 1, "the first timeline has no ancestor");
        assert!(
            history
                .parents
                .is_sorted_by(|one, next| one.timeline < next.timeline && one.switch < next.switch)
        );
        assert!(history.parents.last().is_some_and(|last| last.timeline < timeline));
        let mut printed = String::new();
        for parent in &history.parents {
            writeln!(printed, "{}\t{}\tno reason", parent.timeline, parent.switch)
                .expect("a string takes all");
        }
        assert_eq!(TimelineHistory::parse(timeline, &printed), Ok(history));
    }
}
