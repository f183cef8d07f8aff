//! Decides which password is checked next, and when. Pure state: the time is a parameter, and no thread waits here.
//!
//! A bcrypt check takes a tenth of a second on a server and seconds on a router, so password guessing must neither delay
//! valid users nor use up the CPU. Passwords are checked one at a time. At most eight checks wait, two per peer. Peers
//! without a mark go first, in the order of arrival, then peers that exceeded their limit; peers whose last password was
//! wrong share one slot, so that at most one thread waits for them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The most requests whose password waits or is being checked: of all peers, and of each peer.
const MOST_WAITING: usize = 8;
const MOST_PER_PEER: usize = 2;

/// How long a mark lasts.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The most marks that are remembered; the oldest is forgotten.
const MOST_MARKS: usize = 512;

/// The requests whose password has to be checked.
#[derive(Debug)]
pub(super) struct Queue {
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    running: Option<Running>,
    last_ticket: usize,
    /// At most one for each peer, the oldest first.
    marks: Vec<Mark>,
    /// Until then nothing is checked, because a peer without a mark sent a wrong password.
    pause: Instant,
    /// Until then nothing is checked for peers with a mark.
    pause_of_marked: Instant,
    /// Whether another request may be first now, or has lost its slot.
    has_changed: bool,
    /// The number of passwords checked so far.
    #[cfg(test)]
    computed: usize,
}

/// The reason why a peer's requests come later.
#[derive(Debug)]
struct Mark {
    peer: IpAddr,
    at: Instant,
    priority: Priority,
}

/// The order of the peers; the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    Normal,
    /// It had more requests than its limit.
    OverLimit,
    /// Its last password was wrong.
    Failed,
}

/// The number of a request in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(usize);

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    peer: IpAddr,
}

#[derive(Debug)]
struct Running {
    ticket: Ticket,
    since: Instant,
    priority: Priority,
    /// The rest of the pause of peers with a mark.
    remaining_pause: Duration,
}

