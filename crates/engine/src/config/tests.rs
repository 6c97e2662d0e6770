//! The range of each option, and the text of its error.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The text of an error.
fn refused<T>(result: Result<T, ConfigError>) -> String {
    result.map(drop).expect_err("out of range").to_string()
}

#[test]
fn the_defaults_are_in_range() {
    assert_eq!(Config::new().check(), Ok(()));
    assert_eq!(Limits::new().check(), Ok(()));
    assert_eq!((Deflate::shared().check(), Deflate::takeover().check()), (Ok(()), Ok(())));
    assert_eq!(Shards::default().check(), Ok(()));
}

#[test]
fn numbers_are_accepted_within_their_range_and_refused_outside() {
    let ring = |entries| Config::new().ring_entries(entries);
    assert!(ring(8).is_ok() && ring(32_768).is_ok());
    assert_eq!(refused(ring(7)), "ring_entries is 7: give 8 to 32768");
    assert_eq!(refused(ring(32_769)), "ring_entries is 32769: give 8 to 32768");

    let message = |bytes| Limits::new().max_message(bytes);
    assert!(message(1).is_ok() && message(1 << 30).is_ok());
    assert_eq!(refused(message(0)), "limits.max_message is 0: give 1 to 1073741824");
    assert_eq!(refused(message((1 << 30) + 1)), "limits.max_message is 1073741825: give 1 to 1073741824");

    let buffered = |bytes| Limits::new().max_buffered(bytes);
    assert!(buffered(1).is_ok() && buffered(1 << 30).is_ok());
    assert_eq!(refused(buffered(0)), "limits.max_buffered is 0: give 1 to 1073741824");
    assert!(buffered(usize::MAX).is_err());

    let low = |bytes| Limits::new().low_water(bytes);
    assert!(low(None).is_ok() && low(Some(0)).is_ok() && low(Some((1 << 30) - 1)).is_ok());
    assert_eq!(refused(low(Some(1 << 30))), "limits.low_water is 1073741824: give 0 to 1073741823");

    let head = |bytes| Limits::new().max_head(bytes);
    assert!(head(128).is_ok() && head(1 << 20).is_ok());
    assert_eq!(refused(head(127)), "limits.max_head is 127: give 128 to 1048576");
    assert!(head((1 << 20) + 1).is_err());

    let headers = |count| Limits::new().max_headers(count);
    assert!(headers(1).is_ok() && headers(128).is_ok());
    assert_eq!(refused(headers(0)), "limits.max_headers is 0: give 1 to 128");
    assert!(headers(129).is_err());

    let requests = |count| Limits::new().max_requests(count);
    assert!(requests(1).is_ok() && requests(1 << 30).is_ok());
    assert_eq!(refused(requests(0)), "limits.max_requests is 0: give 1 to 1073741824");
    assert!(requests((1 << 30) + 1).is_err());

    let connections = |count| Limits::new().max_connections(count);
    assert!(connections(1).is_ok() && connections(1 << 30).is_ok());
    assert_eq!(refused(connections(0)), "limits.max_connections is 0: give 1 to 1073741824");
    assert!(connections((1 << 30) + 1).is_err());

    let memory = |bytes| Limits::new().max_memory(bytes);
    assert!(memory(None).is_ok() && memory(Some(1 << 20)).is_ok() && memory(Some(usize::MAX)).is_ok());
    assert_eq!(refused(memory(Some(1000))), "limits.max_memory is 1000: give 1048576 or more");
}

#[test]
fn compression_is_refused_out_of_range() {
    let shared = Deflate::shared;
    assert!((9..=15).all(|bits| shared().window_bits(bits).is_ok() && shared().peer_window_bits(bits).is_ok()));
    assert_eq!(refused(shared().window_bits(16)), "deflate.window_bits is 16: give 9 to 15");
    assert_eq!(refused(shared().window_bits(8)), "deflate.window_bits is 8: give 9 to 15");
    assert_eq!(refused(shared().peer_window_bits(8)), "deflate.peer_window_bits is 8: give 9 to 15");
    assert!((1..=9).all(|level| shared().level(level).is_ok()));
    assert_eq!(refused(shared().level(0)), "deflate.level is 0: give 1 to 9");
    assert_eq!(refused(shared().level(10)), "deflate.level is 10: give 1 to 9");
}

