use super::*;
use proptest::prelude::*;

/// Sent on time.
fn at(time: u64) -> Sent {
    Sent { intended: time, submitted: time }
}

fn answer(time: u64, number: u32) -> Reply {
    Reply::Answer { sent: at(time), number, overtaken: false }
}

impl Window {
    /// A window whose first number is this one.
    fn starting_at(in_flight: usize, next: u32) -> Self {
        Self { next, ..Self::new(in_flight) }
    }

    /// The numbers that fit into memory: of the ring, and aside.
    fn memory(&self) -> (usize, usize) {
        match &self.messages {
            Messages::Pair { .. } => (0, 0),
            Messages::Ring(ring) => (ring.entries.len(), ring.aside.as_ref().map_or(0, |aside| aside.0.len())),
        }
    }
}

#[test]
fn with_one_in_flight_it_is_48_bytes_and_owns_no_memory() {
    assert_eq!(size_of::<Window>(), 48);
    let mut window = Window::new(1);
    for time in 0..1000 {
        let number = window.push(at(time));
        window.expire(if time % 7 == 0 { time + 1 } else { 0 }, |_, _| {});
        window.answered_by_number(number);
        assert_eq!(window.memory(), (0, 0));
    }
}

#[test]
fn at_one_in_flight_a_duplicate_is_not_the_answer_to_the_next_message() {
    let mut window = Window::new(1);
    window.push(at(10));
    assert_eq!(window.answered_by_number(0), answer(10, 0));
    window.push(at(25));
    assert_eq!(window.answered_by_number(0), Reply::Duplicate { number: 0 });
    assert_eq!((window.waiting(), window.oldest()), (1, Some(at(25))));
    assert_eq!(window.answered_by_number(1), answer(25, 1));
}

#[test]
fn without_numbers_a_duplicate_in_the_same_turn_is_not_an_answer() {
    let mut window = Window::new(1);
    window.push(at(10));
    assert_eq!(window.answered_in_order(25), answer(10, 0));
    window.push(at(25));
    assert_eq!(window.answered_in_order(25), Reply::Unasked);
    assert_eq!(window.answered_in_order(30), answer(25, 1));
    assert_eq!(window.answered_in_order(31), Reply::Unasked, "nothing waits");
}

#[test]
fn a_dropped_reply_does_not_silence_the_connection() {
    for in_flight in [1, 2, 16] {
        let mut window = Window::new(in_flight);
        let numbers: Vec<u32> = (0..in_flight as u64).map(|time| window.push(at(time))).collect();
        let mut expired = Vec::new();
        window.expire(1000, |number, sent| expired.push((number, sent)));
        assert!(expired.iter().copied().eq(numbers.iter().map(|number| (*number, at(u64::from(*number))))));
        assert_eq!((window.waiting(), window.oldest()), (0, None));
        let number = window.push(at(1000));
        assert_eq!(window.answered_by_number(0), Reply::Late { number: 0, sent: at(0) });
        assert_eq!(window.answered_by_number(0), Reply::Duplicate { number: 0 });
        assert_eq!(window.answered_in_order(1001), answer(1000, number));
    }
}

#[test]
fn only_what_was_submitted_before_expires() {
    let mut window = Window::new(4);
    for time in [10, 20, 30] {
        window.push(Sent { intended: 0, submitted: time });
    }
    let mut expired = Vec::new();
    window.expire(20, |number, _| expired.push(number));
    assert_eq!((expired, window.waiting()), (vec![0], 2));
}

#[test]
fn of_two_swapped_replies_one_is_overtaken() {
    let mut window = Window::new(4);
    (0..4).for_each(|time| _ = window.push(at(time)));
    let overtaken = [1, 0, 2, 3].map(|number| match window.answered_by_number(number) {
        Reply::Answer { overtaken, .. } => overtaken,
        other => panic!("{other:?}"),
    });
    assert_eq!(overtaken, [false, true, false, false]);
}

#[test]
fn after_a_dropped_reply_the_others_are_not_overtaken() {
    let mut window = Window::new(4);
    window.push(at(0));
    for time in 1..1000 {
        let number = window.push(at(time));
        assert_eq!(window.answered_by_number(number), answer(time, number));
    }
    assert_eq!(window.answered_by_number(0), Reply::Answer { sent: at(0), number: 0, overtaken: true });
}

