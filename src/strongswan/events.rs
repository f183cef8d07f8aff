//! Listens to charon's events: they tell which IKE_SAs have ended, and the last counters of CHILD_SAs that end or are
//! rekeyed, so that no traffic between two scrapes is lost.
//!
//! The events are described in strongSwan's VICI README. There is one exception: if this side initiates a rekey, charon
//! deletes the old outbound SA before it reads its counter. So the SAs are listed repeatedly shortly before such a rekey is
//! due, until it is done.
//!
//! | a rekey by | is foreseen by | lists |
//! |---|---|---|
//! | time | `rekey-time` of the CHILD_SA | every 0.1 s from a second before it is due |
//! | bytes or packets | `rekey_bytes` and `rekey_packets` of list-conns, and the rate between lists | after half the remaining time (without traffic: a quarter of the CHILD_SA's age), then, from 88 % on, after every 200th part of its age |
//! | hand (`swanctl --rekey`), or the peer's limit | nothing | none: outbound traffic since the last scrape or list is lost, unless the peer initiates |

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::configured::Volume;
use super::sa::{self, ChildSa, IkeSa};
use super::totals::SaTotals;
use super::vici::{self, Message, Packet};
use super::{Charon, known};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::lock::lock;
use crate::sys::socket::Closer;
use crate::sys::{clock, thread};
use crate::text::Text;

/// The registered events; `list-sa` is the reply to `list-sas`. Before strongSwan 5.3.3 there are no rekey events.
const EVENTS: [&str; 5] = ["child-updown", "child-rekey", "ike-updown", "ike-rekey", "list-sa"];

/// The events that are required.
const NEEDED: [&str; 2] = ["child-updown", "list-sa"];

/// The stack size of the thread, in bytes.
const STACK: usize = 128 * 1024;

/// How long charon may take for a message or a list.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The pause if no rekey is expected.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The pause between lists while a rekey is due.
const SHORT: Duration = Duration::from_millis(100);

/// The time after an event until the next list: there may be a new SA.
const SOON: Duration = Duration::from_secs(1);

/// A rekey that is later than this, in seconds, is no longer expected.
const LATE: i64 = -2;

/// How much of its volume a CHILD_SA has used when it may soon be rekeyed, in parts of 10,000: charon takes a tenth off
/// at most where nothing else is configured.
const EARLY: u64 = 8_800;

/// From then on the volume is checked each time after this fraction of the CHILD_SA's age (1/STEPS).
const STEPS: u32 = 200;

/// The longest pause if a CHILD_SA is rekeyed by volume: traffic may begin at any time.
const IDLE: Duration = Duration::from_secs(60);

/// With more CHILD_SAs than this that are up, frequent lists would cost charon too much.
const MOST_CHILDREN: usize = 256;

/// The pause after a list with more CHILD_SAs than that.
const CROWDED: Duration = Duration::from_secs(300);

/// Lists may take at most this fraction of the time (1/SHARE) while a rekey is due.
const SHARE: u32 = 10;

/// The connection on which events are received, as long as charon keeps it open.
#[derive(Default)]
pub(super) struct Listener(Mutex<Option<Connection>>);

struct Connection {
    closer: Arc<Closer>,
    thread: JoinHandle<()>,
}

/// When to list all SAs next.
struct Schedule {
    due: Instant,
    /// The earliest time for the next list, whatever happens.
    rest: Instant,
    began: Option<Instant>,
    /// Seconds until the next rekey, according to the current list so far.
    soonest: Option<i64>,
    /// CHILD_SAs that are up.
    children: usize,
    /// The shortest pause that a volume asks for.
    volume: Option<Duration>,
    /// The numbers of CHILD_SAs that are rekeyed by volume, with the used part of the volume; and those of the previous list.
    used: Vec<(u64, u64)>,
    used_before: Vec<(u64, u64)>,
    began_before: Option<Instant>,
}

impl Listener {
    /// Takes over the connection of a finished scrape, unless there is one already. If it breaks, the next scrape brings
    /// another.
    pub(super) fn keep(&self, charon: Charon, totals: &Arc<Mutex<SaTotals>>) {
        let mut connection = lock(&self.0);
        if connection.as_ref().is_some_and(|connection| !connection.thread.is_finished()) {
            return;
        }
        let totals = Arc::clone(totals);
        *connection = charon.channel.closer().ok().map(Arc::new).and_then(|closer| {
            let closing = Arc::clone(&closer);
            let listen = move || {
                if let Err(error) = listen(charon, &totals) {
                    log::debug!("strongswan: no more events: {error}");
                }
                // charon queues unread events without bound.
                closing.close();
            };
            let thread = thread::spawn("events", STACK, Box::new(listen)).ok()?;
            Some(Connection { closer, thread })
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closer.close();
    }
}

impl Schedule {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            due: now,
            rest: now,
            began: None,
            soonest: None,
            children: 0,
            volume: None,
            used: Vec::new(),
            used_before: Vec::new(),
            began_before: None,
        }
    }

