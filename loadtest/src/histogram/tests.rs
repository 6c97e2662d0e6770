use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn quantiles_are_never_below_the_truth_and_within_a_thousandth() {
    let mut recorder = Recorder::new();
    for nanos in 1..=1_000_000 {
        recorder.record(nanos);
    }
    let quantiles = recorder.quantiles().expect("recorded");
    for (found, truth) in [
        (quantiles.p50, 500.0),
        (quantiles.p75, 750.0),
        (quantiles.p90, 900.0),
        (quantiles.p95, 950.0),
        (quantiles.p99, 990.0),
        (quantiles.p999, 999.0),
        (quantiles.p9999, 999.9),
        (quantiles.max, 1000.0),
    ] {
        assert!((truth..truth * 1.0011).contains(&found), "{found} for {truth}");
    }
    assert_eq!((quantiles.count, quantiles.min), (1_000_000, 0.001));
    assert!((quantiles.mean - 500.0).abs() < 0.5, "{}", quantiles.mean);
    // Of a uniform distribution: the width divided by √12.
    assert!((quantiles.stdev - 1000.0 / 12f64.sqrt()).abs() < 0.5, "{}", quantiles.stdev);
}

#[test]
fn runs_of_equal_latencies_are_all_counted() {
    let mut recorder = Recorder::new();
    for nanos in [5_000, 5_000, 5_000, 7_000, 5_000] {
        recorder.record(nanos);
    }
    assert_eq!(recorder.buckets(), [Bucket(5.0, 5.003, 4), Bucket(7.0, 7.003, 1)]);
    recorder.record(7_000);
    let quantiles = recorder.quantiles().expect("recorded");
    assert_eq!((quantiles.count, quantiles.p50), (6, 5.003));
    recorder.record(9_000);
    recorder.record_lower_bound(9_000);
    recorder.reset();
    assert_eq!((recorder.quantiles(), recorder.distribution(), recorder.buckets()), (None, None, Vec::new()));
    recorder.record(1);
    assert_eq!(recorder.quantiles().and_then(|quantiles| quantiles.lower_bound_from), None);
}

#[test]
fn what_is_over_an_hour_is_kept_and_counted_and_is_a_lower_bound() {
    let (mut recorder, mut other) = (Recorder::new(), Recorder::new());
    recorder.record(u64::MAX);
    other.record(1000);
    other.record(1000);
    recorder.merge(&mut other);
    let quantiles = recorder.quantiles().expect("recorded");
    assert_eq!(quantiles.saturated, 1);
    assert!(quantiles.count == 3 && quantiles.max >= 3600e6, "{quantiles:?}");
    assert!(quantiles.is_lower_bound(quantiles.p90) && !quantiles.is_lower_bound(quantiles.p50), "{quantiles:?}");
    assert_eq!(quantiles.lower_bounds, 0, "it was answered");
}

#[test]
fn a_latency_of_nothing_is_recorded() {
    let mut recorder = Recorder::new();
    recorder.record(0);
    assert_eq!(recorder.quantiles().map(|quantiles| quantiles.count), Some(1));
}

#[test]
fn unanswered_messages_count_at_the_time_waited() {
    let mut recorder = Recorder::new();
    // 95 of 100 messages were answered; the others have waited for 2 to 6 s.
    (1..=95).for_each(|millis| recorder.record(millis * 1_000_000));
    (2..=6).for_each(|seconds| recorder.record_lower_bound(seconds * 1_000_000_000));
    let quantiles = recorder.quantiles().expect("recorded");
    assert_eq!((quantiles.count, quantiles.lower_bounds), (100, 5));
    let bounds = [quantiles.p50, quantiles.p90, quantiles.p95, quantiles.p99, quantiles.max];
    assert_eq!(bounds.map(|figure| quantiles.is_lower_bound(figure)), [false, false, false, true, true]);
    assert!(quantiles.p99 >= 5e6 && quantiles.p95 < 96e3, "{quantiles:?}");
}

#[test]
fn an_answer_slower_than_an_unanswered_message_may_be_too_small_a_figure() {
    let mut recorder = Recorder::new();
    recorder.record(1_000);
    recorder.record_lower_bound(5_000);
    recorder.record(9_000);
    let quantiles = recorder.quantiles().expect("recorded");
    assert!(quantiles.is_lower_bound(quantiles.max), "the second may take longer than the third");
}

#[test]
fn the_distribution_is_printed_as_hdrhistogram_prints_it() {
    let mut recorder = Recorder::new();
    (1..=8).for_each(|millis| recorder.record(millis * 1_000_000));
    recorder.record_lower_bound(16_000_000);
    let text = recorder.distribution().expect("recorded").to_string();
    let begins = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n       \
                  1.000 0.000000000000          1           1.00\n       1.000 0.100000000000          1           1.11\n";
    assert!(text.starts_with(begins), "{text}");
    let ends = "      16.007 1.000000000000          9\n\
                #[Mean    =        5.778, StdDeviation   =        4.211]\n\
                #[Max     =       16.007, Total count    =            9]\n\
                #[Buckets =           32, SubBuckets     =         2048]\n\
                #[Values from 15.999 are lower bounds; messages without an answer: 1]\n";
    assert!(text.ends_with(ends), "{text}");
}

