//! Prints above the line that is being typed, in the order of what happened.
//!
//! While the line editor reads a line, it takes a text between two keys; otherwise a text is written
//! at once. Keys come first, so a line can end while a text waits, and one that is written at once
//! would precede it. The thread of the editor therefore says what it does ([`EditorStage`]), and a
//! text is only written at once if none can wait in the editor.

use super::terminal;
use rustyline::ExternalPrinter;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the end of a line waits for a text that is being passed to the editor, at most: four
/// times this. It takes longer only while the editor has another text, which is no harm.
const PASSING: Duration = Duration::from_micros(50);

/// The size in bytes at which what waits for the editor is enough.
const CAPACITY: usize = 1 << 20;

/// What the thread of the editor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It handles a line, or has not begun: a text is written at once.
    Away,
    /// It begins to read a line.
    Entering,
    /// It reads a line, and takes texts.
    Reading,
    /// It ends a line.
    Leaving,
    /// It has ended.
    Ended,
}

/// The stage of the line editor, which its thread sets.
#[derive(Default)]
pub(super) struct EditorStage {
    /// The number of stages so far, each line having four; the largest number is the end.
    turn: AtomicU64,
    /// Whether a text is being passed to the editor.
    is_passing: AtomicBool,
}

impl EditorStage {
    const END: u64 = u64::MAX;

    fn turn(&self) -> (u64, Stage) {
        let turn = self.turn.load(Ordering::SeqCst);
        let stage = match (turn, turn % 4) {
            (Self::END, _) => Stage::Ended,
            (_, 0) => Stage::Away,
            (_, 1) => Stage::Entering,
            (_, 2) => Stage::Reading,
            _ => Stage::Leaving,
        };
        (turn, stage)
    }

    /// The editor is called.
    pub(super) fn enters(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
    }

    /// The editor reads keys. Returns whether it did not before.
    pub(super) fn reads(&self) -> bool {
        let begins = self.turn().1 == Stage::Entering;
        if begins {
            self.turn.fetch_add(1, Ordering::SeqCst);
        }
        begins
    }

    /// The editor has a line, and ends. A text that is being passed still finds it reading.
    pub(super) fn leaves(&self) {
        if self.turn().1 != Stage::Reading {
            return;
        }
        self.turn.fetch_add(1, Ordering::SeqCst);
        for _ in 0..4 {
            if !self.is_passing.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(PASSING);
        }
    }

    /// The editor has returned.
    pub(super) fn left(&self) {
        self.turn.store(self.turn().0.next_multiple_of(4), Ordering::SeqCst);
    }

    /// The editor is not called any more.
    pub(super) fn ends(&self) {
        self.turn.store(Self::END, Ordering::SeqCst);
    }
}

/// Prints texts, of which the editor may not have taken the last one.
pub(super) struct Printer<'a, P> {
    /// A terminal without cursor movements has none.
    editor: Option<P>,
    stage: &'a EditorStage,
    waiting: String,
    /// Whether a text can wait in the editor.
    may_be_queued: bool,
}

impl<'a, P: ExternalPrinter> Printer<'a, P> {
    pub(super) fn new(editor: Option<P>, stage: &'a EditorStage) -> Self {
        Self { editor, stage, waiting: String::new(), may_be_queued: false }
    }