    fn begin(&mut self) {
        let (used_before, began_before) = (std::mem::take(&mut self.used), self.began_before);
        *self = Self { began: Some(Instant::now()), used_before, began_before, ..Self::new() };
        self.due = after(ANSWER_TIME);
    }

    fn record(&mut self, child: &ChildSa<'_>, volume: Volume) {
        // A deleted CHILD_SA is kept for late packets only.
        if !child.is_up() {
            return;
        }
        self.children = self.children.saturating_add(1);
        let expected = child.rekey_time.filter(|time| *time >= LATE);
        self.soonest = self.soonest.into_iter().chain(expected).min();
        if let Some(used) = volume.used(child).filter(|_| self.children <= MOST_CHILDREN) {
            let pause = self.pause(child, used);
            self.volume = self.volume.into_iter().chain([pause]).min();
        }
    }

    /// The pause until a CHILD_SA with this used volume is checked again, by the higher of its rates since its installation and
    /// since the previous list.
    fn pause(&mut self, child: &ChildSa<'_>, used: u64) -> Duration {
        let age = Duration::from_secs(child.install_time.unwrap_or(0));
        if let Some(number) = child.unique_id.number() {
            self.used.push((number, used));
        }
        let Some(left) = EARLY.checked_sub(used) else { return (age / STEPS).clamp(SHORT, IDLE) };
        // charon says whole seconds, which may be one too many.
        let least_age = age.saturating_sub(Duration::from_secs(1));
        let before = self.used_before.iter().find(|(number, _)| child.unique_id.number() == Some(*number));
        let since = self.began.zip(self.began_before).map(|(now, before)| now.saturating_duration_since(before));
        let lately = before.zip(since).map(|((_, before), since)| (used.saturating_sub(*before), since));
        // Half of the milliseconds that are left at this rate, since it may rise.
        let half = |(more, time): (u64, Duration)| {
            let time = u64::try_from(time.as_millis().max(1)).unwrap_or(u64::MAX);
            left.saturating_mul(time).checked_div(more.saturating_mul(2))
        };
        let pause = [Some((used, least_age)), lately].into_iter().flatten().filter_map(half).min();
        pause.map_or(age / 4, Duration::from_millis).clamp(SHORT, IDLE)
    }

    fn end(&mut self) {
        self.began_before = self.began;
        let took = self.began.take().map(|began| began.elapsed()).unwrap_or_default();
        let is_crowd = self.children > MOST_CHILDREN;
        let rest = if is_crowd { CROWDED } else { SHORT }.max(took.saturating_mul(SHARE));
        let pause = match self.soonest {
            _ if is_crowd => CROWDED,
            // charon reports whole seconds, rounded up.
            Some(seconds) => u64::try_from(seconds.saturating_sub(1)).map_or(SHORT, Duration::from_secs),
            None => LONG,
        };
        let pause = self.volume.filter(|_| !is_crowd).map_or(pause, |volume| pause.min(volume));
        self.rest = after(rest);
        self.due = after(pause.max(rest));
    }