/// Latencies that often are equal, and of all magnitudes.
fn latency() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..10, 0u64..100_000, 0..2 * MAX_NANOS, Just(5_000), Just(u64::MAX)]
}

/// Latencies, and whether each is a lower bound.
fn samples() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((latency(), prop::bool::weighted(0.1)), 0..200)
}

fn record(recorder: &mut Recorder, (nanos, is_bound): (u64, bool)) {
    if is_bound { recorder.record_lower_bound(nanos) } else { recorder.record(nanos) }
}

/// All that a recorder says.
fn contents(recorder: &mut Recorder) -> impl PartialEq + std::fmt::Debug + use<> {
    (recorder.quantiles(), recorder.buckets(), recorder.distribution())
}

const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

fn figures(quantiles: &Quantiles) -> [f64; 7] {
    let Quantiles { p50, p75, p90, p95, p99, p999, p9999, .. } = *quantiles;
    [p50, p75, p90, p95, p99, p999, p9999]
}

proptest! {
    // A histogram has 33 000 counters, which a build without optimization adds slowly.
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn merged_histograms_are_the_histogram_of_merged_samples(parts in prop::collection::vec(samples(), 1..6)) {
        let mut merged = Recorder::new();
        let mut whole = Recorder::new();
        for part in parts {
            let mut recorder = Recorder::new();
            for sample in part {
                record(&mut recorder, sample);
                record(&mut whole, sample);
            }
            merged.merge(&mut recorder);
        }
        prop_assert_eq!(contents(&mut merged), contents(&mut whole));
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_samples(samples in samples()) {
        let mut recorder = Recorder::new();
        samples.iter().for_each(|sample| record(&mut recorder, *sample));
        prop_assert_eq!(recorder.quantiles().is_none(), samples.is_empty());
        let Some(found) = recorder.quantiles() else { return Ok(()) };
        let mut sorted: Vec<u64> = samples.iter().map(|(nanos, _)| (*nanos).min(MAX_NANOS)).collect();
        sorted.sort_unstable();
        for (quantile, figure) in QUANTILES.into_iter().zip(figures(&found)) {
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            let truth = micros(sorted[rank - 1]);
            prop_assert!(figure >= truth && figure <= truth * 1.001 + 0.001, "{} for {} at {}", figure, truth, quantile);
        }
        prop_assert_eq!(found.count, samples.len() as u64);
        prop_assert_eq!(found.lower_bounds, samples.iter().filter(|(_, is_bound)| *is_bound).count() as u64);
        prop_assert_eq!(recorder.buckets().iter().map(|bucket| bucket.2).sum::<u64>(), found.count);
    }

    /// As a reader of several reports does it: with the buckets alone.
    #[test]
    fn the_buckets_of_several_runs_add_up_to_the_quantiles_of_all(parts in prop::collection::vec(samples(), 1..4)) {
        let mut whole = Recorder::new();
        let mut merged: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let nanos = |micros: f64| (micros * 1000.0).round() as u64;
        for part in parts {
            let mut recorder = Recorder::new();
            for sample in part {
                record(&mut recorder, sample);
                record(&mut whole, sample);
            }
            for Bucket(lower, upper, count) in recorder.buckets() {
                prop_assert!(lower <= upper && count > 0);
                *merged.entry((nanos(lower), nanos(upper))).or_default() += count;
            }
        }
        let bounds: Vec<(u64, u64)> = merged.keys().copied().collect();
        prop_assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0), "no bucket overlaps another");
        let Some(expected) = whole.quantiles() else { return Ok(()) };
        for (quantile, figure) in QUANTILES.into_iter().zip(figures(&expected)) {
            let rank = (quantile * expected.count as f64).ceil() as u64;
            let mut sum = 0;
            let at = merged.iter().find(|(_, count)| { sum += **count; sum >= rank });
            prop_assert_eq!(at.map(|((_, upper), _)| micros(*upper)), Some(figure));
        }
    }

    /// Some messages are not waited for until their answer. Whatever their latencies are: a figure
    /// that is not marked does not depend on them, and the others are not too large.
    #[test]
    fn a_figure_without_mark_is_that_of_all_answers(
        messages in prop::collection::vec((1..MAX_NANOS, prop::option::weighted(0.2, 0.0..1.0)), 1..200),
    ) {
        let (mut waited, mut answered) = (Recorder::new(), Recorder::new());
        for (nanos, share) in messages {
            answered.record(nanos);
            match share {
                Some(share) => waited.record_lower_bound((nanos as f64 * share) as u64),
                None => waited.record(nanos),
            }
        }
        let (Some(waited), Some(answered)) = (waited.quantiles(), answered.quantiles()) else {
            return Err(TestCaseError::fail("at least one message"));
        };
        let with = |quantiles: &Quantiles| [quantiles.min, quantiles.max];
        let found = figures(&waited).into_iter().chain(with(&waited));
        for (found, truth) in found.zip(figures(&answered).into_iter().chain(with(&answered))) {
            prop_assert!(found <= truth);
            prop_assert!(found == truth || waited.is_lower_bound(found), "{} for {}", found, truth);
        }
    }
}
