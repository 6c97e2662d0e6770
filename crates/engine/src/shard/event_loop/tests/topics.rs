//! Topics: order, delivery exactly once, slow subscribers, and limits.

mod many;
mod order;
mod policies;
mod sharing;
