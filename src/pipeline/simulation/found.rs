//! Schedules that showed a mistake in the product, by name.

use super::choice::Named;
use super::cluster::Scope;
use super::{RIVALS, SPLIT, TWINS};

/// What the simulation has found in the product, each with the schedule that showed it.
pub(super) const FOUND: &[(&str, Scope, &[Named])] = &[
    (
        "a slot that a successor moves on while the start looks away is no gap",
        TWINS,
        &[((0, "look at the slot again"), 1, "stalls")],
    ),
    (
        "a slot that a late request of the last owner created is used",
        TWINS,
        &[((0, "create the slot"), 1, "waits a moment"), ((2, "marker"), 3, "waits a moment")],
    ),
    (
        "a slot that an unfenced instance moves on is no gap",
        RIVALS,
        &[
            ((0, "read the checkpoint behind the fence"), 2, "is joined by the other"),
            ((2, "marker"), 1, "stalls"),
            ((1, "look at the source"), 2, "stalls"),
        ],
    ),
    (
        "the checkpoint that an instance writes late, after its successor's, is none",
        RIVALS,
        &[
            ((0, "start the stream"), 2, "has no effect, the client sees a failure"),
            ((0, "commit"), 7, "is joined by the other"),
            ((0, "append"), 1, "stalls"),
            ((0, "send records"), 8, "stalls"),
        ],
    ),
    (
        "a split transaction is not too long because the pieces that are committed lasted long",
        SPLIT,
        &[
            ((0, "send records"), 3, "is slow"),
            ((0, "send records"), 5, "is slow"),
            ((0, "send records"), 7, "is slow"),
            ((0, "commit"), 18, "has no effect, the client sees a failure"),
        ],
    ),
    (
        "a split transaction of which a part is published is a gap where a failover lost it",
        SPLIT,
        &[
            ((0, "confirm"), 7, "sees a standby promoted that lacks the last record"),
            ((0, "send records"), 5, "is slow"),
            ((0, "confirm"), 12, "kafka is away"),
        ],
    ),
];