#[test]
fn times_of_zero_and_of_more_than_a_year_are_refused() {
    type Set = fn(Duration) -> Result<(), ConfigError>;
    let options: [(&str, Set); 8] = [
        ("handshake_timeout", |time| Config::new().handshake_timeout(time).map(drop)),
        ("keep_alive_timeout", |time| Config::new().keep_alive_timeout(time).map(drop)),
        ("idle_timeout", |time| Config::new().idle_timeout(Some(time)).map(drop)),
        ("write_timeout", |time| Config::new().write_timeout(time).map(drop)),
        ("close_timeout", |time| Config::new().close_timeout(time).map(drop)),
        ("close_limit", |time| Config::new().close_limit(time).map(drop)),
        ("max_lifetime", |time| Config::new().max_lifetime(Some(time)).map(drop)),
        ("limits.message_timeout", |time| Limits::new().message_timeout(time).map(drop)),
    ];
    for (option, set) in options {
        assert!(set(Duration::from_millis(1)).is_ok() && set(365 * DAY).is_ok(), "{option}");
        assert_eq!(refused(set(Duration::ZERO)), format!("{option} is 0ns: give 1 ms to 365 days"));
        assert_eq!(refused(set(366 * DAY)), format!("{option} is 31622400s: give 1 ms to 365 days"));
    }
    assert!(Config::new().idle_timeout(None).is_ok());
    assert!(Config::new().stop_timeout(Duration::ZERO).is_ok(), "connections are dropped at once");
    assert!(Config::new().stop_timeout(366 * DAY).is_err());
    assert!(Config::new().drain_delay(Duration::ZERO).is_ok() && Config::new().drain_delay(366 * DAY).is_err());
}

#[test]
fn the_drain_rate_is_a_positive_number_or_none() {
    let rate = |rate| Config::new().drain_rate(rate);
    assert!(rate(None).is_ok() && rate(Some(1)).is_ok() && rate(Some(1_000_000)).is_ok());
    assert_eq!(refused(rate(Some(0))), "drain_rate is 0: give 1 to 1000000");
    assert_eq!(refused(rate(Some(1_000_001))), "drain_rate is 1000001: give 1 to 1000000");
}

#[test]
fn the_busy_poll_time_is_limited_to_a_second() {
    let busy_poll = |time| Config::new().busy_poll(BusyPoll::Fixed(time));
    assert!(busy_poll(Duration::from_micros(1)).is_ok() && busy_poll(Duration::from_secs(1)).is_ok());
    assert!(Config::new().busy_poll(BusyPoll::Off).is_ok());
    let range = "give 1 µs to 1 s, BusyPoll::Adaptive or BusyPoll::Off";
    assert_eq!(refused(busy_poll(Duration::ZERO)), format!("busy_poll is 0ns: {range}"));
    assert_eq!(refused(busy_poll(Duration::from_secs(2))), format!("busy_poll is 2s: {range}"));
}

#[test]
fn the_timer_slack_is_limited_to_a_second() {
    let slack = |time| Config::new().timer_slack(Some(time));
    assert!(slack(Duration::from_nanos(1)).is_ok() && slack(Duration::from_secs(1)).is_ok());
    assert!(Config::new().timer_slack(None).is_ok());
    assert_eq!(refused(slack(Duration::ZERO)), "timer_slack is 0ns: give 1 ns to 1 s");
    assert_eq!(refused(slack(Duration::from_secs(2))), "timer_slack is 2s: give 1 ns to 1 s");
}

#[test]
fn subprotocols_are_tokens() {
    assert!(Config::new().subprotocols(["chat", "v2.chat!"]).is_ok());
    assert!(Config::new().subprotocols(Vec::<String>::new()).is_ok());
    let range = "give names of letters, digits and !#$%&'*+-.^_`|~";
    assert_eq!(refused(Config::new().subprotocols(["chat", "a b"])), format!("subprotocols is \"a b\": {range}"));
    assert_eq!(refused(Config::new().subprotocols([""])), format!("subprotocols is \"\": {range}"));
}

