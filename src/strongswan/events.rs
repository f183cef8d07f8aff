//! What charon tells unasked: how much went through a CHILD_SA that ends, or that a rekey replaces.
//!
//! The events are in strongSwan's VICI README. They carry an SA's last counters, with one exception:
//! where this side began a rekey, charon takes the old outbound SA away before it looks at its
//! counter. So, shortly before such a rekey is due, this looks at the SAs until it is done.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Charon;
use super::books::Books;
use super::sa::{ChildSa, IkeSa};
use super::vici::{self, Message, Packet};
use crate::collector::{Deadline, Error};
use crate::source::clock;
use crate::source::socket::Closer;

/// What is listened to; `list-sa` is the answer to a look.
const EVENTS: [&str; 3] = ["child-updown", "child-rekey", "list-sa"];

/// Nothing deep is called here.
const STACK: usize = 128 * 1024;

/// How long charon may take for an answer that it has begun, or for a look.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause where no rekey is expected.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The pause between looks while a rekey is due.
const SHORT: Duration = Duration::from_millis(100);

/// When to look after an event: there may be a new SA.
const SOON: Duration = Duration::from_secs(1);

/// A rekey that is so many seconds late does not come.
const LATE: i64 = -2;

/// With more CHILD_SAs than this that are up, looks that follow each other would cost charon too much.
const MOST_CHILDREN: usize = 256;

/// The pause after a look that saw more.
const CROWDED: Duration = Duration::from_secs(300);

/// The part of the time, as 1 in so many, that looks may take while a rekey is due.
const SHARE: u32 = 10;

/// Listens as long as there is a charon to listen to.
#[derive(Default)]
pub(super) struct Listener(Mutex<Option<Line>>);

struct Line {
    closer: Arc<Closer>,
    thread: JoinHandle<()>,
}

/// When to look at all SAs.
struct Looks {
    due: Instant,
    /// Nothing that happens makes it due before.
    rest: Instant,
    began: Option<Instant>,
    /// Seconds until the next rekey, as far as this look has seen.
    soonest: Option<i64>,
    /// CHILD_SAs that are up.
    children: usize,
}