    /// Whether so much waits for the editor that nothing more should be printed.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= CAPACITY
    }

    /// Prints the text, and empties it. It waits while the editor begins or ends a line.
    pub(super) fn print(&mut self, text: &mut String) {
        self.waiting.push_str(text);
        text.clear();
        if self.waiting.is_empty() {
            return;
        }
        self.stage.is_passing.store(true, Ordering::SeqCst);
        let (turn, stage) = self.stage.turn();
        let is_possible = match stage {
            Stage::Away => !self.may_be_queued,
            Stage::Reading => true,
            Stage::Entering | Stage::Leaving => self.editor.is_none(),
            Stage::Ended => {
                self.editor = None;
                true
            }
        };
        if is_possible {
            self.pass();
            self.may_be_queued |= stage == Stage::Reading || self.stage.turn().0 != turn;
        }
        self.stage.is_passing.store(false, Ordering::SeqCst);
    }

    fn pass(&mut self) {
        if let Some(editor) = &mut self.editor {
            if editor.print(self.waiting.clone()).is_ok() {
                return self.waiting.clear();
            }
            // It has ended.
            self.editor = None;
        }
        terminal::write(&self.waiting);
        self.waiting.clear();
    }

    /// Prints the text, and the line that is being typed.
    pub(super) fn redraw(&mut self, text: &mut String) {
        self.print(text);
        // The editor draws its line behind whatever it prints.
        self.flush();
    }

    /// Waits until the editor has taken what was printed: it holds one text, so it takes a second
    /// one only after the first. Returns `false` if something waits and the editor does not read.
    pub(super) fn flush(&mut self) -> bool {
        self.print(&mut String::new());
        let Some(editor) = &mut self.editor else { return true };
        match self.stage.turn().1 {
            Stage::Reading => {
                let _ = editor.print(String::new());
                true
            }
            Stage::Ended => true,
            Stage::Away | Stage::Entering | Stage::Leaving => self.waiting.is_empty() && !self.may_be_queued,
        }
    }

    /// Prints the rest without the editor.
    pub(super) fn finish(&mut self) {
        if !self.waiting.is_empty() {
            self.editor = None;
            self.pass();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// An editor with a place for one text: what it has, and what the terminal shows.
    #[derive(Default)]
    struct Model {
        is_raw: AtomicBool,
        state: Mutex<(Option<String>, String)>,
    }

    impl Model {
        fn take(&self) {
            let (queued, shown) = &mut *self.state.lock().expect("no panic");
            shown.push_str(&queued.take().unwrap_or_default());
        }

        fn shown(&self) -> String {
            self.state.lock().expect("no panic").1.clone()
        }
    }

    impl ExternalPrinter for &Model {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            let (queued, shown) = &mut *self.state.lock().expect("no panic");
            if self.is_raw.load(Ordering::SeqCst) {
                assert!(queued.is_none(), "it would wait");
                *queued = Some(text);
            } else {
                shown.push_str(&text);
            }
            Ok(())
        }
    }

    fn print(printer: &mut Printer<'_, &Model>, text: &str) {
        printer.print(&mut text.to_owned());
    }

    #[test]
    fn a_text_that_waits_in_the_editor_is_not_overtaken() {
        let (model, stage) = (Model::default(), EditorStage::default());
        let mut printer = Printer::new(Some(&model), &stage);
        print(&mut printer, "1");
        assert_eq!(model.shown(), "1", "it is written at once");
        stage.enters();
        print(&mut printer, "2");
        assert_eq!(model.shown(), "1", "the editor begins");
        model.is_raw.store(true, Ordering::SeqCst);
        assert!(stage.reads() && !stage.reads());
        print(&mut printer, "3");
        stage.leaves();
        print(&mut printer, "4");
        model.is_raw.store(false, Ordering::SeqCst);
        stage.left();
        print(&mut printer, "5");
        assert_eq!(model.shown(), "1", "the editor has not taken the second and third one");
        assert!(!printer.flush());
        stage.enters();
        model.is_raw.store(true, Ordering::SeqCst);
        model.take();
        assert!(stage.reads());
        print(&mut printer, "6");
        model.take();
        assert_eq!(model.shown(), "123456");
    }

    #[test]
    fn without_an_editor_texts_are_written_at_once() {
        let (model, stage) = (Model::default(), EditorStage::default());
        let mut printer = Printer::new(Some(&model), &stage);
        for text in ["1", "2", "3"] {
            print(&mut printer, text);
        }
        assert!(model.shown() == "123" && printer.flush(), "before the first line");
        stage.enters();
        assert!(stage.reads());
        stage.left();
        stage.ends();
        print(&mut printer, "");
        assert!(printer.flush() && !printer.is_full());
    }
}
