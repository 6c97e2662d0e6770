//! The report as JSON, with stable keys. docs/doctor.md and docs/doctor.schema.json describe them.

use super::fix::Fixes;
use crate::doctor::finding::{Finding, Group};
use crate::doctor::goal::Goal;
use crate::doctor::summary::Summary;
use crate::exit::Failure;
use serde::Serialize;
use std::collections::BTreeMap;

/// Keys are added within a version, never renamed.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    ringway: &'static str,
    goal: GoalKeys,
    summary: SummaryKeys<'a>,
    checks: Vec<CheckKeys<'a>>,
    fix: FixKeys<'a>,
}

#[derive(Serialize)]
struct GoalKeys {
    /// What `--for` names.
    target: Option<u64>,
    /// What the limits are compared with.
    connections: u64,
    role: &'static str,
    addresses: u64,
    shards: u64,
    bytes_per_connection: u64,
}

#[derive(Serialize)]
struct SummaryKeys<'a> {
    text: String,
    ready: bool,
    connections: Option<u64>,
    limited_by: Option<&'a str>,
    short: Vec<&'a str>,
    notes: usize,
    unknown: usize,
    good: usize,
}

#[derive(Serialize)]
struct CheckKeys<'a> {
    id: &'a str,
    group: &'a str,
    title: &'a str,
    state: &'a str,
    value: &'a str,
    allows: &'a str,
    connections: Option<u64>,
    needed: Option<&'a str>,
    commands: &'a [String],
    detail: &'a str,
}

#[derive(Serialize)]
struct FixKeys<'a> {
    sysctl: BTreeMap<&'a str, &'a str>,
    systemd: BTreeMap<&'a str, &'a str>,
}

/// The document, with a line feed at its end.
pub(crate) fn print(groups: &[Group], goal: &Goal) -> Result<String, Failure> {
    let summary = Summary::of(groups);
    let fixes = Fixes::of(groups);
    let document = Document {
        schema_version: SCHEMA_VERSION,
        ringway: env!("CARGO_PKG_VERSION"),
        goal: GoalKeys {
            target: goal.target,
            connections: goal.connections(),
            role: goal.role.name(),
            addresses: goal.addresses,
            shards: goal.shards,
            bytes_per_connection: goal.bytes_per_connection(),
        },
        summary: SummaryKeys {
            text: summary.headline(goal),
            ready: !summary.is_short(),
            connections: summary.first.as_ref().map(|first| first.connections),
            limited_by: summary.first.as_ref().map(|first| first.finding.id),
            short: summary.short.iter().map(|finding| finding.id).collect(),
            notes: summary.notes,
            unknown: summary.unknown,
            good: summary.good,
        },
        checks: groups
            .iter()
            .flat_map(|group| group.findings.iter().map(|finding| check(group.name, finding)))
            .collect(),
        fix: FixKeys { sysctl: values(&fixes.sysctls), systemd: values(&fixes.directives) },
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn check<'a>(group: &'a str, finding: &'a Finding) -> CheckKeys<'a> {
    CheckKeys {
        id: finding.id,
        group,
        title: finding.title,
        state: finding.state.name(),
        value: &finding.value,
        allows: &finding.allows,
        connections: finding.connections,
        needed: finding.needed.as_deref(),
        commands: &finding.commands,
        detail: &finding.detail,
    }
}

fn values<'a>(of: &BTreeMap<&'static str, (&'a str, &'a Finding)>) -> BTreeMap<&'a str, &'a str> {
    of.iter().map(|(key, (value, _))| (*key, *value)).collect()
}
