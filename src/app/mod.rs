//! The application: turns a request into a reply. It knows no sockets, so tests call it as a function.
//!
//! `registry` holds the watched sources, `scrape` reads them, `outcome` is what comes of a read, `routes` answers requests,
//! `status` keeps the state of targets, `troubles` since when what is watched through them is not well, `overview` says
//! both.

use std::sync::{Arc, Mutex, OnceLock};

pub use self::overview::in_words;
pub use self::registry::Discover;
pub use self::routes::{Reload, STATE, status_path};

use self::outcome::Query;
use self::registry::Registry;
use self::routes::Scrapes;
use self::scrape::{Shared, Times};
use self::status::Status;
use crate::auth::{Bucket, Users};
use crate::config::Config;
use crate::diagnosis::{self, Finding};
use crate::http::{Compression, FreeMemory, Reply};
use crate::lock::lock;
use crate::memory_budget::MemoryBudget;
use crate::source::AnySettings;

mod outcome;
mod overview;
mod registry;
mod routes;
mod scrape;
mod status;
mod troubles;

/// The memory that all replies together may hold, in bytes; a scrape of ten thousand clients takes a tenth.
const ANSWER_BUDGET: usize = 64 * 1024 * 1024;

/// The application.
pub struct App {
    registry: Registry,
    shared: Arc<Shared>,
    users: Mutex<Arc<Users>>,
    telemetry_path: String,
    scrapes: Mutex<Scrapes>,
    compression: Arc<Compression>,
    reload: OnceLock<Box<Reload>>,
    bucket: Mutex<Bucket>,
}

impl App {
    /// Watches the configured sources. With `discover` it also adds sources that appear later, and keeps them.
    pub fn new(config: Config, discover: Option<Box<Discover>>, telemetry_path: String) -> Self {
        let options = Mutex::new(config.options);
        let memory = MemoryBudget::new(ANSWER_BUDGET);
        let shared = Arc::new(Shared { status: Status::default(), memory: Arc::clone(&memory), options });
        Self {
            users: Mutex::new(Arc::new(Users::new(config.web.users.clone()))),
            registry: Registry::new(config, discover, Arc::clone(&shared)),
            shared,
            telemetry_path,
            scrapes: Mutex::default(),
            compression: Compression::new(memory),
            reload: OnceLock::new(),
            bucket: Mutex::default(),
        }
    }

    /// Replaces the configuration. Creating collectors may take seconds; until then the previous ones are used.
    pub fn reload(&self, config: Config, discover: Option<Box<Discover>>) {
        // While the users don't change, verified passwords stay known.
        let users = (lock(&self.registry.watch).config.web.users != config.web.users).then(|| config.web.users.clone());
        self.registry.reload(config, discover);
        if let Some(users) = users {
            *lock(&self.users) = Arc::new(Users::new(users));
        }
    }

    /// Sets the function that is called if the memory budget is used up.
    pub fn free_memory_by(&self, free_memory: Box<FreeMemory>) {
        self.shared.memory.free_by(free_memory);
    }

    /// Sets the function that `POST /-/reload` calls; without it that path is not found.
    pub fn reload_by(&self, reload: Box<Reload>) {
        // It is set once.
        let _ = self.reload.set(reload);
    }

    /// Records the findings about the addresses to listen on.
    pub fn note_listeners(&self, findings: Vec<Finding>) {
        self.shared.status.note_listeners(findings);
    }

    /// What is wrong with the configuration although it is valid, found without reading any source.
    pub fn config_findings(&self) -> Vec<Finding> {
        let watch = lock(&self.registry.watch);
        let review = |settings: &dyn AnySettings| {
            let name = settings.source().name;
            settings.review().into_iter().map(move |notice| diagnosis::notice(name, &notice))
        };
        watch.config.sources.iter().flat_map(review).collect()
    }

    /// Reads every source once, as a scrape does; returns a finding for each target, without since when it is so.
    pub fn examine(&self) -> Vec<Finding> {
        scrape::gather(&self.registry.current(), Query::Metrics, Times::usual());
        let findings = self.shared.status.findings(&self.registry.absent(), Times::usual().wait);
        findings.into_iter().map(|finding| Finding { since: None, ..finding }).collect()
    }

