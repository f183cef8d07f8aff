//! From a path to a reply.

use super::scrape::Round;
use super::*;

/// The longest that a scrape may take, whatever it is given.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The part of a scrape's time that is kept for sending the answer: a tenth, but not less than this.
pub(super) const LEAST_MARGIN: Duration = Duration::from_millis(50);

/// Whoever gives a scrape less than this does not learn anything about the targets that others should know: any peer
/// could fill the log.
pub(super) const LEAST_TIME: Duration = Duration::from_millis(250);

/// The query parameter that narrows a scrape, as node_exporter has it.
pub(super) const COLLECT: &str = "collect[]";

/// The header of a list of sessions that is cut: how many more there are.
pub(super) const UNLISTED: &str = "X-Sessions-Left-Out";

/// Where a supervisor asks whether the process answers: without a password, and without asking any source.
pub(super) const HEALTHY: &str = "/-/healthy";

/// What a browser is told to ask for.
pub(super) const REALM: &str = "Basic realm=\"gateway-exporter\"";

/// The scrapes so far, by status, and those under way.
#[derive(Default)]
pub(super) struct Scrapes {
    pub(super) codes: Vec<(u16, u64)>,
    pub(super) in_flight: u64,
}

impl Scrapes {
    pub(super) fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    pub(super) fn end(&mut self, status: u16) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match self.codes.iter_mut().find(|(code, _)| *code == status) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.codes.insert(self.codes.partition_point(|(code, _)| *code < status), (status, 1)),
        }
    }

    pub(super) fn expose(&self, out: &mut Exposition) {
        own::expose_requests(self.codes.iter().copied(), self.in_flight, out);
    }
}

impl App {
    /// Answers a request; all but the health page only to those who may ask.
    pub fn answer(&self, request: &Request) -> Reply {
        if request.path == HEALTHY {
            return Reply::text(200, "gateway-exporter is healthy\n").with("Cache-Control", "no-store");
        }
        // Before the password is checked, which takes a weak machine long.
        let deadline = deadline(request);
        let users = Arc::clone(&lock(&self.users));
        match users.judge(request.credentials.as_ref(), request.peer) {
            Verdict::Welcome => self.route(request, deadline),
            Verdict::Stranger => Reply::text(401, "who are you\n").with("WWW-Authenticate", REALM),
            Verdict::Busy => Reply::text(503, "too many passwords to check, try again\n").with("Retry-After", "1"),
        }
    }

    pub(super) fn route(&self, request: &Request, deadline: Deadline) -> Reply {
        match request.path.as_str() {
            path if path == self.telemetry_path => self.scrape(request, deadline, false),
            "/prom" => self.scrape(request, deadline, true),
            "/sessions" | "/sessions_local" | "/static" if self.hides_sessions() => Reply::text(404, "not found\n"),
            "/sessions" | "/sessions_local" => self.with_collectors(request, |collectors| {
                self.with_sessions(collectors, deadline, |sessions, _, unlisted| {
                    let reply = private(Reply::ok(session::CONTENT_TYPE, session::json(sessions)));
                    if unlisted > 0 { reply.with_count(UNLISTED, unlisted) } else { reply }
                })
            }),
            "/static" => self.with_collectors(request, |collectors| {
                self.with_sessions(collectors, deadline, |sessions, troubles, unlisted| {
                    html(page::sessions(self.frame(&self.gateway()), sessions, troubles, unlisted))
                })
            }),
            "/" => self.with_collectors(request, |collectors| self.landing(collectors, deadline)),
            _ => Reply::text(404, "not found\n"),
        }
    }

    pub(super) fn frame<'a>(&'a self, gateway: &'a str) -> Frame<'a> {
        let has_sessions = !self.hides_sessions();
        Frame { gateway, version: own::VERSION, telemetry_path: &self.telemetry_path, has_sessions }
    }

    pub(super) fn hides_sessions(&self) -> bool {
        lock(&self.watch).config.web.hides_sessions
    }

    pub(super) fn gateway(&self) -> String {
        lock(&self.watch).config.gateway.clone()
    }

    pub(super) fn scrape(&self, request: &Request, deadline: Deadline, with_own: bool) -> Reply {
        lock(&self.scrapes).begin();
        let reply = self.with_collectors(request, |collectors| self.expose(collectors, deadline, with_own));
        lock(&self.scrapes).end(reply.status());
        reply
    }