/// What a request must do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Check the password, then call [`Queue::finish`].
    Compute,
    /// Call [`Queue::step`] again after a change, or at that time.
    Wait(Option<Instant>),
    /// It has lost its slot.
    Refused,
}

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: Vec::new(),
            running: None,
            last_ticket: 0,
            marks: Vec::new(),
            pause: now,
            pause_of_marked: now,
            has_changed: false,
            #[cfg(test)]
            computed: 0,
        }
    }

    /// Adds a request; absent if there is no slot. If all are taken, a peer whose last password was wrong loses its slot to
    /// one without a failure, and a peer with two slots loses one to a peer without any.
    pub(super) fn enter(&mut self, peer: IpAddr, now: Instant) -> Option<Ticket> {
        let before = self.marks.len();
        self.marks.retain(|mark| now.saturating_duration_since(mark.at) < REMEMBERED);
        self.has_changed |= self.marks.len() < before;
        let is_full = self.waiting.len() >= MOST_WAITING;
        let has_slot = match self.priority(peer) {
            Priority::Failed => !is_full && !self.waiting.iter().any(|one| self.priority(one.peer) == Priority::Failed),
            _ if self.count(peer) >= MOST_PER_PEER => {
                self.mark(peer, Priority::OverLimit, now);
                false
            }
            _ => !is_full || self.make_space(peer),
        };
        if !has_slot {
            return None;
        }
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        self.waiting.push(Waiting { ticket, peer });
        Some(ticket)
    }

    /// What a request must do at the time `now`.
    pub(super) fn step(&mut self, ticket: Ticket, now: Instant) -> Step {
        let Some(Waiting { peer, .. }) = self.waiting.iter().find(|one| one.ticket == ticket) else {
            return Step::Refused;
        };
        let priority = self.priority(*peer);
        if self.running.is_some() || self.first() != Some(ticket) {
            return Step::Wait(None);
        }
        let pause = match priority {
            Priority::Normal => self.pause,
            _ => self.pause.max(self.pause_of_marked),
        };
        if now < pause {
            return Step::Wait(Some(pause));
        }
        let remaining_pause = self.pause_of_marked.saturating_duration_since(now);
        self.running = Some(Running { ticket, since: now, priority, remaining_pause });
        Step::Compute
    }

    /// Records the result of a check. After a wrong password there is a pause as long as the check took: for all peers if its
    /// peer had no mark, for peers with a mark if it had one.
    pub(super) fn finish(&mut self, ticket: Ticket, is_right: bool, now: Instant) {
        let peer = self.waiting.iter().find(|one| one.ticket == ticket).map(|one| one.peer);
        self.leave(ticket);
        let (Some(Running { since, priority, remaining_pause, .. }), Some(peer)) = (self.running.take(), peer) else {
            return;
        };
        #[cfg(test)]
        {
            self.computed += 1;
        }
        if is_right {
            return self.marks.retain(|mark| mark.peer != peer);
        }
        self.mark(peer, Priority::Failed, now);
        // Its other requests lose their slots.
        self.waiting.retain(|other| other.peer != peer);
        let took = now.saturating_duration_since(since);
        let after = |time| now.checked_add(time).unwrap_or(now);
        self.pause_of_marked = after(took.saturating_add(remaining_pause));
        if priority == Priority::Normal {
            self.pause = after(took);
        }
    }

    /// Removes a request.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.has_changed = true;
        self.waiting.retain(|other| other.ticket != ticket);
    }

    /// Whether waiting requests must be woken since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// The number of passwords checked so far.
    #[cfg(test)]
    pub(super) fn computed(&self) -> usize {
        self.computed
    }

    /// The request to be checked next.
    fn first(&self) -> Option<Ticket> {
        self.waiting.iter().min_by_key(|one| self.priority(one.peer)).map(|one| one.ticket)
    }

    fn priority(&self, peer: IpAddr) -> Priority {
        let mark = self.marks.iter().find(|mark| mark.peer == peer);
        mark.map_or(Priority::Normal, |mark| mark.priority)
    }

    fn mark(&mut self, peer: IpAddr, priority: Priority, at: Instant) {
        self.has_changed |= self.priority(peer) != priority;
        self.marks.retain(|mark| mark.peer != peer);
        if self.marks.len() >= MOST_MARKS {
            self.marks.remove(0);
        }
        self.marks.push(Mark { peer, at, priority });
    }

    fn count(&self, peer: IpAddr) -> usize {
        self.waiting.iter().filter(|other| other.peer == peer).count()
    }

    /// Removes a request of a peer that failed, else the newest of a peer with two; returns whether there was one.
    fn make_space(&mut self, newcomer: IpAddr) -> bool {
        let is_running = |one: &Waiting| self.running.as_ref().is_some_and(|running| running.ticket == one.ticket);
        let is_failed = |one: &Waiting| !is_running(one) && self.priority(one.peer) == Priority::Failed;
        let failed = self.waiting.iter().position(is_failed);
        let spare = |one: &Waiting| !is_running(one) && self.count(one.peer) > 1;
        let index = failed.or_else(|| self.waiting.iter().rposition(spare).filter(|_| self.count(newcomer) == 0));
        self.has_changed |= index.is_some();
        index.map(|index| self.waiting.remove(index)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Duration = Duration::from_millis(100);

    fn peer(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// A queue and the time that passes in it.
    struct Clock {
        queue: Queue,
        now: Instant,
    }

    impl Clock {
        fn new() -> Self {
            let now = Instant::now();
            Self { queue: Queue::new(now), now }
        }

        fn enter(&mut self, last: u8) -> Option<Ticket> {
            self.queue.enter(peer(last), self.now)
        }

        fn step(&mut self, ticket: Ticket) -> Step {
            self.queue.step(ticket, self.now)
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
        }

        /// Computes it now, as long as a hash takes.
        fn compute(&mut self, ticket: Ticket, is_right: bool) {
            assert_eq!(self.step(ticket), Step::Compute);
            self.wait(HASH);
            self.queue.finish(ticket, is_right, self.now);
        }

        fn fail(&mut self, last: u8) {
            let ticket = self.enter(last).expect("a place");
            self.now = self.now.max(self.queue.pause).max(self.queue.pause_of_marked);
            self.compute(ticket, false);
        }
    }

    #[test]
    fn one_is_computed_at_a_time_in_the_order_of_arrival() {
        let mut clock = Clock::new();
        let [first, second] = [1, 2].map(|last| clock.enter(last).unwrap());
        assert_eq!(clock.step(second), Step::Wait(None));
        assert_eq!(clock.step(first), Step::Compute);
        assert_eq!(clock.step(second), Step::Wait(None));
        clock.queue.finish(first, true, clock.now);
        clock.compute(second, true);
        assert_eq!((clock.queue.waiting.len(), clock.queue.computed()), (0, 2));
    }

    #[test]
    fn few_wait_and_a_peer_that_has_two_gives_one_to_a_peer_that_has_none() {
        let mut clock = Clock::new();
        let first: Vec<Option<Ticket>> = [1, 1, 1, 2, 2, 3, 3, 4, 4].iter().map(|last| clock.enter(*last)).collect();
        assert_eq!(first.iter().flatten().count(), MOST_WAITING);
        assert_eq!(first[2], None, "two of a peer");
        assert!(clock.enter(4).is_none());
        clock.queue.take_changed();
        let newcomer = clock.enter(5).expect("the second of peer 4 gives up");
        assert!(clock.queue.take_changed(), "who has lost its place is woken");
        assert_eq!(clock.step(first[8].unwrap()), Step::Refused);
        assert_eq!(clock.step(newcomer), Step::Wait(None));
        for last in 6..9 {
            assert!(clock.enter(last).is_some(), "{last}");
        }
        assert!(clock.enter(9).is_none(), "eight peers, each with one");
        assert_eq!(clock.step(first[3].unwrap()), Step::Compute, "peer 1 is insistent");
    }

    #[test]
    fn peers_that_failed_lately_never_stand_before_one_that_has_not() {
        let mut clock = Clock::new();
        (1..=4).for_each(|last| clock.fail(last));
        // They ask all the time: one waits, the others are refused.
        let failed = clock.enter(1).expect("the one place of those that failed");
        assert!((1..=4).all(|last| clock.enter(last).is_none()));
        let scraper = clock.enter(9).expect("there is a place");
        clock.now = clock.queue.pause;
        assert_eq!(clock.step(failed), Step::Wait(None), "it came first, and goes last");
        clock.compute(scraper, true);
        // At worst it waits for one computation, and for no pause after that.
        clock.now = clock.queue.pause_of_marked;
        assert_eq!(clock.step(failed), Step::Compute);
        let second = clock.enter(8).expect("there is a place");
        assert_eq!(clock.step(second), Step::Wait(None));
        clock.wait(HASH);
        clock.queue.finish(failed, false, clock.now);
        clock.compute(second, true);
    }

    #[test]
    fn a_peer_that_failed_gives_its_slot_to_one_that_has_not() {
        let mut clock = Clock::new();
        clock.fail(1);
        let failed = clock.enter(1).unwrap();
        assert!((2..=8).all(|last| clock.enter(last).is_some()));
        assert!(clock.enter(1).is_none());
        assert!(clock.enter(9).is_some());
        assert_eq!(clock.step(failed), Step::Refused);
        assert!(clock.enter(10).is_none(), "eight that have not failed");
    }

    #[test]
    fn of_peers_that_have_not_failed_those_that_want_more_than_their_slots_go_last() {
        let mut clock = Clock::new();
        let crowd: Vec<Ticket> = [1, 1, 2, 2, 3, 3].iter().map(|last| clock.enter(*last).unwrap()).collect();
        assert_eq!(clock.step(crowd[0]), Step::Compute);
        assert!((1..=3).all(|last| clock.enter(last).is_none()));
        assert!(clock.queue.take_changed(), "the order is another");
        assert!((1..=3).all(|last| clock.enter(last).is_none()));
        assert!(!clock.queue.take_changed(), "and stays so: a flood wakes nobody");
        let scraper = clock.enter(9).expect("there is a place");
        clock.wait(HASH);
        clock.queue.finish(crowd[0], false, clock.now);
        clock.wait(HASH);
        assert_eq!(clock.step(crowd[2]), Step::Wait(None));
        clock.compute(scraper, true);
        assert_eq!(clock.step(crowd[2]), Step::Compute);
    }

    #[test]
    fn further_requests_of_a_peer_that_fails_lose_their_slots() {
        let mut clock = Clock::new();
        let [first, second] = [1, 1].map(|last| clock.enter(last).unwrap());
        let other = clock.enter(2).unwrap();
        clock.compute(first, false);
        assert_eq!(clock.step(second), Step::Refused);
        clock.wait(HASH);
        assert_eq!(clock.step(other), Step::Compute);
    }

    #[test]
    fn after_a_wrong_password_the_cpu_rests_as_long_as_it_took() {
        let mut clock = Clock::new();
        clock.fail(1);
        let other = clock.enter(2).unwrap();
        assert_eq!(clock.step(other), Step::Wait(Some(clock.now + HASH)));
        clock.wait(HASH);
        clock.compute(other, true);
        // After a right one nothing rests.
        let third = clock.enter(3).unwrap();
        clock.compute(third, true);
        // One that had failed before makes only those rest that have.
        clock.fail(1);
        let again = clock.enter(1).unwrap();
        assert_eq!(clock.step(again), Step::Wait(Some(clock.now + HASH)));
        let fourth = clock.enter(4).unwrap();
        clock.compute(fourth, true);
        assert_eq!(clock.step(again), Step::Compute);
    }

    #[test]
    fn guessing_takes_half_the_cpu_however_many_guess() {
        for peers in [1, 2, 4, 100, 250] {
            let mut clock = Clock::new();
            let start = clock.now;
            let mut busy = Duration::ZERO;
            let mut next = 0_u8;
            while clock.now < start + Duration::from_secs(30) {
                next = (next + 1) % peers;
                let Some(ticket) = clock.enter(next) else {
                    clock.wait(Duration::from_millis(1));
                    continue;
                };
                match clock.step(ticket) {
                    Step::Wait(Some(until)) => clock.now = until,
                    step => assert_eq!(step, Step::Compute),
                }
                if clock.queue.running.is_none() {
                    assert_eq!(clock.step(ticket), Step::Compute);
                }
                clock.wait(HASH);
                busy += HASH;
                clock.queue.finish(ticket, false, clock.now);
            }
            let all = clock.now - start;
            assert!(busy <= all / 2 + 2 * HASH, "{peers} peers: {busy:?} of {all:?}");
        }
    }

    #[test]
    fn a_failure_is_forgotten_after_a_minute_or_by_a_right_password() {
        let mut clock = Clock::new();
        clock.fail(1);
        clock.fail(2);
        clock.wait(2 * HASH);
        let right = clock.enter(1).unwrap();
        clock.compute(right, true);
        assert_eq!(clock.queue.marks.len(), 1);
        clock.wait(REMEMBERED);
        let other = clock.enter(3).unwrap();
        assert!(clock.queue.marks.is_empty());
        let again = clock.enter(2).expect("it may wait again");
        clock.compute(other, true);
        clock.compute(again, true);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut clock = Clock::new();
        for n in 0..2000_u32 {
            let ticket = clock.queue.enter(std::net::Ipv4Addr::from_bits(n).into(), clock.now).unwrap();
            clock.now = clock.now.max(clock.queue.pause);
            assert_eq!(clock.step(ticket), Step::Compute);
            clock.queue.finish(ticket, false, clock.now + Duration::from_nanos(1));
        }
        assert_eq!(clock.queue.marks.len(), 512);
        let last = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(number));
        let ends = [clock.queue.marks.first(), clock.queue.marks.last()].map(|mark| mark.map(|mark| mark.peer));
        assert_eq!(ends, [Some(last(2000 - 512)), Some(last(1999))], "the oldest were forgotten");
    }

    #[test]
    fn a_mark_lasts_a_minute_and_no_longer() {
        let mut clock = Clock::new();
        clock.fail(1);
        clock.wait(Duration::from_secs(60) - Duration::from_nanos(1));
        clock.enter(2);
        assert_eq!(clock.queue.marks.len(), 1);
        clock.queue.take_changed();
        clock.wait(Duration::from_nanos(1));
        clock.enter(3);
        assert!(clock.queue.marks.is_empty());
        assert!(clock.queue.take_changed(), "who waits may be first now");
    }

    #[test]
    fn what_is_being_computed_keeps_its_slot() {
        let mut clock = Clock::new();
        let running = clock.enter(1).unwrap();
        assert_eq!(clock.step(running), Step::Compute);
        let beside = clock.enter(1).unwrap();
        assert!((2..=7).all(|last| clock.enter(last).is_some()));
        assert!(clock.enter(8).is_some(), "the other one of peer 1 gives up");
        assert_eq!(clock.step(beside), Step::Refused);
        assert!(clock.enter(9).is_none(), "none has two any more");
        clock.wait(HASH);
        clock.queue.finish(running, true, clock.now);
        assert_eq!(clock.queue.computed(), 1);
        // The same with one that has failed: its slot is not another's while it is computed.
        let mut clock = Clock::new();
        clock.fail(1);
        clock.wait(HASH * 10);
        let failed = clock.enter(1).unwrap();
        assert_eq!(clock.step(failed), Step::Compute);
        assert!((2..=8).all(|last| clock.enter(last).is_some()));
        assert!(clock.enter(9).is_none(), "eight, and one of them is under way");
        clock.queue.finish(failed, true, clock.now);
        assert!(clock.enter(9).is_some());
    }

    #[test]
    fn a_slot_that_is_given_back_is_free() {
        let mut clock = Clock::new();
        let tickets: Vec<Ticket> = (0..8).map(|last| clock.enter(last).unwrap()).collect();
        clock.queue.take_changed();
        tickets.iter().for_each(|ticket| clock.queue.leave(*ticket));
        assert!(clock.queue.take_changed(), "another may be first now");
        assert!(clock.queue.waiting.is_empty());
        assert_eq!(clock.step(tickets[0]), Step::Refused);
    }

    #[test]
    fn only_a_peer_without_a_slot_gets_another_ones_second() {
        let mut clock = Clock::new();
        let tickets: Vec<Ticket> = [1, 1, 2, 2, 3, 4, 5, 6].iter().map(|last| clock.enter(*last).unwrap()).collect();
        assert!(clock.enter(6).is_none(), "it has one");
        assert!(clock.enter(7).is_some());
        assert_eq!(clock.step(tickets[3]), Step::Refused, "the newest of two");
        assert_eq!(clock.step(tickets[1]), Step::Wait(None));
    }

    #[test]
    fn a_pause_that_was_left_is_added_to_the_next() {
        let mut clock = Clock::new();
        clock.fail(1);
        clock.fail(1);
        // Peers with a mark rest now, and one without is computed meanwhile.
        let other = clock.enter(2).unwrap();
        clock.compute(other, false);
        let again = clock.enter(1).unwrap();
        assert_eq!(clock.step(again), Step::Wait(Some(clock.now + 2 * HASH)));
    }

    #[test]
    fn who_failed_finds_no_slot_where_all_are_taken() {
        let mut clock = Clock::new();
        clock.fail(1);
        assert!((2..=9).all(|last| clock.enter(last).is_some()));
        assert!(clock.enter(1).is_none());
    }
}
