//! What masking and its company cost beside a copy of as many bytes, in one run: all contestants of a size take turns, so
//! that whatever else the machine does falls on each of them alike. Prints the medians.
//!
//! `cargo bench -p ringway-benches --bench ratios`, with a word behind `--` for the tables whose title holds it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway_benches::{LANGUAGES, text_of};
use ringway_codec::{OpCode, Utf8Stream, encode_client, mask, utf8};
use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

/// A key that changes nothing, so that what is unmasked again and again stays text. The code cannot know.
const KEY: [u8; 4] = [0; 4];
const SIZES: [usize; 10] = [20, 64, 125, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

type Contestant<'a> = (String, Box<dyn FnMut() + 'a>);

fn contestant<'a>(name: impl Into<String>, run: impl FnMut() + 'a) -> Contestant<'a> {
    (name.into(), Box::new(run))
}

struct Runner {
    /// How long one turn of a contestant lasts, and how many turns it gets.
    turn: Duration,
    turns: usize,
    wanted: Option<String>,
}

impl Runner {
    fn from_arguments() -> Self {
        let mut runner = Self { turn: Duration::from_micros(500), turns: 101, wanted: None };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--test" => (runner.turn, runner.turns) = (Duration::from_nanos(1), 1),
                "--bench" => {}
                word => runner.wanted = Some(word.to_owned()),
            }
        }
        runner
    }

    fn wants(&self, title: &str) -> bool {
        self.wanted.as_ref().is_none_or(|word| title.contains(word))
    }

    /// Nanoseconds per call of each: the median of its turns.
    fn medians(&self, contestants: &mut [Contestant<'_>]) -> Vec<f64> {
        let mut calls = Vec::new();
        for (_, run) in &mut *contestants {
            let mut count = 1u32;
            while time(run, count) < self.turn && count < 1 << 24 {
                count *= 2;
            }
            calls.push(count);
        }
        let mut taken = vec![Vec::new(); contestants.len()];
        for turn in 0..self.turns {
            for at in 0..contestants.len() {
                let at = (at + turn) % contestants.len();
                taken[at].push(time(&mut contestants[at].1, calls[at]).as_secs_f64() * 1e9 / f64::from(calls[at]));
            }
        }
        taken
            .into_iter()
            .map(|mut taken| {
                taken.sort_by(f64::total_cmp);
                taken[taken.len() / 2]
            })
            .collect()
    }

    /// A row for a size: nanoseconds of each contestant, and how many times the first one's that is.
    fn row(&self, size: usize, contestants: &mut [Contestant<'_>]) {
        let medians = self.medians(contestants);
        let gigabytes = size as f64 / medians[0];
        print!("| {size} | {:.1} ns, {gigabytes:.1} GB/s |", medians[0]);
        for median in &medians[1..] {
            print!(" {median:.1} ({:.2}) |", median / medians[0]);
        }
        println!();
    }
}

fn time(run: &mut dyn FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        run();
    }
    start.elapsed()
}

fn head(title: &str, contestants: &[Contestant<'_>]) {
    println!("\n{title}: ns, and times the first\n");
    let names: Vec<&str> = contestants.iter().map(|(name, _)| name.as_str()).collect();
    println!("| bytes | {} |", names.join(" | "));
    println!("|{}", "---|".repeat(names.len() + 1));
}

/// Copies of some bytes, lent in turn. In place, one payload masked again and again would be read while what was written
/// to it is still on its way to the cache, which no received payload is.
struct Rotating {
    copies: Vec<Placed>,
    at: usize,
}

impl Rotating {
    /// As many as lie in the cache beside each other.
    fn new(bytes: &[u8]) -> Self {
        let count = if bytes.len() <= 2048 { 8 } else { 1 };
        Self { copies: (0..count).map(|i| Placed::new(bytes, 2048 + i * 192)).collect(), at: 0 }
    }

    #[inline(always)]
    fn next(&mut self) -> &mut [u8] {
        self.at = (self.at + 1) & (self.copies.len() - 1);
        self.copies[self.at].bytes_mut()
    }
}

/// Bytes at a known place of a memory page: a load that follows a store to the same place of another page waits for it, so
/// where the allocator puts source and destination would decide how fast a copy is.
struct Placed {
    memory: Vec<u8>,
    range: Range<usize>,
}

impl Placed {
    const PAGE: usize = 4096;

    fn new(bytes: &[u8], place: usize) -> Self {
        let mut memory = vec![0; bytes.len() + 2 * Self::PAGE];
        let start = memory.as_ptr().align_offset(Self::PAGE) + place % Self::PAGE + behind_header(bytes.len());
        let range = start..start + bytes.len();
        memory[range.clone()].copy_from_slice(bytes);
        Self { memory, range }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.range.clone()]
    }
}

