//! One body on its way from the upstream, read by everybody who waits for it.
//!
//! The fetch is the only writer; each client has a reader of its own and receives the body as it arrives. While the
//! body may still be stored all of it is kept, so that a reader may join late and start from the beginning. Once it has
//! grown past what may be stored, only what the slowest reader still needs is kept and the writer waits for that reader:
//! memory stays bounded and nobody new may join. The same holds from the start for bodies that come while those on their way
//! hold all that they may together: slow readers make bodies wait in memory, stored or not. A failed body ends in the failure for every reader, never in a clean end.

use bytes::{Buf, Bytes};
use larder_policy::Failure;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How much a writer may be ahead of its slowest reader once the body is too large to be kept.
const WINDOW_BYTES_MAX: usize = 1 << 20;

/// What all bodies on their way hold together.
#[derive(Debug)]
pub struct Budget {
    held_bytes: AtomicUsize,
    /// The most of it since it was last asked for.
    peak_bytes: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            held_bytes: AtomicUsize::new(0),
            peak_bytes: AtomicUsize::new(0),
            bytes_max,
        })
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) >= self.bytes_max
    }

    pub(crate) fn take(&self, bytes: usize) {
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.peak_bytes.fetch_max(before + bytes, Ordering::Relaxed);
    }

    /// The most that was held at once since this was last asked.
    pub(crate) fn peak_bytes(&self) -> usize {
        let held = self.held_bytes.load(Ordering::Relaxed);
        self.peak_bytes.swap(held, Ordering::Relaxed)
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The shared body. Cheap to clone by `Arc`.
#[derive(Debug)]
pub struct Fill {
    /// Guards the chunks and the readers' positions; held for a few instructions, never across an await.
    state: Mutex<State>,
    changed: Notify,
    kept_bytes_max: usize,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Index of the first chunk that is still held.
    first: u64,
    held_bytes: usize,
    /// The next chunk each reader wants, by the reader's number.
    positions: HashMap<u64, u64>,
    readers_made: u64,
    overflowed: bool,
    end: Option<Result<(), Failure>>,
}

impl State {
    fn end_index(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Lets go of what every reader has passed. Only after an overflow: before it, everything is kept for those to come.
    fn trim(&mut self, budget: &Budget) {
        let slowest = self
            .positions
            .values()
            .copied()
            .min()
            .unwrap_or_else(|| self.end_index());
        while self.first < slowest {
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            self.held_bytes -= chunk.len();
            budget.give_back(chunk.len());
            self.first += 1;
        }
    }
}

/// The body has outgrown what may be kept and nobody reads it any more: the writer should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl Fill {
    /// A body of which at most `kept_bytes_max` are kept for storing and for late readers, as long as the budget lasts.
    pub fn new(kept_bytes_max: usize, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            kept_bytes_max,
            budget,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the state half changed: no code here panics between two writes of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a chunk; waits while an overgrown body is a window ahead of its slowest reader.
    pub async fn push(&self, chunk: Bytes) -> Result<(), Abandoned> {
        if chunk.is_empty() {
            return Ok(());
        }
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.lock();
                if self.overflows(&mut state, chunk.len()) {
                    state.trim(&self.budget);
                    if state.positions.is_empty() {
                        return Err(Abandoned);
                    }
                }
                if !state.overflowed
                    || state.held_bytes == 0
                    || state.held_bytes + chunk.len() <= WINDOW_BYTES_MAX
                {
                    state.held_bytes += chunk.len();
                    self.budget.take(chunk.len());
                    state.chunks.push_back(chunk);
                    break;
                }
            }
            changed.await;
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Will it, with so many more bytes, have grown past what may be kept, so that its readers set the pace from then on?
    pub fn is_outgrown_by(&self, bytes: usize) -> bool {
        self.overflows(&mut self.lock(), bytes)
    }

    fn overflows(&self, state: &mut State, bytes: usize) -> bool {
        let grown = state.held_bytes + bytes;
        state.overflowed |= grown > self.kept_bytes_max || self.budget.is_spent();
        state.overflowed
    }

    /// Ends the body: whole, or broken off.
    pub fn finish(&self, end: Result<(), Failure>) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_waiters();
    }

    /// A reader from the first byte on; `None` when the beginning is no longer held.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        if state.overflowed {
            return None;
        }
        let number = state.readers_made;
        state.readers_made += 1;
        let next = state.first;
        state.positions.insert(number, next);
        drop(state);
        Some(Reader {
            fill: self.clone(),
            number,
            skip_bytes: 0,
            left_bytes: None,
        })
    }

    /// The whole body in one exact-size buffer, with what is still to be pushed; `None` when it was too large to be kept.
    pub fn whole(&self, last: &[u8]) -> Option<Bytes> {
        let state = self.lock();
        if state.overflowed {
            return None;
        }
        let mut whole = Vec::with_capacity(state.held_bytes + last.len());
        state
            .chunks
            .iter()
            .for_each(|chunk| whole.extend_from_slice(chunk));
        whole.extend_from_slice(last);
        Some(Bytes::from(whole))
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let held_bytes = self.lock().held_bytes;
        self.budget.give_back(held_bytes);
    }
}

