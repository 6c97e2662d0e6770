//! A time for each slot, in four bytes.

/// The number of slots per page. Growth by pages copies nothing.
const PAGE: usize = 256;

/// Times in milliseconds, modulo 2³², by the index of a slot.
#[derive(Debug, Default)]
pub(super) struct SlotTimes(Vec<Box<[u32]>>);

impl SlotTimes {
    pub(super) fn set(&mut self, slot: u32, millis: u32) {
        let (page, place) = (slot as usize / PAGE, slot as usize % PAGE);
        while self.0.len() <= page {
            self.0.push(Box::new([0; PAGE]));
        }
        self.0[page][place] = millis;
    }

    /// The time since that of the slot.
    pub(super) fn since(&self, slot: u32, millis: u32) -> u32 {
        let (page, place) = (slot as usize / PAGE, slot as usize % PAGE);
        self.0.get(page).map_or(0, |page| millis.wrapping_sub(page[place]))
    }
}
