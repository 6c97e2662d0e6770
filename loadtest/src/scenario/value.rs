//! Values of a scenario that are written as in flags: `"10k"`, `500`, `"1s-5s"`.

use crate::broadcast::Topic;
use crate::lifetime::Span;
use crate::message::Sizes;
use crate::parse::{self, RateRange, Stage};
use crate::recording::Speed;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A value that has been read from a string or a number. An error has the position of the value.
#[derive(Clone, Debug)]
pub(super) struct Written<F: Form>(pub(super) F::Value);

/// How a value is written.
pub(super) trait Form {
    type Value: Clone + fmt::Debug;

    /// Reads the value, or returns what to write instead.
    fn read(text: &str) -> Result<Self::Value, String>;
}

impl<'de, F: Form> Deserialize<'de> for Written<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<F>(PhantomData<F>);

        impl<F: Form> Visitor<'_> for Reader<F> {
            type Value = Written<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Written<F>, E> {
                F::read(text).map(Written).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Written<F>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Written<F>, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// Declares the forms, each with its value and the function that reads it.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident: $value:ty = $read:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub(super) enum $name {}

            impl Form for $name {
                type Value = $value;

                fn read(text: &str) -> Result<$value, String> {
                    $read(text)
                }
            }
        )+
    };
}

forms! {
    /// `500`, `"10k"`
    Count: u32 = |text| u32::try_from(parse::count(text)?).map_err(|_| format!("give a number up to {}", u32::MAX));
    /// The same, for numbers of messages.
    LongCount: u64 = parse::count;
    /// `"64K"`
    Bytes: u64 = |text| parse::size(text).map(|bytes| bytes as u64);
    /// `"1.5s"`
    Time: Duration = parse::time;
    /// `"1s-5s"`, `"exp:30s"`
    Distribution: Span = |text: &str| text.parse::<Span>().map_err(|error| error.to_string());
    /// `"20:70,1K:25"`
    SizeList: Sizes = |text: &str| text.parse::<Sizes>().map_err(|error| error.to_string());
    /// `"10k"`, `"1k:100k"`
    Rate: RateRange = parse::rate;
    /// `"30s:10k"`
    StageForm: Stage = parse::stage;
    /// `"0.1%"`
    Share: f64 = parse::share_of_errors;
    /// `10`, `"max"`
    SpeedFactor: Speed = str::parse;
    /// `"127.0.0.2"`, `"127.0.0.2-127.0.0.9"`
    Sources: Vec<IpAddr> = parse::sources;
    /// `"192.0.2.1:80"`
    Address: SocketAddr = |text: &str| text.parse().map_err(|_| "give an address and a port, as 127.0.0.1:9001 or [::1]:9001".to_owned());
    /// `"news/today"`
    TopicName: Topic = str::parse;
    /// `"chat.v1"`
    Subprotocol: String = parse::subprotocol;
    /// `"https://example.com"`
    Origin: String = parse::origin;
    /// `"wss://example.com/chat"`, `":9001"`; the weight has a key of its own.
    Url: String = url;
}

fn url(text: &str) -> Result<String, String> {
    match parse::target(text)? {
        (url, 1) => Ok(url),
        (url, weight) => Err(format!("write the weight as `weight = {weight}` beside `url = \"{url}\"`")),
    }
}