/// One client's place in a body. Dropping it frees what only it still needed.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    number: u64,
    /// How much still comes before what its client wants.
    skip_bytes: u64,
    /// How much its client still wants, when that is not everything.
    left_bytes: Option<u64>,
}

impl Reader {
    /// The same reader for so many bytes after the first `skip_bytes` alone.
    pub fn limited(mut self, skip_bytes: u64, bytes: u64) -> Self {
        self.skip_bytes = skip_bytes;
        self.left_bytes = Some(bytes);
        self
    }

    /// The next chunk; `None` at the end; the failure when the body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(mut left) = self.left_bytes else {
            return self.next_of_all().await;
        };
        while left > 0 {
            let Some(mut chunk) = self.next_of_all().await? else {
                // Shorter than was said, after a part of it was promised.
                return Err(Failure::UpstreamBroken);
            };
            let skipped = chunk
                .len()
                .min(usize::try_from(self.skip_bytes).unwrap_or(usize::MAX));
            self.skip_bytes -= skipped as u64;
            chunk.advance(skipped);
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= chunk.len() as u64;
            self.left_bytes = Some(left);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    async fn next_of_all(&self) -> Result<Option<Bytes>, Failure> {
        loop {
            let changed = self.fill.changed.notified();
            if let Some(step) = self.step() {
                return step;
            }
            changed.await;
        }
    }

    fn step(&self) -> Option<Result<Option<Bytes>, Failure>> {
        let mut state = self.fill.lock();
        let position = *state.positions.get(&self.number)?;
        let offset = usize::try_from(position - state.first).ok()?;
        if let Some(chunk) = state.chunks.get(offset).cloned() {
            state.positions.insert(self.number, position + 1);
            let overflowed = state.overflowed;
            if overflowed {
                state.trim(&self.fill.budget);
            }
            drop(state);
            if overflowed {
                self.fill.changed.notify_waiters();
            }
            return Some(Ok(Some(chunk)));
        }
        state.end.map(|end| end.map(|()| None))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.lock();
        state.positions.remove(&self.number);
        if state.overflowed {
            state.trim(&self.fill.budget);
        }
        drop(state);
        self.fill.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut reader: Reader) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn every_reader_gets_every_byte_also_one_that_joins_late() {
        let fill = Fill::new(100, Budget::new(1000));
        let early = tokio::spawn(read_all(fill.reader().unwrap()));
        fill.push(Bytes::from_static(b"hello ")).await.unwrap();
        let late = tokio::spawn(read_all(fill.reader().unwrap()));
        fill.push(Bytes::from_static(b"world")).await.unwrap();
        fill.finish(Ok(()));
        let after = read_all(fill.reader().unwrap()).await;
        assert_eq!(early.await.unwrap().unwrap(), b"hello world");
        assert_eq!(late.await.unwrap().unwrap(), b"hello world");
        assert_eq!(after.unwrap(), b"hello world");
        assert_eq!(fill.whole(b"").unwrap(), "hello world");
    }

    #[tokio::test]
    async fn a_limited_reader_gets_its_part_however_the_chunks_fall() {
        for (skip, bytes, part) in [(0, 1, "0"), (2, 3, "234"), (3, 6, "345678"), (9, 1, "9")] {
            let fill = Fill::new(100, Budget::new(1000));
            let reader = fill.reader().unwrap().limited(skip, bytes);
            for chunk in ["012", "3", "45678", "9"] {
                fill.push(Bytes::from_static(chunk.as_bytes()))
                    .await
                    .unwrap();
            }
            // The part is whole before the body's end is known.
            assert_eq!(read_all(reader).await.unwrap(), part.as_bytes());
            let reader = fill.reader().unwrap().limited(skip, 11 - skip);
            fill.finish(Ok(()));
            assert_eq!(read_all(reader).await, Err(Failure::UpstreamBroken));
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_ends_in_the_failure_for_everybody() {
        let fill = Fill::new(100, Budget::new(1000));
        let reader = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"half")).await.unwrap();
        fill.finish(Err(Failure::UpstreamBroken));
        assert_eq!(read_all(reader).await, Err(Failure::UpstreamBroken));
    }

    #[tokio::test]
    async fn an_overgrown_body_is_streamed_whole_with_bounded_memory_and_no_new_readers() {
        let fill = Fill::new(WINDOW_BYTES_MAX, Budget::new(usize::MAX));
        let chunk = Bytes::from(vec![7u8; WINDOW_BYTES_MAX / 4]);
        let reader = tokio::spawn(read_all(fill.reader().unwrap()));
        for _ in 0..40 {
            fill.push(chunk.clone()).await.unwrap();
            assert!(fill.lock().held_bytes <= WINDOW_BYTES_MAX + chunk.len());
        }
        assert!(fill.reader().is_none());
        assert!(fill.whole(b"").is_none());
        fill.finish(Ok(()));
        assert_eq!(reader.await.unwrap().unwrap().len(), chunk.len() * 40);
    }

    #[tokio::test]
    async fn an_overgrown_body_that_nobody_reads_is_abandoned() {
        let fill = Fill::new(10, Budget::new(1000));
        let reader = fill.reader().unwrap();
        fill.push(Bytes::from_static(b"0123456789")).await.unwrap();
        drop(reader);
        assert_eq!(fill.push(Bytes::from_static(b"more")).await, Err(Abandoned));
    }

    #[tokio::test]
    async fn bodies_that_come_when_the_budget_is_spent_are_passed_on_without_being_kept() {
        let budget = Budget::new(8);
        let kept = Fill::new(100, budget.clone());
        kept.push(Bytes::from_static(b"12345678")).await.unwrap();
        let late = Fill::new(100, budget.clone());
        let reader = late.reader().unwrap();
        late.push(Bytes::from_static(b"late")).await.unwrap();
        assert!(late.is_outgrown_by(0) && late.whole(b"").is_none());
        assert_eq!(kept.whole(b"").unwrap(), "12345678");
        late.finish(Ok(()));
        assert_eq!(read_all(reader).await.unwrap(), b"late");
        drop((late, kept));
        assert_eq!(budget.held_bytes.load(Ordering::Relaxed), 0);
        let next = Fill::new(100, budget);
        next.push(Bytes::from_static(b"next")).await.unwrap();
        assert_eq!(next.whole(b"").unwrap(), "next");
    }

    #[tokio::test]
    async fn a_small_body_goes_on_without_readers() {
        let fill = Fill::new(10, Budget::new(1000));
        drop(fill.reader());
        fill.push(Bytes::from_static(b"kept")).await.unwrap();
        fill.finish(Ok(()));
        assert_eq!(fill.whole(b"").unwrap(), "kept");
    }
}
