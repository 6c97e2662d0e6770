//! Compares alternatives within Ringway with each other and with a copy of the same size: masking
//! kernels, unmasking and checking in one pass or two, the cost of mask keys. Run it with `cargo
//! bench -p ringway-benches --bench kernels`; a word after `--` selects the tables with that word
//! in their title. `table` compares other libraries.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway_benches::{
    Candidate, Figure, LANGUAGES, MEMCPY, Rounds, appending, copying, in_place, key, memcpy, text_of,
};
use ringway_codec::{OpCode, Utf8Stream, encode_client, mask, utf8};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

const SIZES: [usize; 10] = [20, 64, 125, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20];

/// A table of alternatives; the first one is the reference of the ratios.
struct KernelTable {
    title: String,
    contestants: Box<dyn Fn(usize) -> Vec<Candidate>>,
    sizes: &'static [usize],
}

impl KernelTable {
    fn new(title: String, sizes: &'static [usize], contestants: impl Fn(usize) -> Vec<Candidate> + 'static) -> Self {
        Self { title, contestants: Box::new(contestants), sizes }
    }

    /// Prints nanoseconds, and after the first column the ratio to the first one.
    fn print(&self, rounds: &Rounds) {
        println!("\n{}: ns, and times the first\n", self.title);
        for (row, &size) in self.sizes.iter().enumerate() {
            let figures = rounds.measure((self.contestants)(size));
            if row == 0 {
                let names: Vec<&str> = figures.iter().map(|figure| figure.name).collect();
                println!("| bytes | {} |", names.join(" | "));
                println!("|---:|{}", "---:|".repeat(names.len()));
            }
            let cell = |figure: &Figure| format!("{:.1} ({:.2})", figure.nanoseconds, figure.ratio);
            let cells: Vec<String> = figures[1..].iter().map(cell).collect();
            println!("| {size} | {:.1} | {} |", figures[0].nanoseconds, cells.join(" | "));
        }
    }
}

fn masking(size: usize) -> Vec<Candidate> {
    let payload = vec![b'a'; size];
    let mut contestants = vec![
        memcpy(&payload),
        in_place("in place", &payload, |payload| mask::apply(payload, key(), 0)),
        in_place("in place, ASCII seen", &payload, |payload| {
            black_box(mask::apply_seeing_ascii(payload, key(), 0));
        }),
        copying("copy", &payload, |source, destination| mask::copy(source, destination, key(), 0)),
        appending("append", &payload, |source, out| mask::append(out, source, key(), 0)),
    ];
    for kernel in mask::kernels() {
        contestants.push(in_place(kernel.name(), &payload, move |payload| kernel.apply(payload, key(), 0)));
    }
    contestants
}

fn text(size: usize, pattern: &str) -> Vec<Candidate> {
    let text = text_of(size, pattern);
    let text = text.as_bytes();
    vec![
        memcpy(text),
        in_place("in one", text, |text| assert!(utf8::unmask(text, key()))),
        in_place("unmask, then check", text, |text| {
            mask::apply(text, key(), 0);
            assert!(utf8::is_valid(black_box(text)));
        }),
        appending("appended in one", text, |source, out| {
            let mut stream = Utf8Stream::new();
            let result = stream.append_unmasked(out, source, key(), 0);
            assert!(result.and_then(|()| stream.finish()).is_ok());
        }),
        appending("append, then check", text, |source, out| {
            let mut stream = Utf8Stream::new();
            let start = out.len();
            mask::append(out, source, key(), 0);
            assert!(stream.push(black_box(&out[start..])).and_then(|()| stream.finish()).is_ok());
        }),
    ]
}

/// The cost of a frame's mask key, from the generator that connections use.
fn keys(size: usize) -> Vec<Candidate> {
    let payload = vec![7; size];
    let mut generator = StdRng::from_seed([7; 32]);
    let mut keyed = StdRng::from_seed([7; 32]);
    let mut key_alone = vec![Candidate::new("key", move || {
        black_box(generator.next_u32());
    })];
    let frame = |name, mut key: Box<dyn FnMut() -> [u8; 4]>| {
        let (payload, mut out) = (payload.clone(), Vec::with_capacity(size + 16));
        Candidate::new(name, move || {
            out.clear();
            encode_client(OpCode::Binary, black_box(&payload), key(), &mut out);
            black_box(&out);
        })
    };
    let mut contestants = vec![
        frame("frame, one key for all", Box::new(key)),
        frame("frame, a key of its own", Box::new(move || keyed.next_u32().to_ne_bytes())),
    ];
    contestants.append(&mut key_alone);
    contestants
}

fn tables() -> Vec<KernelTable> {
    let mut tables = vec![KernelTable::new("masking".to_owned(), &SIZES, masking)];
    for (language, pattern) in LANGUAGES {
        tables.push(KernelTable::new(format!("text, {language}"), &SIZES, move |size| text(size, pattern)));
    }
    tables.push(KernelTable::new("keys".to_owned(), &[20, 512, 16 << 10], keys));
    tables
}

fn main() -> ExitCode {
    let mut rounds = Rounds { count: 31, slice: Duration::from_millis(1) };
    let mut word = String::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // `cargo bench` adds this option.
            "--bench" => {}
            // One pass over everything, as a smoke test.
            "--test" => rounds = Rounds { count: 1, slice: Duration::ZERO },
            option if option.starts_with('-') => {
                eprintln!("unknown option {option}");
                return ExitCode::from(2);
            }
            given => given.clone_into(&mut word),
        }
    }
    let mut tables = tables();
    tables.retain(|table| table.title.contains(&word));
    if tables.is_empty() {
        eprintln!("no title of a table contains {word}");
        return ExitCode::from(2);
    }
    let names: Vec<&str> = mask::kernels().into_iter().map(|kernel| kernel.name()).collect();
    println!("kernels of this CPU: {}; the first one is in use; {MEMCPY} is a copy of the same size", names.join(", "));
    for table in &tables {
        table.print(&rounds);
    }
    ExitCode::SUCCESS
}
