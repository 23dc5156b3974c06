//! A line: who joins first has the first turn. Of those who wait for a `futures::lock::Mutex` any may be next, and who comes just
//! when it is free goes before all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Those who want to do something one after the other.
///
/// Invariant: a waker is there only of those who wait behind the first, so whoever becomes the first is woken once.
#[derive(Debug, Default)]
pub(super) struct Line {
    places: RefCell<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    /// Larger than those before it.
    number: u64,
    waker: Option<Waker>,
}

/// A place in a line, given up when this is dropped, whether its turn came or not.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    line: &'a Line,
    number: u64,
}

impl Line {
    /// Joins at the end, when this is first polled, and waits until everybody who was there is gone.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let turn = self.join();
        poll_fn(|context| {
            let mut places = self.places.borrow_mut();
            match places.iter_mut().skip(1).find(|place| place.number == turn.number) {
                Some(place) => {
                    place.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
        turn
    }

    fn join(&self) -> Turn<'_> {
        let mut places = self.places.borrow_mut();
        let number = places.last().map_or(0, |last| last.number + 1);
        places.push(Place { number, waker: None });
        Turn { line: self, number }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut places = self.line.places.borrow_mut();
        places.retain(|place| place.number != self.number);
        let next = places.first_mut().and_then(|first| first.waker.take());
        drop(places);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures::channel::oneshot;
    use futures::executor::LocalPool;
    use futures::future::{Either, select};
    use futures::task::LocalSpawnExt as _;

    use super::*;

    /// Tasks that take their turn, each until it is told to end, or gives up waiting when told so before.
    struct Tasks {
        pool: LocalPool,
        line: &'static Line,
        running: Rc<Cell<Option<u32>>>,
        done: Rc<RefCell<Vec<u32>>>,
    }

    impl Tasks {
        fn new() -> Self {
            // Of a test's few lines, so that tasks can hold it.
            let line = Box::leak(Box::default());
            Self { pool: LocalPool::new(), line, running: Rc::default(), done: Rc::default() }
        }

        fn start(&mut self, task: u32) -> oneshot::Sender<()> {
            let (end, mut ended) = oneshot::channel();
            let (line, running, done) = (self.line, self.running.clone(), self.done.clone());
            let work = async move {
                let turn = Box::pin(line.turn());
                let Either::Right((_turn, _)) = select(&mut ended, turn).await else { return };
                assert_eq!(running.replace(Some(task)), None, "one at a time");
                let _ = ended.await;
                running.set(None);
                done.borrow_mut().push(task);
            };
            self.pool.spawner().spawn_local(work).unwrap();
            self.pool.run_until_stalled();
            end
        }

        fn end(&mut self, task: oneshot::Sender<()>) {
            task.send(()).unwrap();
            self.pool.run_until_stalled();
        }
    }

    #[test]
    fn turns_come_in_the_order_of_joining_also_for_those_who_join_when_others_are_done() {
        let mut tasks = Tasks::new();
        let [a, b, c] = [0, 1, 2].map(|task| tasks.start(task));
        assert_eq!(tasks.running.get(), Some(0));
        // The next one joins before those who are told have run.
        a.send(()).unwrap();
        let d = tasks.start(3);
        assert_eq!(tasks.running.get(), Some(1));
        tasks.end(b);
        let e = tasks.start(4);
        for end in [c, d, e] {
            tasks.end(end);
        }
        assert_eq!(*tasks.done.borrow(), [0, 1, 2, 3, 4]);
        let again = tasks.start(5);
        assert_eq!(tasks.running.get(), Some(5), "an empty line is as new");
        tasks.end(again);
    }

    #[test]
    fn whoever_gives_up_waiting_keeps_nobody_from_their_turn() {
        let mut tasks = Tasks::new();
        let [a, b, c, d] = [0, 1, 2, 3].map(|task| tasks.start(task));
        tasks.end(b);
        assert_eq!(tasks.running.get(), Some(0), "and gives nobody a turn before it");
        // At the moment in which it would be its turn: it was woken, and does not come.
        a.send(()).unwrap();
        c.send(()).unwrap();
        tasks.pool.run_until_stalled();
        assert_eq!(tasks.running.get(), Some(3));
        tasks.end(d);
        assert_eq!(*tasks.done.borrow(), [0, 3]);
        assert!(tasks.line.places.borrow().is_empty());
    }
}