#[test]
fn a_number_that_was_not_sent_is_unasked() {
    for start in [0, 7, u32::MAX] {
        let mut window = Window::starting_at(2, start);
        assert_eq!(window.answered_by_number(start), Reply::Unasked);
        for time in 0..20 {
            let number = window.push(at(time));
            for ahead in [1, 2, 1000, 1 << 30] {
                assert_eq!(window.answered_by_number(number.wrapping_add(ahead)), Reply::Unasked);
            }
        }
    }
}

#[test]
fn one_message_that_waits_does_not_cost_memory_for_the_others() {
    let mut window = Window::new(2);
    window.push(at(0));
    for time in 1..100_000 {
        let number = window.push(at(time));
        assert_eq!(window.answered_by_number(number), answer(time, number));
    }
    assert_eq!(window.memory(), (4, 1));
    assert_eq!((window.waiting(), window.oldest()), (1, Some(at(0))));
    window.expire(1, |number, _| assert_eq!(number, 0));
    assert_eq!(window.answered_by_number(0), Reply::Late { number: 0, sent: at(0) });
}

#[test]
fn a_late_answer_is_recognized_after_many_other_messages() {
    let mut window = Window::new(2);
    (0..2).for_each(|time| _ = window.push(at(time)));
    window.expire(1, |_, _| {});
    for number in 1..1000 {
        assert_eq!(window.answered_by_number(number), answer(u64::from(number), number));
        window.push(at(u64::from(number) + 1));
    }
    assert_eq!(window.answered_by_number(0), Reply::Late { number: 0, sent: at(0) });
    assert_eq!(window.answered_by_number(0), Reply::Stale { number: 0 });
}

#[test]
fn expired_messages_without_end_do_not_cost_memory_without_end() {
    let mut window = Window::new(2);
    for time in 0..1000 {
        window.push(at(time));
        window.push(at(time));
        window.expire(time + 1, |_, _| {});
    }
    let (ring, aside) = window.memory();
    assert!(ring == 4 && aside <= 4, "{ring} and {aside}");
}

#[test]
fn memory_follows_the_number_that_waits_and_is_released() {
    let mut window = Window::new(1);
    (0..1000).for_each(|time| _ = window.push(at(time)));
    assert_eq!(window.memory(), (2048, 0));
    let mut drained = 0;
    window.drain(|number, sent| {
        assert_eq!((number, sent), (drained, at(u64::from(drained))));
        drained += 1;
    });
    assert_eq!((drained, window.waiting(), window.memory()), (1000, 0, (0, 0)));
    assert_eq!(window.push(at(1)), 1000, "numbers continue");
}

/// The state of a message in the model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Waiting,
    Answered,
    Expired,
}

/// A window that forgets nothing.
struct Model {
    start: u32,
    messages: Vec<(Sent, Known)>,
    /// The highest number of messages that waited.
    peak: usize,
    /// The number of last messages that the window has to know: twice the peak.
    known: usize,
}

impl Model {
    fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.messages.len()).filter(|index| self.messages[*index].1 == Known::Waiting)
    }

    fn number(&self, index: usize) -> u32 {
        self.start.wrapping_add(index as u32)
    }

    /// The expected reply, and whether a stale one is as good.
    fn answer(&mut self, number: u32) -> (Reply, bool) {
        let index = number.wrapping_sub(self.start) as usize;
        let later = self.messages.get(index + 1..).unwrap_or_default();
        let overtaken = later.iter().any(|(_, known)| *known == Known::Answered);
        let age = self.messages.len().wrapping_sub(index);
        let forgotten = age > self.known;
        let Some((sent, known)) = self.messages.get_mut(index) else {
            let ahead = number.wrapping_sub(self.number(self.messages.len()));
            return (if ahead < 1 << 31 { Reply::Unasked } else { Reply::Stale { number } }, false);
        };
        let sent = *sent;
        match std::mem::replace(known, Known::Answered) {
            Known::Waiting => (Reply::Answer { sent, number, overtaken }, false),
            Known::Answered => (Reply::Duplicate { number }, forgotten),
            Known::Expired => (Reply::Late { number, sent }, forgotten),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Messages are sent.
    Push(usize),
    /// A message is sent, and taken back.
    TakeBack,
    /// Messages are sent and answered, one after another.
    Exchange(usize),
    /// The answer to one of the waiting messages.
    Answer(prop::sample::Index),
    /// An answer with the number of one of the last messages, or of one that follows.
    Number(i32),
    /// A number of answers without a number, in this turn or in the next one.
    InOrder(usize, bool),
    /// The messages older than this expire.
    Expire(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..8).prop_map(Step::Push),
        1 => (1usize..100).prop_map(Step::Push),
        2 => Just(Step::TakeBack),
        4 => (1usize..20).prop_map(Step::Exchange),
        10 => any::<prop::sample::Index>().prop_map(Step::Answer),
        6 => (-3..10).prop_map(Step::Number),
        3 => (-10..200).prop_map(Step::Number),
        1 => any::<i32>().prop_map(Step::Number),
        3 => (1usize..20, any::<bool>()).prop_map(|(count, now)| Step::InOrder(count, now)),
        3 => (0u64..60).prop_map(Step::Expire),
        1 => Just(Step::Drain),
    ]
}

