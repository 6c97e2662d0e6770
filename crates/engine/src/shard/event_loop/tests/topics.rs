//! Topics: order, delivery exactly once, slow subscribers, and limits.

mod order;