impl Listener {
    /// Keeps the connection of a scrape that is done, unless one is listened to already. What it tells is booked when
    /// it is read; where it breaks, the next scrape brings another.
    pub(super) fn keep(&self, charon: Charon, books: &Arc<Mutex<Books>>) {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.as_ref().is_some_and(|line| !line.thread.is_finished()) {
            return;
        }
        let books = Arc::clone(books);
        *line = charon.channel.closer().ok().map(Arc::new).and_then(|closer| {
            let closing = Arc::clone(&closer);
            let listen = move || {
                if let Err(error) = listen(charon, &books) {
                    log::debug!("strongswan: no more events: {error}");
                }
                // charon keeps what nobody reads, without bound.
                closing.close();
            };
            let thread = thread::Builder::new().name("events".into()).stack_size(STACK).spawn(listen).ok()?;
            Some(Line { closer, thread })
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.closer.close();
    }
}

impl Looks {
    fn new() -> Self {
        let now = Instant::now();
        Self { due: now, rest: now, began: None, soonest: None, children: 0 }
    }

    fn begin(&mut self) {
        *self = Self { began: Some(Instant::now()), ..Self::new() };
        self.due = after(PATIENCE);
    }

    fn see(&mut self, child: &ChildSa<'_>) {
        // One that is over is only kept for late packets.
        if !child.is_up() {
            return;
        }
        self.children = self.children.saturating_add(1);
        let expected = child.rekey_time.filter(|time| *time >= LATE);
        self.soonest = self.soonest.into_iter().chain(expected).min();
    }

    fn end(&mut self) {
        let took = self.began.take().map(|began| began.elapsed()).unwrap_or_default();
        let is_crowd = self.children > MOST_CHILDREN;
        let rest = if is_crowd { CROWDED } else { SHORT }.max(took.saturating_mul(SHARE));
        let pause = match self.soonest {
            _ if is_crowd => CROWDED,
            // charon tells whole seconds, and rounds up.
            Some(seconds) => u64::try_from(seconds.saturating_sub(1)).map_or(SHORT, Duration::from_secs),
            None => LONG,
        };
        self.rest = after(rest);
        self.due = after(pause.max(rest));
    }

    /// Something happened, so that there may be SAs that no look has seen.
    fn hurry(&mut self) {
        if self.began.is_none() {
            self.due = after(SOON).max(self.rest).min(self.due);
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::within(self.due.saturating_duration_since(Instant::now()))
    }
}

fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

/// Books what charon tells until the connection breaks.
fn listen(mut charon: Charon, books: &Mutex<Books>) -> Result<(), Error> {
    charon.channel.extend(Deadline::within(PATIENCE));
    for event in EVENTS {
        charon.channel.send(&vici::register(event))?;
        while charon.packet(event)? != Packet::EventConfirm {}
    }
    let mut looks = Looks::new();
    loop {
        let has_more = charon.channel.wait(looks.deadline())?;
        charon.channel.extend(Deadline::within(PATIENCE));
        if !has_more {
            if looks.began.is_some() {
                return Err(Error::TimedOut { thing: charon.thing.clone() });
            }
            looks.begin();
            charon.channel.send(&vici::command("list-sas", &[("noblock", "yes")]))?;
            continue;
        }
        match charon.packet("events")? {
            Packet::Event(name, message) if name == "list-sa" => book(message, books, |child| looks.see(child)),
            Packet::Event(_, message) => {
                book(message, books, |_| ());
                looks.hurry();
            }
            Packet::Response(_) => looks.end(),
            _ => {}
        }
    }
}

/// Books every CHILD_SA that an event tells of.
fn book(message: Message<'_>, books: &Mutex<Books>, mut each: impl FnMut(&ChildSa<'_>)) {
    let Some(ike) = IkeSa::parse(message) else { return };
    let now = clock::now();
    for child in ike.children().chain(ike.rekeyed()).filter(|child| !child.name.is_empty()) {
        each(&child);
        super::lock(books).hear(&ike, &child, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(state: &'static str, rekey_time: i64) -> ChildSa<'static> {
        ChildSa { state: state.into(), rekey_time: Some(rekey_time), ..ChildSa::default() }
    }

    /// The seconds until the next look, after one that saw these.
    fn pause(children: &[ChildSa<'_>]) -> f64 {
        let mut looks = Looks::new();
        looks.begin();
        children.iter().for_each(|child| looks.see(child));
        looks.end();
        looks.due.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    fn assert_about(seconds: f64, expected: f64) {
        assert!(seconds <= expected && seconds > expected - 0.1, "{seconds} is not about {expected}");
    }

    #[test]
    fn looks_begin_a_second_before_the_next_rekey_and_end_when_it_is_done() {
        assert_about(pause(&[child("INSTALLED", 3000), child("INSTALLED", 20), child("DELETED", 5)]), 19.0);
        for seconds in [1, 0, LATE] {
            assert_about(pause(&[child("INSTALLED", 3000), child("REKEYING", seconds)]), 0.1);
        }
        assert_about(pause(&[child("INSTALLED", 3000), child("REKEYED", 0), child("INSTALLED", LATE - 1)]), 2999.0);
        assert_about(pause(&[]), LONG.as_secs_f64());
    }

    #[test]
    fn of_many_sas_that_are_up_a_look_is_seldom() {
        assert_about(pause(&vec![child("INSTALLED", 1); MOST_CHILDREN + 1]), 300.0);
        assert_about(pause(&vec![child("INSTALLED", -9); MOST_CHILDREN + 1]), 300.0);
        assert_about(pause(&vec![child("INSTALLED", 9); MOST_CHILDREN]), 8.0);
        let mut with_old = vec![child("DELETED", 1); MOST_CHILDREN];
        with_old.push(child("INSTALLED", 9));
        assert_about(pause(&with_old), 8.0);
    }

    /// The seconds until the next look, after one that saw so many and took so long, and then an event.
    fn pause_after_event(children: usize, took: Duration) -> f64 {
        let mut looks = Looks::new();
        looks.begin();
        looks.began = Instant::now().checked_sub(took);
        vec![child("INSTALLED", 3000); children].iter().for_each(|child| looks.see(child));
        looks.end();
        looks.hurry();
        looks.due.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    #[test]
    fn an_event_hurries_no_look_beyond_its_share_of_the_time() {
        assert_about(pause_after_event(1, Duration::ZERO), 1.0);
        assert_about(pause_after_event(MOST_CHILDREN, Duration::ZERO), 1.0);
        assert_about(pause_after_event(1, Duration::from_millis(500)), 5.05);
        assert_about(pause_after_event(MOST_CHILDREN + 1, Duration::ZERO), 300.0);
    }

    #[test]
    fn slow_looks_are_seldom() {
        let mut looks = Looks::new();
        looks.begin();
        looks.began = Instant::now().checked_sub(Duration::from_millis(500));
        looks.see(&child("INSTALLED", 1));
        looks.end();
        assert_about(looks.due.saturating_duration_since(Instant::now()).as_secs_f64(), 5.05);
    }
}