struct Pair {
    window: Window,
    model: Model,
    now: u64,
}

impl Pair {
    fn push(&mut self) {
        self.now += 1;
        let sent = Sent { intended: self.now / 2, submitted: self.now };
        assert_eq!(self.window.push(sent), self.model.number(self.model.messages.len()));
        self.model.messages.push((sent, Known::Waiting));
        self.model.peak = self.model.peak.max(self.model.waiting().count());
        self.model.known = (self.model.known + 1).min(2 * self.model.peak);
    }

    fn answer(&mut self, number: u32) {
        let (expected, or_stale) = self.model.answer(number);
        let found = self.window.answered_by_number(number);
        assert!(found == expected || or_stale && found == Reply::Stale { number }, "{found:?} instead of {expected:?}");
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Push(count) => (0..*count).for_each(|_| self.push()),
            Step::TakeBack => {
                self.push();
                self.window.take_back();
                self.model.messages.pop();
                self.model.known -= 1;
            }
            Step::Exchange(count) => {
                for _ in 0..*count {
                    self.push();
                    self.answer(self.model.number(self.model.messages.len() - 1));
                }
            }
            Step::Answer(index) => {
                let waiting: Vec<usize> = self.model.waiting().collect();
                if !waiting.is_empty() {
                    self.answer(self.model.number(*index.get(&waiting)));
                }
            }
            Step::Number(before) => {
                self.answer(self.model.number(self.model.messages.len()).wrapping_sub(*before as u32));
            }
            Step::InOrder(count, now) => {
                for _ in 0..*count {
                    let received = self.now + u64::from(!now);
                    let oldest =
                        self.model.waiting().next().filter(|index| self.model.messages[*index].0.submitted < received);
                    let expected = oldest.map_or(Reply::Unasked, |index| self.model.answer(self.model.number(index)).0);
                    assert_eq!(self.window.answered_in_order(received), expected);
                }
            }
            Step::Expire(age) => self.remove(self.now.saturating_sub(*age), false),
            Step::Drain => self.remove(u64::MAX, true),
        }
    }

    fn remove(&mut self, before: u64, drain: bool) {
        let expected: Vec<usize> =
            self.model.waiting().filter(|index| self.model.messages[*index].0.submitted < before).collect();
        let expected: Vec<(u32, Sent)> = expected
            .into_iter()
            .map(|index| {
                self.model.messages[index].1 = Known::Expired;
                (self.model.number(index), self.model.messages[index].0)
            })
            .collect();
        let mut found = Vec::new();
        let each = |number, sent| found.push((number, sent));
        if drain {
            self.window.drain(each);
        } else {
            self.window.expire(before, each);
        }
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn the_window_agrees_with_one_that_forgets_nothing(
        in_flight in prop::sample::select(vec![1, 2, 3, 16]),
        before_wrap in 0u32..300,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        // A message may be in flight at the wrap of the numbers, or none.
        let start = 0u32.wrapping_sub(before_wrap);
        let model = Model { start, messages: Vec::new(), peak: 1, known: 0 };
        let mut pair = Pair { window: Window::starting_at(in_flight, start), model, now: 100 };
        for step in &steps {
            if let Step::Drain = step {
                // What has been drained is no longer known.
                pair.run(step);
                break;
            }
            pair.run(step);
            let waiting = pair.model.waiting().count();
            prop_assert_eq!(pair.window.waiting() as usize, waiting);
            let oldest = pair.model.waiting().next().map(|index| pair.model.messages[index].0);
            prop_assert_eq!(pair.window.oldest(), oldest);
            let (ring, aside) = pair.window.memory();
            let peak = pair.model.peak.max(in_flight);
            prop_assert!(ring <= 4 * peak && aside <= ring, "{} and {} for {}", ring, aside, peak);
        }
    }
}
