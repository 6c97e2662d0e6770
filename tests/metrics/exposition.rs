//! A parser of the text of OpenMetrics 1.0, as far as a server writes it. It is strict, so that text
//! that a monitoring system refuses fails a test.

use std::collections::BTreeMap;

/// The numbers of one scrape.
#[derive(Debug)]
pub(crate) struct Exposition {
    /// The type of each family.
    pub(crate) families: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposition {
    /// Parses a text.
    ///
    /// # Panics
    /// If it is not valid.
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("the text has no end: {text}"));
        let mut parsed = Self { families: BTreeMap::new(), samples: Vec::new() };
        let mut family = String::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
                assert!(parsed.families.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(rest.contains(' ') && rest.is_ascii(), "a metric without a help text: {line}");
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line} after {family}");
            } else {
                let sample = Sample::parse(line);
                let suffix = sample.name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} belongs to {family}"));
                let suffixes: &[&str] = match parsed.families[&family].as_str() {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &["_info"],
                };
                assert!(suffixes.contains(&suffix), "{line} belongs to {family}");
                parsed.samples.push(sample);
            }
        }
        parsed
    }

    /// The sum of a metric over all samples with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |sample: &&Sample| labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|it| it == value));
        self.samples.iter().filter(|sample| sample.name == name).filter(has).map(|sample| sample.value).sum()
    }

    /// Whether there is a sample of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample without a value: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (series, ""),
        };
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{line}");
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
            let (key, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (key.to_owned(), value.unwrap_or_else(|| panic!("{line}")).to_owned())
        });
        let value = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { name: name.to_owned(), labels: labels.collect(), value }
    }
}