    pub(super) fn expose(&self, collectors: &[&dyn Collector], deadline: Deadline, with_own: bool) -> Reply {
        let mut all = Exposition::default();
        own::expose_build(&mut all);
        let place = self.room.enter();
        for round in self.gather(collectors, Wish::Metrics, deadline, &place) {
            if !round.fits {
                return full();
            }
            for (target, result) in &round.report.targets {
                own::expose_target(round.name, target, result.is_ok(), &mut all);
            }
            own::expose_duration(round.name, round.taken, &mut all);
            own::expose_dropped(round.name, round.report.exposition.dropped(), &mut all);
            all.absorb(round.report.exposition);
        }
        if with_own {
            own::expose_usage(&usage::read(), &mut all);
            lock(&self.scrapes).expose(&mut all);
        }
        Reply::stream(expo::CONTENT_TYPE, all.encode()).keeping(place)
    }

    pub(super) fn landing(&self, collectors: &[&dyn Collector], deadline: Deadline) -> Reply {
        self.gather(collectors, Wish::Metrics, deadline, &self.room.enter());
        let printed = |since: Option<i64>| since.and_then(clock::local).map(|moment| moment.to_string());
        let findings = self.findings().into_iter();
        let findings: Vec<_> = findings.map(|(finding, since)| (finding, printed(since).unwrap_or_default())).collect();
        html(page::landing(self.frame(&self.gateway()), &findings))
    }

    /// Calls `answer` with the sessions of all sources, why some could not be read, and how many are left out.
    pub(super) fn with_sessions(
        &self,
        collectors: &[&dyn Collector],
        deadline: Deadline,
        answer: impl FnOnce(&[Session], &[String], usize) -> Reply,
    ) -> Reply {
        let identities = lock(&self.watch).config.terms.identities;
        let place = self.room.enter();
        let rounds = self.gather(collectors, Wish::Sessions, deadline, &place);
        let (mut sessions, mut troubles, mut left_out) = (Vec::new(), Vec::new(), 0_usize);
        for Round { report: Report { sessions: more, targets, .. }, fits, unlisted, .. } in rounds {
            if !fits {
                return full();
            }
            left_out = left_out.saturating_add(unlisted);
            sessions.extend(more.into_iter().map(|session| session.shown(identities)));
            troubles.extend(targets.into_iter().filter_map(|(_, result)| result.err().map(|error| error.to_string())));
        }
        answer(&sessions, &troubles, left_out).keeping(place)
    }

    /// Calls `answer` with the collectors that the request asks for: all, or those that it names.
    pub(super) fn with_collectors(&self, request: &Request, answer: impl FnOnce(&[&dyn Collector]) -> Reply) -> Reply {
        let collectors = lock(&self.watch).current();
        let mut wanted: Vec<&dyn Collector> = Vec::new();
        for name in request.values(COLLECT) {
            match collectors.iter().find(|collector| collector.name() == name) {
                Some(found) if wanted.iter().all(|collector| collector.name() != name) => wanted.push(found.as_ref()),
                Some(_) => {}
                None => return Reply::text(400, format!("{COLLECT}: no source of that name is watched\n")),
            }
        }
        if wanted.is_empty() {
            wanted.extend(collectors.iter().map(|collector| collector.as_ref()));
        }
        answer(&wanted)
    }
}

/// The answer where too many large ones are under way.
pub(super) fn full() -> Reply {
    Reply::text(503, "busy with large answers, try again\n").with("Retry-After", "1")
}

/// A page for people, which may load nothing and run nothing but its own script.
pub(super) fn html(page: String) -> Reply {
    private(Reply::ok(page::CONTENT_TYPE, page.into_bytes())).with("Content-Security-Policy", page::POLICY)
}

/// An answer that says who is connected: nobody keeps it or takes it for something else.
pub(super) fn private(reply: Reply) -> Reply {
    reply
        .with("Cache-Control", "no-store")
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
}

/// A scrape ends before Prometheus stops waiting, so that what the healthy sources said arrives.
pub(super) fn deadline(request: &Request) -> Deadline {
    let time = request.timeout.map_or(PATIENCE, |timeout| {
        let margin = timeout.checked_div(10).unwrap_or_default().max(LEAST_MARGIN);
        timeout.saturating_sub(margin).min(PATIENCE)
    });
    Deadline::within(time)
}