    /// One scrape without a request, and whether every target could be read.
    pub fn once(&self) -> (Reply, bool) {
        let reply = self.expose(&self.registry.current(), Times::usual(), false);
        (reply, self.shared.status.is_well())
    }

    /// The watched targets, one line for each source.
    pub fn watched(&self) -> Vec<String> {
        let sources = self.registry.known();
        let collectors = sources.iter().map(|source| &source.collector);
        collectors.map(|collector| format!("{}: {}", collector.name(), collector.targets().join(", "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use super::routes::{REALM, UNLISTED};
    use super::*;
    use crate::collector::{Collector, Report};
    use crate::deadline::Deadline;
    use crate::error::{Error, ErrorKind};
    use crate::http::{Compress, Credentials, Method, RELOAD, Request};
    use crate::privacy::Identities;
    use crate::session::Session;

    /// A collector that does what a test wants.
    struct Stub {
        name: &'static str,
        error: Option<Error>,
        /// Where all that are to be read at once meet.
        meet: Option<Arc<Barrier>>,
    }

    impl Collector for Stub {
        fn name(&self) -> &'static str {
            self.name
        }

        fn targets(&self) -> Vec<String> {
            vec!["/stub".into()]
        }

        fn collect(&self, _: Deadline, report: &mut Report) {
            if let Some(meet) = &self.meet {
                meet.wait();
            }
            report.target("/stub", self.error.clone().map_or(Ok(()), Err));
        }

        fn sessions(&self, _: Deadline, report: &mut Report) {
            report.target("/stub", self.error.clone().map_or(Ok(()), Err));
            report.sessions.extend([Session { remoteid: self.name.into(), ..Session::default() }]);
        }
    }

    fn stub(name: &'static str, error: Option<Error>) -> Arc<dyn Collector> {
        Arc::new(Stub { name, error, meet: None })
    }

    fn app(collectors: Vec<Arc<dyn Collector>>) -> App {
        let app = App::new(Config::default(), None, "/metrics".into());
        app.registry.replace_collectors(collectors, |_| ());
        app
    }

    fn gone() -> Error {
        Error::new("/stub", ErrorKind::NotFound)
    }

    fn request(target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Request {
            method: Method::Get,
            path: path.into(),
            query: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
            timeout: None,
            credentials: None,
            host: None,
            accepts_gzip: false,
            peer: [127, 0, 0, 1].into(),
            is_local: true,
            is_cross_site: false,
        }
    }

    fn get(app: &App, target: &str) -> (u16, String) {
        let reply = app.answer(&request(target));
        (reply.status(), String::from_utf8(reply.into_bytes().expect("a body")).expect("UTF-8"))
    }

    #[test]
    fn a_source_that_is_down_does_not_silence_the_others() {
        let app = app(vec![stub("a", Some(gone())), stub("b", None)]);
        let (status, text) = get(&app, "/metrics");
        assert_eq!(status, 200);
        assert!(text.contains("gateway_exporter_target_up{collector=\"a\",target=\"/stub\"} 0\n"), "{text}");
        assert!(text.contains("gateway_exporter_target_up{collector=\"b\",target=\"/stub\"} 1\n"), "{text}");
        assert!(text.contains("gateway_exporter_collector_duration_seconds{collector=\"b\"}"), "{text}");
    }

    #[test]
    fn the_overview_says_its_state_in_a_header_also() {
        let app = app(vec![stub("a", Some(gone())), stub("b", None)]);
        let json = app.answer(&request(&status_path(true)));
        assert!(json.headers().any(|header| header == (STATE, "down")));
        assert!(json.headers().any(|header| header == ("Cache-Control", "no-store")));
        let (status, text) = get(&app, &status_path(true));
        assert!(status == 200 && text.contains("\"state\":\"down\",\"summary\":\"1 of 2 down\""), "{text}");
        let (status, text) = get(&app, &status_path(false));
        assert!(status == 200 && text.starts_with("down   a           /stub: not found, since at least "), "{text}");
        assert!(text.ends_with("\n1 of 2 down.\n"), "{text}");
    }

    #[test]
    fn a_short_deadline_says_nothing_about_a_source() {
        let slow = Error::new("/stub", ErrorKind::TimedOut);
        let app = app(vec![stub("a", Some(slow.clone()))]);
        let ask = |milliseconds| {
            let timeout = Some(Duration::from_millis(milliseconds));
            assert_eq!(app.answer(&Request { timeout, ..request("/metrics") }).status(), 200);
            app.shared.status.error()
        };
        assert_eq!((ask(1), ask(200)), (None, None));
        assert_eq!(ask(1000), Some(slow));
    }

    #[test]
    fn sources_are_read_side_by_side() {
        let meet = Arc::new(Barrier::new(4));
        let all = ["a", "b", "c", "d"].map(|name| {
            let meet = Some(Arc::clone(&meet));
            Arc::new(Stub { name, error: None, meet }) as Arc<dyn Collector>
        });
        let (_, text) = get(&app(all.into()), "/metrics");
        assert_eq!(text.matches("target=\"/stub\"} 1\n").count(), 4, "each waits for the others: {text}");
    }

    #[test]
    fn a_scrape_is_narrowed_by_collect() {
        let app = app(vec![stub("a", None), stub("b", None)]);
        for (target, a, b) in [
            ("/metrics", true, true),
            ("/metrics?collect[]=a", true, false),
            ("/metrics?collect[]=b&collect[]=b", false, true),
            ("/metrics?collect[]=a&collect[]=b", true, true),
        ] {
            let (_, text) = get(&app, target);
            assert_eq!(text.contains("target_up{collector=\"a\""), a, "{target}: {text}");
            assert_eq!(text.contains("target_up{collector=\"b\""), b, "{target}: {text}");
        }
        assert_eq!(get(&app, "/metrics?collect[]=c").0, 400);
        assert_eq!(get(&app, "/sessions?collect[]=b").1.matches("remoteid").count(), 1);
    }

    #[test]
    fn only_prom_has_the_process_and_the_scrapes() {
        let app = app(vec![]);
        let (_, text) = get(&app, "/metrics");
        assert!(text.contains("gateway_exporter_build_info{") && !text.contains("process_"), "{text}");
        let (_, text) = get(&app, "/prom");
        for line in [
            "promhttp_metric_handler_requests_total{code=\"200\"} 1\n",
            "promhttp_metric_handler_requests_in_flight 1\n",
            "# TYPE process_cpu_seconds_total counter\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn only_users_may_ask_where_there_are_some() {
        let mut config = Config::default();
        config.web.users.push(("ann".into(), crate::bcrypt::Hash::new(b"secret", 4, [1; 16])));
        let app = App::new(config, None, "/metrics".into());
        let ask = |path: &str, password: Option<&str>| {
            let credentials = password.map(|password| Credentials { user: "ann".into(), password: password.into() });
            app.answer(&Request { credentials, ..request(path) })
        };
        for path in ["/", "/metrics", "/prom", "/sessions", "/static", "/nowhere", "/-/healthy/", "//-/healthy"] {
            for password in [None, Some("wrong")] {
                let reply = ask(path, password);
                assert_eq!(reply.status(), 401, "{path}");
                assert!(reply.headers().any(|header| header == ("WWW-Authenticate", REALM)), "{path}");
            }
        }
        assert_eq!(ask("/metrics", Some("secret")).status(), 200);
        assert_eq!(ask("/nowhere", Some("secret")).status(), 404);
        app.reload(Config::default(), None);
        assert_eq!(ask("/metrics", None).status(), 200);
    }

    #[test]
    fn a_reload_is_asked_for_from_this_machine_or_by_a_user() {
        let post = || Request { method: Method::Post, host: Some("localhost".into()), ..request(RELOAD) };
        let ask = |app: &App, request: Request| {
            let reply = app.answer(&request);
            (reply.status(), String::from_utf8(reply.into_bytes().expect("a body")).expect("UTF-8"))
        };
        let app = app(vec![]);
        assert_eq!(ask(&app, post()).0, 404, "nothing can be reloaded");
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        app.reload_by(Box::new(move || {
            *lock(&counted) += 1;
            if *lock(&counted) == 2 { Err("/x.yaml: no\u{1b}[2J".into()) } else { Ok(()) }
        }));
        assert_eq!(ask(&app, post()), (200, "the configuration was read again\n".into()));
        assert_eq!(ask(&app, post()), (500, "/x.yaml: no\u{fffd}[2J\n".into()));
        let name = |name: &str| Some(name.to_owned());
        for (refused, why) in [
            (Request { is_local: false, ..post() }, "another machine"),
            (Request { is_cross_site: true, ..post() }, "a page of another site"),
            (Request { host: name("evil.example.com"), ..post() }, "a name that leads here"),
        ] {
            assert_eq!(ask(&app, refused).0, 403, "{why}");
        }
        let reply = app.answer(&request(RELOAD));
        assert!(reply.status() == 405 && reply.headers().any(|header| header == ("Allow", "POST")));
        let mut config = Config::default();
        config.web.hosts = crate::auth::Hosts::parse(&["gateway.example.com".into()]).ok();
        config.web.users.push(("ann".into(), crate::bcrypt::Hash::new(b"secret", 4, [1; 16])));
        app.reload(config, None);
        let known = |password: &str| Request {
            credentials: Some(Credentials { user: "ann".into(), password: password.into() }),
            is_local: false,
            host: name("gateway.example.com"),
            ..post()
        };
        assert_eq!(ask(&app, post()).0, 401, "a password is asked for on this machine, too");
        assert_eq!(ask(&app, known("wrong")).0, 401);
        assert_eq!(*lock(&count), 2);
        assert_eq!(ask(&app, known("secret")).0, 200);
        assert_eq!(ask(&app, Request { is_cross_site: true, ..known("secret") }).0, 403);
        assert_eq!(ask(&app, Request { host: name("evil.example.com"), ..known("secret") }).0, 421);
        assert_eq!(*lock(&count), 3);
    }

    #[test]
    fn sessions_can_be_switched_off() {
        let app = app(vec![stub("a", None)]);
        lock(&app.registry.watch).config.web.hides_sessions = true;
        for path in ["/sessions", "/sessions_local", "/static"] {
            assert_eq!(get(&app, path).0, 404, "{path}");
        }
        let (_, page) = get(&app, "/");
        assert!(!page.contains("/sessions") && !page.contains("/static") && page.contains("/metrics"), "{page}");
    }

    #[test]
    fn identities_are_shown_as_configured() {
        let app = app(vec![stub("carol", None)]);
        assert!(get(&app, "/sessions").1.contains("\"remoteid\":\"carol\""));
        app.registry
            .replace_collectors(vec![stub("carol", None)], |config| config.options.identities = Identities::Off);
        for path in ["/sessions", "/static"] {
            // The source of this test has the same name.
            let page = get(&app, path).1.replace("<td data-name=\"Source\"><div><bdi>carol</bdi>", "");
            assert!(!page.contains("carol"), "{path}");
        }
    }

    #[test]
    fn pages_are_not_cached_and_load_nothing_from_elsewhere() {
        let app = app(vec![]);
        for (path, has_policy) in [("/", true), ("/static", true), ("/sessions", false)] {
            let reply = app.answer(&request(path));
            assert!(reply.headers().any(|header| header == ("Cache-Control", "no-store")), "{path}");
            assert!(reply.headers().any(|header| header == ("X-Content-Type-Options", "nosniff")), "{path}");
            assert_eq!(reply.headers().any(|(name, _)| name == "Content-Security-Policy"), has_policy);
        }
    }

    #[test]
    fn what_the_pages_load_is_there() {
        let app = app(vec![]);
        let (_, page) = get(&app, "/");
        for (path, content_type) in
            [("/style.css", "text/css; charset=utf-8"), ("/app.js", "text/javascript; charset=utf-8")]
        {
            assert!(page.contains(&format!("\"{path}\"")), "{path}: {page}");
            let reply = app.answer(&request(path));
            assert!(reply.headers().any(|header| header == ("Content-Type", content_type)), "{path}");
            assert!(reply.into_bytes().is_ok_and(|body| body.len() > 1000), "{path}");
        }
    }

    #[test]
    fn pages_answer_only_under_the_hosts_that_are_named() {
        let app = app(vec![]);
        let ask = |path: &str, host: &str| app.answer(&Request { host: Some(host.into()), ..request(path) }).status();
        assert_eq!(ask("/sessions", "evil.example.com"), 200, "where none is named");
        let hosts = crate::auth::Hosts::parse(&["gateway.example.com".into()]).map_err(str::to_owned);
        lock(&app.registry.watch).config.web.hosts = Some(hosts.expect("a name"));
        for path in ["/", "/sessions", "/sessions_local", "/static", "/nowhere"] {
            assert_eq!(ask(path, "evil.example.com"), 421, "{path}");
            for host in ["gateway.example.com", "192.0.2.1", "[::1]", "localhost"] {
                assert_ne!(ask(path, host), 421, "{path} {host}");
            }
            assert_ne!(get(&app, path).0, 421, "{path} without a host");
        }
        for path in ["/metrics", "/prom"] {
            assert_eq!(ask(path, "evil.example.com"), 200, "{path}");
        }
    }

    #[test]
    fn answers_are_compressed_as_configured() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
        let app = app(names.into_iter().map(|name| stub(name, None)).collect());
        let encoding = |compress, path: &str, accepts_gzip, is_local| {
            lock(&app.registry.watch).config.web.compress = compress;
            let reply = app.answer(&Request { accepts_gzip, is_local, ..request(path) });
            let header =
                |wanted: &str| reply.headers().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
            (header("Content-Encoding"), header("Vary"))
        };
        let (gzip, vary) = (Some("gzip".to_owned()), Some("Accept-Encoding".to_owned()));
        for path in ["/metrics", "/prom", "/", "/static", "/sessions", "/style.css", "/app.js"] {
            assert_eq!(encoding(Compress::Auto, path, true, false), (gzip.clone(), vary.clone()), "{path}");
            assert_eq!(encoding(Compress::Auto, path, false, false), (None, vary.clone()), "{path}");
            assert_eq!(encoding(Compress::Auto, path, true, true), (None, vary.clone()), "{path}");
            assert_eq!(encoding(Compress::Always, path, true, true), (gzip.clone(), vary.clone()), "{path}");
            assert_eq!(encoding(Compress::Never, path, true, false), (None, None), "{path}");
        }
        assert_eq!(encoding(Compress::Always, "/nowhere", true, false), (None, None));
    }

    #[test]
    fn other_paths_are_not_found() {
        let app = App::new(Config::default(), None, "/m".into());
        for path in ["/metrics", "/m/", "//m", "/../m", "/favicon.png", "/app.css"] {
            assert_eq!(get(&app, path).0, 404, "{path}");
        }
        assert_eq!(get(&app, "/m").0, 200);
    }

    #[test]
    fn sessions_are_no_more_than_series() {
        let app = app(vec![stub("a", None), stub("b", None)]);
        let left_out = || {
            let reply = app.answer(&request("/sessions"));
            reply.headers().find(|(name, _)| *name == UNLISTED).map(|(_, count)| count.to_owned())
        };
        assert_eq!(left_out(), None);
        app.registry
            .replace_collectors(vec![stub("a", None), stub("b", None)], |config| config.options.most_series = Some(0));
        assert_eq!(left_out().as_deref(), Some("2"));
        assert_eq!(get(&app, "/sessions").1, "[]");
        assert!(get(&app, "/static").1.contains("<li>2 more are left out: max_series</li>"));
    }

    #[test]
    fn sessions_are_json_and_a_page() {
        let app = app(vec![stub("a", Some(gone()))]);
        assert_eq!(get(&app, "/sessions").1, get(&app, "/sessions_local").1);
        let (_, page) = get(&app, "/static");
        assert!(page.contains("/stub: not found") && page.contains("1 session<"), "{page}");
        let empty = App::new(Config::default(), None, "/metrics".into());
        assert_eq!(get(&empty, "/sessions").1, "[]");
    }

    #[test]
    fn a_state_keeps_its_age_until_it_changes() {
        let app = app(vec![stub("a", Some(gone()))]);
        get(&app, "/");
        let since = |app: &App| app.shared.status.since();
        app.shared.status.set_since(7);
        get(&app, "/");
        assert_eq!(since(&app), 7);
        app.registry.replace_collectors(vec![stub("a", None)], |_| ());
        let (_, page) = get(&app, "/");
        assert!(page.contains("All is well<"), "{page}");
        assert!(since(&app) > 7);
    }

    #[test]
    fn what_turns_up_later_is_watched() {
        let socket = |name: &str| {
            crate::source::erased::<crate::strongswan::StrongSwan>(crate::strongswan::Settings {
                socket: crate::sys::socket::Address::Unix(name.into()),
                gateway: "gateway".into(),
                identity: crate::strongswan::sa::Identity::default(),
                certificate_interval: Duration::ZERO,
                most_clients: 1,
            })
        };
        let found = Arc::new(Mutex::new(None));
        let look = Arc::clone(&found);
        let discover = move || {
            let mut config = Config::default();
            lock(&look).clone().into_iter().for_each(|settings| config.sources.set(settings));
            config
        };
        let app = App::new(Config::default(), Some(Box::new(discover)), "/metrics".into());
        assert!(app.watched().is_empty());
        *lock(&found) = Some(socket("/no/such/vici"));
        assert!(get(&app, "/metrics").1.contains("probe_success{version=\"\"} 0\n"));
        *lock(&found) = None;
        assert!(get(&app, "/metrics").1.contains("probe_success{version=\"\"} 0\n"), "found once, watched for good");
    }

    #[test]
    fn a_reload_keeps_what_a_source_remembers_unless_its_settings_changed() {
        let config = |text: &str| Config::parse(text, &crate::config::Overrides::default()).expect("valid");
        let app = App::new(config("vici_socket: /a\novpnudpstatus: /b\n"), None, "/metrics".into());
        let named = |name: &str| {
            let sources = app.registry.known();
            let mut collectors = sources.iter().map(|source| Arc::clone(&source.collector));
            collectors.find(|collector| collector.name() == name).expect("watched")
        };
        let (charon, openvpn) = (named("strongswan"), named("openvpn"));
        app.reload(config("vici_socket: /a\novpnudpstatus: /c\n"), None);
        assert!(Arc::ptr_eq(&charon, &named("strongswan")), "its totals would fall");
        assert!(!Arc::ptr_eq(&openvpn, &named("openvpn")), "it reads another file");
    }

    #[test]
    fn an_openvpn_server_beside_new_ones_keeps_its_totals() {
        let path = std::env::temp_dir().join(format!("gwx-app-{}.udp.status", std::process::id()));
        let config = |text: String| Config::parse(&text, &crate::config::Overrides::default()).expect("valid");
        let alone = format!("ovpnudpstatus: {}\n", path.display());
        let app = App::new(config(alone.clone()), None, "/metrics".into());
        let seen = || get(&app, "/metrics").1.contains("ovpn_bytes_in_total{client=\"ann_udp\"} 700\n");
        let status = |client: &str| {
            let text = format!(
                "TITLE,OpenVPN\nTIME,x,1\nHEADER,CLIENT_LIST,Common Name,Real Address,Bytes Received,Bytes Sent\n{client}END\n"
            );
            std::fs::write(&path, text).expect("a status file");
        };
        status("CLIENT_LIST,ann,192.0.2.7:1194,700,70\n");
        assert!(seen());
        status("");
        app.reload(config(alone + "ovpntcpstatus: /no/such/status\n"), None);
        assert!(seen(), "ann left, and another server came: what she had stays");
        std::fs::remove_file(&path).expect("it was there");
    }

    #[test]
    fn the_landing_page_and_a_reload_do_not_wait_for_each_other() {
        let config =
            || Config::parse("ovpnudpstatus: /no/such\n", &crate::config::Overrides::default()).expect("valid");
        let app = App::new(config(), None, "/metrics".into());
        thread::scope(|threads| {
            threads.spawn(|| (0..500).for_each(|_| app.reload(config(), None)));
            (0..500).for_each(|_| assert_eq!(get(&app, "/").0, 200));
        });
    }

    #[test]
    fn the_deadline_leaves_time_for_the_answer() {
        for (timeout, least, most) in
            [(None, 4900, 5000), (Some(1000), 850, 900), (Some(10), 0, 0), (Some(60_000), 4900, 5000)]
        {
            let request = Request { timeout: timeout.map(Duration::from_millis), ..request("/metrics") };
            let times = Times::of(request.timeout);
            let left = times.read.left("x").unwrap_or_default().as_millis();
            assert!((least..=most).contains(&left), "{timeout:?}: {left}");
            assert!(times.wait > times.read, "what was cut short has time to say so");
        }
    }
}