#[test]
fn no_cores_and_no_shards_are_refused() {
    let error = refused(Config::new().cores(Cores::List(vec![])));
    assert_eq!(error, "cores is an empty list: give at least one core, or Cores::All");
    assert!(Config::new().cores(Cores::List(vec![0])).is_ok());
    assert_eq!(refused(Shards::Count(0).check()), "shards is 0: give 1 to 1024");
    assert!(Shards::Count(1).check().is_ok() && Shards::Count(1024).check().is_ok());
    assert!(Shards::Count(1025).check().is_err());
}

#[test]
fn relations_are_checked_regardless_of_the_order_of_the_setters() -> Result<(), ConfigError> {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let config = Config::new().close_timeout(minutes(2))?;
    assert_eq!(refused(config.check()), "close_limit is 60s: give at least close_timeout, 120s");
    assert_eq!(config.close_limit(minutes(2))?.check(), Ok(()));

    let limits = Limits::new().max_memory(Some(8 << 20))?;
    let error = "limits.max_memory is 8388608: give at least limits.max_message, 16777216";
    assert_eq!(refused(limits.check()), error);
    assert_eq!(limits.max_message(8 << 20)?.check(), Ok(()));
    Ok(())
}

#[test]
fn options_set_without_a_setter_are_checked_at_the_start() {
    let configs = [
        Config { ring_entries: 0, ..Config::new() },
        Config { idle_timeout: Some(Duration::ZERO), ..Config::new() },
        Config { deflate: Some(Deflate { level: 0, ..Deflate::shared() }), ..Config::new() },
        Config { subprotocols: vec![String::new()], ..Config::new() },
    ];
    for config in configs {
        assert!(config.check().is_err(), "{config:?}");
    }
    assert!(Limits { max_headers: 0, ..Limits::new() }.check().is_err());
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    let list = |origin: &str| Config::default().origins(OriginPolicy::List(vec![origin.to_owned()]));
    for origin in ["https://example.com", "http://localhost:8080", "null", "chrome-extension://abc"] {
        assert!(list(origin).is_ok(), "{origin}");
    }
    for origin in ["", "example.com", "https://example.com/", "https://", "https://*.example.com", "*"] {
        let error = list(origin).expect_err(origin);
        assert_eq!((error.option, error.value), ("origins", format!("{origin:?}")));
    }
    let error = Config::default().origins(OriginPolicy::List(Vec::new())).expect_err("nobody could connect");
    assert_eq!(error.to_string(), "origins is an empty list: give at least one origin");
}

#[test]
fn a_threshold_beyond_the_maximum_size_would_compress_nothing() {
    let deflate = Deflate::shared().threshold(2000).max_size(1000);
    let error = Config::default().deflate(Some(deflate)).check().expect_err("nothing is compressed");
    assert_eq!(error.to_string(), "deflate.threshold is 2000: give at most deflate.max_size, 1000");
}

#[test]
fn the_low_water_mark_is_below_the_high_one() {
    let limits = |low| Limits::new().max_buffered(1000).and_then(|limits| limits.low_water(low));
    let check = |low| limits(low).and_then(|limits| limits.check());
    assert_eq!((check(None), check(Some(0)), check(Some(999))), (Ok(()), Ok(()), Ok(())));
    assert_eq!(refused(check(Some(1000))), "limits.low_water is 1000: give less than limits.max_buffered, 1000");
    assert_eq!(limits(None).expect("in range").low_mark(), 500);
    assert_eq!(limits(Some(7)).expect("in range").low_mark(), 7);
}

#[test]
fn the_jitter_of_lifetimes_is_at_most_the_maximum_lifetime() {
    let day = Some(DAY);
    let check = |max, jitter| {
        Config::new()
            .max_lifetime(max)
            .and_then(|config| config.lifetime_jitter(jitter))
            .and_then(|config| config.check())
    };
    assert_eq!((check(day, day), check(day, Some(Duration::ZERO)), check(day, None)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(refused(check(day, Some(2 * DAY))), "lifetime_jitter is 172800s: give at most max_lifetime, 86400s");
    assert_eq!(
        refused(check(None, day)),
        "lifetime_jitter is 86400s: give no jitter, or a max_lifetime that it applies to"
    );
}