    /// Makes the next list due soon after an event, since there may be new SAs.
    fn expedite(&mut self) {
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

/// Records events until the connection breaks.
fn listen(mut charon: Charon, totals: &Mutex<SaTotals>) -> Result<(), Error> {
    charon.channel.extend(Deadline::within(ANSWER_TIME));
    for event in EVENTS {
        if charon.registered.contains(&event) {
            continue;
        }
        charon.send(&vici::register(event))?;
        let answer = charon.confirmed(event);
        if NEEDED.contains(&event) { answer? } else { known(answer)? }
    }
    let mut schedule = Schedule::new();
    loop {
        let has_more = charon.channel.wait(schedule.deadline())?;
        charon.channel.extend(Deadline::within(ANSWER_TIME));
        if !has_more {
            if schedule.began.is_some() {
                return Err(Error::new(&*charon.subject, ErrorKind::TimedOut));
            }
            schedule.begin();
            charon.send(&vici::command("list-sas", &[("noblock", "yes")]))?;
            continue;
        }
        match charon.packet("events")? {
            Packet::Event(name, message) if name == "list-sa" => {
                record_event(message, totals, |child, volume| schedule.record(child, volume))
            }
            Packet::Event(name, message) if name == "ike-updown" => record_end(ended(message), totals),
            Packet::Event(name, message) if name == "ike-rekey" => record_end(sa::replaced_ike_sa(message), totals),
            Packet::Event(_, message) => {
                record_event(message, totals, |_, _| ());
                schedule.expedite();
            }
            Packet::Response(_) => schedule.end(),
            _ => {}
        }
    }
}

/// The number of the IKE_SA that has ended by an `ike-updown` event; absent if it came up.
fn ended(message: Message<'_>) -> Option<Text<'_>> {
    IkeSa::parse(message).map(|ike| ike.unique_id)
}

fn record_end(number: Option<Text<'_>>, totals: &Mutex<SaTotals>) {
    lock(totals).ikes.forget(number.and_then(Text::number));
}

/// Records all CHILD_SAs of an event.
fn record_event(message: Message<'_>, totals: &Mutex<SaTotals>, mut each: impl FnMut(&ChildSa<'_>, Volume)) {
    let Some(ike) = IkeSa::parse(message) else { return };
    let now = clock::now();
    let mut record = |child: &ChildSa<'_>| {
        if !child.name.is_empty() {
            let mut totals = lock(totals);
            each(child, totals.volume(&ike, child));
            totals.record_event(&ike, child, now);
        }
    };
    ike.for_each_child(&mut record);
    ike.rekeyed().for_each(|child| record(&child));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(state: &'static str, rekey_time: i64) -> ChildSa<'static> {
        ChildSa { state: state.into(), rekey_time: Some(rekey_time), ..ChildSa::default() }
    }

    /// The seconds until the next list, after one with these CHILD_SAs.
    fn pause(children: &[ChildSa<'_>]) -> f64 {
        let mut schedule = Schedule::new();
        schedule.begin();
        children.iter().for_each(|child| schedule.record(child, Volume::default()));
        schedule.end();
        schedule.due.saturating_duration_since(Instant::now()).as_secs_f64()
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

    /// The seconds until the next list, after one with so many CHILD_SAs that took so long, and an event.
    fn pause_after_event(children: usize, took: Duration) -> f64 {
        let mut schedule = Schedule::new();
        schedule.begin();
        schedule.began = Instant::now().checked_sub(took);
        vec![child("INSTALLED", 3000); children].iter().for_each(|child| schedule.record(child, Volume::default()));
        schedule.end();
        schedule.expedite();
        schedule.due.saturating_duration_since(Instant::now()).as_secs_f64()
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
        let mut schedule = Schedule::new();
        schedule.begin();
        schedule.began = Instant::now().checked_sub(Duration::from_millis(500));
        schedule.record(&child("INSTALLED", 1), Volume::default());
        schedule.end();
        assert_about(schedule.due.saturating_duration_since(Instant::now()).as_secs_f64(), 5.05);
    }

    /// A CHILD_SA that was installed so many seconds ago and has carried so many bytes.
    fn carrier(age: u64, bytes: u64) -> ChildSa<'static> {
        let bytes_out = Some(bytes);
        ChildSa { unique_id: "1".into(), install_time: Some(age), bytes_out, ..child("INSTALLED", 3000) }
    }

    const MEGABYTE: Volume = Volume { bytes: Some(1_000_000), packets: None };

    /// The seconds until the next list after one with this CHILD_SA.
    fn pause_by_volume(child: &ChildSa<'_>, volume: Volume) -> f64 {
        let mut schedule = Schedule::new();
        schedule.begin();
        schedule.record(child, volume);
        schedule.end();
        schedule.due.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    #[test]
    fn a_rekey_by_volume_is_foreseen_by_the_rate() {
        // 44 % in 9 to 10 s: the other 44 % take 9 s more at least.
        assert_about(pause_by_volume(&carrier(10, 440_000), MEGABYTE), 4.5);
        assert_about(pause_by_volume(&carrier(10, 800_000), MEGABYTE), 0.45);
        assert_about(pause_by_volume(&carrier(10, 879_000), MEGABYTE), 0.1);
        assert_about(pause_by_volume(&carrier(10, 950_000), MEGABYTE), 0.1);
        assert_about(pause_by_volume(&carrier(1000, 950_000), MEGABYTE), 5.0);
        assert_about(pause_by_volume(&carrier(1_000_000, 2_000_000), MEGABYTE), 60.0);
        assert_about(pause_by_volume(&carrier(1000, 0), MEGABYTE), 60.0);
        // Traffic begins soon after a CHILD_SA came up, more often than late.
        assert_about(pause_by_volume(&carrier(4, 0), MEGABYTE), 1.0);
        assert_about(pause_by_volume(&carrier(0, 0), MEGABYTE), 0.1);
        assert_about(pause_by_volume(&carrier(10, 440_000), Volume::default()), 2999.0);
        let by_packets = Volume { bytes: None, packets: Some(1000) };
        let child = ChildSa { packets_in: Some(440), ..carrier(10, 0) };
        assert_about(pause_by_volume(&child, by_packets), 4.5);
    }

    #[test]
    fn the_rate_of_a_child_sa_that_is_younger_than_its_age_says_is_not_taken_too_low() {
        // charon says 1 s of one that was installed 0.08 s ago: its 2.77 % would be 31 s away from a rekey.
        for age in [0, 1] {
            assert_about(pause_by_volume(&carrier(age, 27_700), MEGABYTE), 0.1);
        }
    }

    #[test]
    fn a_rate_that_rises_is_seen_by_the_next_list() {
        let mut schedule = Schedule::new();
        for bytes in [100_000, 200_000] {
            schedule.began_before = Instant::now().checked_sub(Duration::from_secs(1));
            schedule.begin();
            schedule.record(&carrier(1000, bytes), MEGABYTE);
            schedule.end();
        }
        // 10 % in the last second: 68 % take 6.8 s more.
        assert_about(schedule.due.saturating_duration_since(Instant::now()).as_secs_f64(), 3.4);
    }
}
