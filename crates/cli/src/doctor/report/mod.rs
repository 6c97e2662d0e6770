//! The forms of the report.

pub(super) mod fix;
pub(super) mod json;
pub(super) mod text;