/// Payload, source and destination lie as a frame's payload lies in its buffer: 6, 8 or 14 bytes into it.
fn behind_header(size: usize) -> usize {
    match size {
        0..=125 => 6,
        126..=65535 => 8,
        _ => 14,
    }
}

fn masking(runner: &Runner) {
    let title = "masking";
    if !runner.wants(title) {
        return;
    }
    for (row, size) in SIZES.into_iter().enumerate() {
        let source = Placed::new(&vec![b'a'; size], 0);
        let source = source.bytes();
        let mut copied = Rotating::new(source);
        let mut to = Rotating::new(source);
        let mut payload = Rotating::new(source);
        let mut seen = Rotating::new(source);
        let mut out = Vec::with_capacity(size);
        let mut others: Vec<_> = mask::kernels().into_iter().map(|kernel| (kernel, Rotating::new(source))).collect();
        let mut contestants = vec![
            contestant("memcpy", || black_box(copied.next()).copy_from_slice(black_box(source))),
            contestant("in place", || mask::apply(black_box(payload.next()), black_box(KEY), 0)),
            contestant("in place, ASCII seen", || {
                black_box(mask::apply_seeing_ascii(black_box(seen.next()), black_box(KEY), 0));
            }),
            contestant("copy", || mask::copy(black_box(source), black_box(to.next()), black_box(KEY), 0)),
            contestant("append", || {
                out.clear();
                mask::append(black_box(&mut out), black_box(source), black_box(KEY), 0);
            }),
        ];
        for (kernel, payload) in &mut others {
            contestants.push(contestant(kernel.name(), || kernel.apply(black_box(payload.next()), black_box(KEY), 0)));
        }
        if row == 0 {
            head(title, &contestants);
        }
        runner.row(size, &mut contestants);
    }
}

fn text(runner: &Runner) {
    for (kind, pattern) in LANGUAGES {
        let title = format!("text {kind}");
        if !runner.wants(&title) {
            continue;
        }
        for (row, size) in SIZES.into_iter().enumerate() {
            let text = Placed::new(text_of(size, pattern).as_bytes(), 0);
            let text = text.bytes();
            let mut copied = Rotating::new(text);
            let mut fused = Rotating::new(text);
            let mut apart = Rotating::new(text);
            let mut out = Vec::with_capacity(size);
            let mut out_apart = Vec::with_capacity(size);
            let mut contestants = vec![
                contestant("memcpy", || black_box(copied.next()).copy_from_slice(black_box(text))),
                contestant("in one", || {
                    assert!(utf8::unmask(black_box(fused.next()), black_box(KEY)));
                }),
                contestant("unmask, then check", || {
                    let text = black_box(apart.next());
                    mask::apply(text, black_box(KEY), 0);
                    assert!(utf8::is_valid(black_box(text)));
                }),
                contestant("appended in one", || {
                    out.clear();
                    let mut stream = Utf8Stream::new();
                    let result = stream.append_unmasked(black_box(&mut out), black_box(text), black_box(KEY), 0);
                    assert!(result.and_then(|()| stream.finish()).is_ok());
                }),
                contestant("append, then check", || {
                    out_apart.clear();
                    let mut stream = Utf8Stream::new();
                    mask::append(black_box(&mut out_apart), black_box(text), black_box(KEY), 0);
                    assert!(stream.push(black_box(&out_apart)).and_then(|()| stream.finish()).is_ok());
                }),
            ];
            if row == 0 {
                head(&title, &contestants);
            }
            runner.row(size, &mut contestants);
        }
    }
}

fn keys(runner: &Runner) {
    let title = "keys";
    if !runner.wants(title) {
        return;
    }
    let mut rng = StdRng::from_seed([7; 32]);
    let mut out = Vec::with_capacity(64);
    let mut contestants = vec![
        contestant("frame of 20 B with its key", || {
            out.clear();
            encode_client(OpCode::Binary, black_box(&[7; 20]), black_box(KEY), &mut out);
            black_box(&out);
        }),
        contestant("key", || {
            black_box(rng.next_u32());
        }),
    ];
    head(title, &contestants);
    runner.row(20, &mut contestants);
}

fn main() {
    let runner = Runner::from_arguments();
    let names: Vec<&str> = mask::kernels().into_iter().map(|kernel| kernel.name()).collect();
    println!("kernels of this CPU: {}; the first one is in use", names.join(", "));
    masking(&runner);
    text(&runner);
    keys(&runner);
}
