//! The command line: the flags of the five originals, with one dash or two, `=` or a space.
//!
//! The only file that knows pico-args.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use log::LevelFilter;
use pico_args::Arguments;

use crate::catalogue::Catalogue;
use crate::http;
use crate::logging::Format;
use crate::sources;

/// A flag, as the help, the man page, the completions and the parser know it.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Its other name, without dashes: a letter for most that have one.
    pub other: Option<&'static str>,
    /// What its value is called; empty where it takes none, in brackets where it may be left out.
    pub value: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// Whether `--help` has it; `--help-all` has all.
    pub is_common: bool,
}

/// All flags, in the order of the help.
pub const FLAGS: [Flag; 29] = [
    flag("config.file", Some("c"), "FILE", "the configuration; also --config-file"),
    rare("config.uci", None, "FILE", "the configuration, in the format of OpenWrt"),
    flag("web.listen-address", None, "ADDRESS", ":PORT, host:port or interface:port [:9234]"),
    rare("web.systemd-socket", None, "", "listen on what systemd passes"),
    flag("web.config.file", None, "FILE", "the users, as Prometheus' own web config"),
    rare("web.telemetry-path", None, "PATH", "where the metrics are [/metrics]"),
    rare("web.disable-exporter-metrics", None, "", "leave out process_* and promhttp_*"),
    flag(COLLECTOR, None, "", "watch this source, or don't"),
    rare("config-path", None, "FILE", "watch the tunnels of this ipsec.conf"),
    rare("enable.sudo", None, "", "run the ipsec command through sudo"),
    rare("status", None, "", "say what is up and what is down, and end"),
    flag("json", None, "", "with status: say it as JSON"),
    flag("watch", None, "[SECONDS]", "with status: repeat it every SECONDS [5]"),
    flag("quiet", None, "", "with status: only the exit status says it"),
    rare("doctor", None, "", "check every source, say what to do, and end"),
    rare("once", None, "", "print one scrape and end"),
    flag("output", None, "FILE", "with once: replace FILE by it"),
    rare("check-config", None, "", "check the configuration and end"),
    flag("dry-run", Some("n"), "", "check it, print one scrape, and end"),
    rare("list-needs", None, "", "print what it must see and may do, and end"),
    rare("list-metrics", None, "", "print the catalogue of metrics and end"),
    rare("format", None, "FORMAT", "with metrics: markdown, table or json"),
    flag("log.level", None, "LEVEL", "log from here on: debug, info, warn, error"),
    rare("log.format", None, "FORMAT", "lines as logfmt or json, not [WARN] text"),
    rare("debug", Some("d"), "", "log more: the same as --log.level=debug"),
    flag("hash-password", None, "", "read a password, print its hash, and end"),
    flag("version", None, "", "print the version and end"),
    flag("help", Some("h"), "", "print this and end; --help-all: all flags"),
    rare("help-all", None, "", "print all flags and end"),
];

/// The flags that say of a source whether it is watched: one with `no-` and one without for each, and how the help names them.
pub const COLLECTOR: &str = "[no-]collector.NAME";

/// The second name of `config.file`, which one of the originals has.
const CONFIG_FILE: &str = "config-file";

/// The commands, which may stand before all flags, and the names of the flags that do the same.
pub const COMMANDS: [(&str, &str); 5] = [
    ("status", "status"),
    ("doctor", "doctor"),
    ("once", "once"),
    ("check-config", "check-config"),
    ("metrics", "list-metrics"),
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve, or do what [`Flags::task`] says.
    Run(Box<Flags>),
    /// Print the help: with all flags, or the common ones.
    Help {
        /// Whether with all.
        is_whole: bool,
    },
    /// Read a password and print its hash.
    HashPassword,
    /// Print the catalogue of all metrics.
    ListMetrics(Catalogue),
    /// Print the version.
    Version,
}

/// What is done with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve.
    Serve,
    /// Check the configuration.
    Check,
    /// Check it, and print one scrape.
    DryRun,
    /// Print one scrape, or put it into a file.
    Once(Option<PathBuf>),
    /// Say what a process needs for this configuration.
    Needs,
    /// Check every source.
    Doctor,
    /// Say how the sources are and what is watched through them.
    Status {
        /// As JSON.
        is_json: bool,
        /// Not at all: only the exit status says it.
        is_quiet: bool,
        /// After how many seconds again, until it is ended.
        watch: Option<u16>,
    },
}

/// The flags that were given, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Where to listen, each `:9234`, `host:port`, `[address]:port` or `interface:port`; empty where nothing is said.
    pub listen: Vec<String>,
    /// Whether to listen on the sockets that systemd passes, and nowhere else.
    pub systemd_socket: bool,
    /// Prometheus' web configuration file, where one is named.
    pub web_config: Option<PathBuf>,
    /// The path of the metrics, with its slash.
    pub telemetry_path: String,
    /// The configuration file, where one is named.
    pub config: Option<PathBuf>,
    /// The configuration in OpenWrt's format, where one is named.
    pub uci: Option<PathBuf>,
    /// The `ipsec.conf`, where one is named.
    pub ipsec_config: Option<PathBuf>,
    /// Whether `ipsec` is run through sudo.
    pub sudo: bool,
    /// What to do.
    pub task: Task,
    /// What is logged; by default that depends on the task.
    pub log_level: Option<LevelFilter>,
    /// How lines of the log are written.
    pub log_format: Format,
    /// Whether `/prom` is without the families of the process and the scrapes.
    pub disable_exporter_metrics: bool,
    /// The sources that are named by a flag, and whether they are watched; of several the last one counts.
    pub collectors: Vec<(&'static str, bool)>,
}

/// Reads the arguments that follow the program's name; the error is for the person who typed them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut all = Vec::new();
    for argument in arguments {
        all.append(&mut normal(argument));
    }
    let mut arguments = all;
    if let Some(command) = arguments.first_mut()
        && let Some((_, flag)) = COMMANDS.iter().find(|(name, _)| command.to_str() == Some(name))
    {
        *command = format!("--{flag}").into();
    }
    let collectors = collectors(&mut arguments)?;
    let mut arguments = Arguments::from_vec(arguments);
    if arguments.contains("--help-all") {
        return Ok(Command::Help { is_whole: true });
    }
    if arguments.contains(["-h", "--help"]) {
        return Ok(Command::Help { is_whole: false });
    }
    if arguments.contains("--hash-password") {
        return Ok(Command::HashPassword);
    }
    let format = choice(&mut arguments, "--format")?;
    if arguments.contains("--list-metrics") {
        return Ok(Command::ListMetrics(
            format.and_then(|index| CATALOGUES.1.get(index)).copied().unwrap_or(Catalogue::Markdown),
        ));
    }
    if arguments.contains("--version") {
        return Ok(Command::Version);
    }
    if format.is_some() {
        return Err("--format: goes with --list-metrics, and with nothing else".into());
    }
    let flags = flags(&mut arguments).map_err(complaint)?;
    let output = arguments.opt_value_from_os_str("--output", path).map_err(complaint)?;
    let log_level = choice(&mut arguments, "--log.level")?.and_then(|index| LEVELS.1.get(index)).copied();
    let log_format = choice(&mut arguments, "--log.format")?.and_then(|index| FORMATS.1.get(index)).copied();
    let log_format = log_format.unwrap_or(Format::Text);
    let log_level = if arguments.contains(["-d", "--debug"]) { Some(LevelFilter::Debug) } else { log_level };
    let flags = Flags { task: task(&mut arguments, output)?, log_level, log_format, collectors, ..flags };
    if let Some(left) = arguments.finish().first() {
        return Err(surplus(&left.to_string_lossy()));
    }
    if !flags.telemetry_path.starts_with('/') {
        return Err(format!("--web.telemetry-path: {:?} does not begin with a slash", flags.telemetry_path));
    }
    for address in &flags.listen {
        http::check(address).map_err(|complaint| format!("--web.listen-address: {complaint}"))?;
    }
    Ok(Command::Run(Box::new(flags)))
}

/// What `--help` prints, which fits a screen of 24 lines and 80 columns, or `--help-all`.
pub fn help(is_whole: bool) -> String {
    let mut text =
        String::from("Tells Prometheus how a VPN gateway is doing.\nUsage: gateway-exporter [COMMAND] [FLAGS]\n");
    for (command, flag) in COMMANDS {
        let help = FLAGS.iter().find(|known| known.name == flag).map(|known| known.help).unwrap_or_default();
        let _ = writeln!(text, " {command:<32}  {help}");
    }
    for Flag { name, other, value, help, .. } in FLAGS.iter().filter(|flag| is_whole || flag.is_common) {
        let letter = other.map_or("   ".into(), |letter| format!("-{letter},"));
        let usage = format!("{name}{}", shown_value(value));
        let _ = writeln!(text, " {letter} --{usage:<26}  {help}");
    }
    text + EXAMPLE
}

const EXAMPLE: &str = "
Without --config.file it reads exporter.yaml, config/config.yml or
/etc/gateway-exporter.yaml; without any, it watches what this machine has.
Example: gateway-exporter -c vpn.yaml --web.listen-address=br-lan:9234
";

/// How a flag's value is shown behind its name.
pub fn shown_value(value: &str) -> String {
    match value.strip_prefix('[') {
        Some(value) => format!("[={value}"),
        None if value.is_empty() => String::new(),
        None => format!("={value}"),
    }
}

const fn flag(name: &'static str, other: Option<&'static str>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, other, value, help, is_common: true }
}

/// A flag that `--help` leaves out.
const fn rare(name: &'static str, other: Option<&'static str>, value: &'static str, help: &'static str) -> Flag {
    Flag { name, other, value, help, is_common: false }
}

impl Flag {
    /// Whether it goes by that name, which has no dashes.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.other == Some(name) || (self.other == Some("c") && name == CONFIG_FILE)
    }
}

/// What is asked for; of several, what does more.
fn task(arguments: &mut Arguments, output: Option<PathBuf>) -> Result<Task, String> {
    let [doctor, once, check] = ["--doctor", "--once", "--check-config"].map(|flag| arguments.contains(flag));
    let [status, is_json, is_quiet] = ["--status", "--json", "--quiet"].map(|flag| arguments.contains(flag));
    let watch = seconds(arguments)?;
    for (flag, is_given) in [("--json", is_json), ("--quiet", is_quiet), ("--watch", watch.is_some())] {
        if is_given && !status {
            return Err(format!("{flag}: goes with --status, and with nothing else"));
        }
    }
    if is_quiet && (is_json || watch.is_some()) {
        return Err("--quiet: says nothing, so that --json and --watch don't go with it".into());
    }
    let dry_run = arguments.contains(["-n", "--dry-run"]);
    let needs = arguments.contains("--list-needs");
    match output {
        _ if status => Ok(Task::Status { is_json, is_quiet, watch }),
        Some(_) if !once || doctor => Err("--output: goes with --once, and with nothing else".into()),
        _ if needs => Ok(Task::Needs),
        _ if doctor => Ok(Task::Doctor),
        _ if once => Ok(Task::Once(output)),
        _ if dry_run => Ok(Task::DryRun),
        _ if check => Ok(Task::Check),
        _ => Ok(Task::Serve),
    }
}

/// The value of `--watch`, where it was given.
fn seconds(arguments: &mut Arguments) -> Result<Option<u16>, String> {
    let Some(text) = arguments.opt_value_from_str::<_, String>("--watch").map_err(complaint)? else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_PAUSE).contains(seconds));
    seconds.map(Some).ok_or_else(|| format!("--watch: {text:?} is not a number of seconds from 1 to {LONGEST_PAUSE}"))
}

/// The value of `--watch` where only the flag is written, and the largest one.
const PAUSE: &str = "5";
const LONGEST_PAUSE: u16 = 3600;

/// What is wrong with an argument that nobody took.
fn surplus(argument: &str) -> String {
    let (name, value) = argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
    let takes = |flag: &Flag| flag.is(name.trim_start_matches('-')) && (value.is_none() || !flag.value.is_empty());
    if name.starts_with('-') && FLAGS.iter().any(takes) {
        return format!("{name}: given more than once");
    }
    let names = FLAGS.iter().map(|flag| format!("--{}", flag.name)).chain(COMMANDS.map(|(name, _)| name.to_owned()));
    match names
        .min_by_key(|known| distance(known, name))
        .filter(|known| (1..=MOST_TYPOS).contains(&distance(known, name)))
    {
        Some(known) => format!("unknown argument {argument}; did you mean {known}?"),
        None => format!("unknown argument {argument}; --help-all lists all"),
    }
}

/// How many letters may be wrong in a name that is suggested.
const MOST_TYPOS: usize = 2;

/// How many letters have to be put in, taken out or changed to make one word the other (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (number, letter) in a.bytes().enumerate() {
        let mut diagonal = number;
        let mut left = number.saturating_add(1);
        let mut new = vec![left];
        for (other, above) in b.bytes().zip(row.iter().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(letter != other));
            left = changed.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            new.push(left);
        }
        row = new;
    }
    row.last().copied().unwrap_or_default()
}

/// What pico-args says, as the rest of us says it.
fn complaint(error: pico_args::Error) -> String {
    match error {
        pico_args::Error::OptionWithoutAValue(flag) => format!("{flag}: the value is missing"),
        error => error.to_string(),
    }
}

/// The words of the flags that take one of several, and what they mean, in the same order.
const LEVELS: ([&str; 4], [LevelFilter; 4]) = (
    ["debug", "info", "warn", "error"],
    [LevelFilter::Debug, LevelFilter::Info, LevelFilter::Warn, LevelFilter::Error],
);
const FORMATS: ([&str; 2], [Format; 2]) = (["logfmt", "json"], [Format::Logfmt, Format::Json]);
const CATALOGUES: ([&str; 3], [Catalogue; 3]) =
    (["markdown", "table", "json"], [Catalogue::Markdown, Catalogue::Table, Catalogue::Json]);

/// The words that a flag takes; none where its value is free.
pub fn words(flag: &str) -> &'static [&'static str] {
    match flag {
        "log.level" => &LEVELS.0,
        "log.format" => &FORMATS.0,
        "format" => &CATALOGUES.0,
        _ => &[],
    }
}

/// Which of its words a flag has, where it was given.
fn choice(arguments: &mut Arguments, flag: &'static str) -> Result<Option<usize>, String> {
    let Some(word) = arguments.opt_value_from_str::<_, String>(flag).map_err(complaint)? else { return Ok(None) };
    let words = words(flag.trim_start_matches('-'));
    match words.iter().position(|known| *known == word) {
        Some(index) => Ok(Some(index)),
        None => Err(format!("{flag}: {word:?} is none of {}", words.join(", "))),
    }
}

/// Takes out what is said of single sources.
fn collectors(arguments: &mut Vec<OsString>) -> Result<Vec<(&'static str, bool)>, String> {
    let mut result = Ok(Vec::new());
    arguments.retain(|argument| {
        let name = argument.to_string_lossy();
        let dashed = ["--", "-"].into_iter().find_map(|dashes| name.strip_prefix(dashes)).unwrap_or_default();
        let wanted = dashed.strip_prefix("no-").unwrap_or(dashed);
        let Some(source) = wanted.strip_prefix("collector.") else { return true };
        match (sources::named(source), &mut result) {
            (Some(source), Ok(found)) => found.push((source.name, wanted == dashed)),
            (None, Ok(_)) => {
                let all: Vec<&str> = sources::ALL.iter().map(|source| source.name).collect();
                result = Err(format!("{name}: {source:?} is none of {}", all.join(", ")));
            }
            (_, Err(_)) => {}
        }
        false
    });
    result
}

fn flags(arguments: &mut Arguments) -> Result<Flags, pico_args::Error> {
    let listen = arguments.values_from_str("--web.listen-address")?;
    let telemetry_path = arguments.opt_value_from_str("--web.telemetry-path")?;
    let mut config = arguments.opt_value_from_os_str("--config.file", path)?;
    if config.is_none() {
        config = arguments.opt_value_from_os_str(["-c", "--config-file"], path)?;
    }
    Ok(Flags {
        listen,
        systemd_socket: arguments.contains("--web.systemd-socket"),
        web_config: arguments.opt_value_from_os_str("--web.config.file", path)?,
        telemetry_path: telemetry_path.unwrap_or_else(|| "/metrics".into()),
        config,
        uci: arguments.opt_value_from_os_str("--config.uci", path)?,
        ipsec_config: arguments.opt_value_from_os_str("--config-path", path)?,
        sudo: arguments.contains("--enable.sudo"),
        task: Task::Serve,
        log_level: None,
        log_format: Format::Text,
        disable_exporter_metrics: arguments.contains("--web.disable-exporter-metrics"),
        collectors: Vec::new(),
    })
}

fn path(text: &std::ffi::OsStr) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// An argument as pico-args knows it: Go's `-flag` becomes `--flag`, `=` becomes a space, a switch's
/// `=true` or `=1` goes, and a switch that says `=false` or `=0` goes altogether.
fn normal(argument: OsString) -> Vec<OsString> {
    let Some(text) = argument.to_str().filter(|text| text.starts_with('-')) else { return vec![argument] };
    let (name, value) = match text.trim_start_matches('-').split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text.trim_start_matches('-'), None),
    };
    let flag = OsString::from(if name.len() > 1 { format!("--{name}") } else { format!("-{name}") });
    let Some(known) = FLAGS.iter().find(|flag| flag.is(name)) else { return vec![argument] };
    match (known.value.is_empty(), value) {
        (false, None) if known.value.starts_with('[') => vec![flag, PAUSE.into()],
        (true, Some("false" | "0")) => vec![],
        (true, Some("true" | "1")) | (_, None) => vec![flag],
        (false, Some(value)) => vec![flag, value.into()],
        (true, Some(_)) => vec![argument],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Flags, String> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Command::Run(flags) => Ok(*flags),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn every_flag_of_the_originals_is_read_in_every_spelling() {
        for dashes in ["-", "--"] {
            for between in ["=", " "] {
                let line = format!(
                    "{dashes}web.listen-address{between}:1 {dashes}web.listen-address{between}lo:2 \
                     {dashes}web.config.file{between}w.yaml {dashes}web.telemetry-path{between}/m \
                     {dashes}config.file{between}a.yaml {dashes}config-path{between}/etc/b {dashes}enable.sudo \
                     {dashes}dry-run {dashes}debug {dashes}log.level{between}warn {dashes}log.format{between}json \
                     {dashes}no-collector.sockets {dashes}collector.kernel {dashes}web.disable-exporter-metrics \
                     {dashes}web.systemd-socket"
                );
                let expected = Flags {
                    listen: vec![":1".into(), "lo:2".into()],
                    systemd_socket: true,
                    web_config: Some("w.yaml".into()),
                    telemetry_path: "/m".into(),
                    config: Some("a.yaml".into()),
                    uci: None,
                    ipsec_config: Some("/etc/b".into()),
                    sudo: true,
                    task: Task::DryRun,
                    log_level: Some(LevelFilter::Debug),
                    log_format: Format::Json,
                    disable_exporter_metrics: true,
                    collectors: vec![("sockets", false), ("kernel", true)],
                };
                assert_eq!(run(&line), Ok(expected), "{line}");
            }
        }
        for line in ["-c a.yaml", "-c=a.yaml", "--config-file a.yaml", "-config-file=a.yaml"] {
            assert_eq!(run(line).map(|flags| flags.config), Ok(Some("a.yaml".into())), "{line}");
        }
        let short = run("-n -d").expect("short flags");
        assert!(short.task == Task::DryRun && short.log_level == Some(LevelFilter::Debug) && !short.sudo);
        for (value, is_on) in [("true", true), ("1", true), ("false", false), ("0", false)] {
            assert_eq!(run(&format!("--enable.sudo={value}")).expect("Go's spelling").sudo, is_on, "{value}");
        }
        assert!(run("--enable.sudo=yes").is_err(), "Go refuses it, too");
    }

    #[test]
    fn a_task_is_named_by_its_flag() {
        for (line, task) in [
            ("", Task::Serve),
            ("--check-config", Task::Check),
            ("-dry-run", Task::DryRun),
            ("--check-config -n", Task::DryRun),
            ("--once", Task::Once(None)),
            ("-once -output=/a.prom", Task::Once(Some("/a.prom".into()))),
            ("--output /a.prom --once -n", Task::Once(Some("/a.prom".into()))),
            ("--doctor --once=false", Task::Doctor),
            ("status", Task::Status { is_json: false, is_quiet: false, watch: None }),
            ("status --json", Task::Status { is_json: true, is_quiet: false, watch: None }),
            ("status --quiet", Task::Status { is_json: false, is_quiet: true, watch: None }),
            ("--watch --status", Task::Status { is_json: false, is_quiet: false, watch: Some(5) }),
            ("status --watch=3600 --json", Task::Status { is_json: true, is_quiet: false, watch: Some(3600) }),
        ] {
            assert_eq!(run(line).map(|flags| flags.task), Ok(task), "{line}");
        }
    }

    #[test]
    fn the_help_fits_a_screen_and_names_every_flag() {
        let (help, all) = (help(false), help(true));
        assert!(help.lines().count() <= 24, "{} lines:\n{help}", help.lines().count());
        for line in help.lines().chain(all.lines()) {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line}");
        }
        for (command, flag) in COMMANDS {
            assert!(
                help.contains(&format!("\n {command} ")) && FLAGS.iter().any(|known| known.name == flag),
                "{command}"
            );
        }
        for flag in &FLAGS {
            let usage = format!(" --{}{} ", flag.name, shown_value(flag.value));
            assert_eq!((help.contains(&usage), all.contains(&usage)), (flag.is_common, true), "{usage}");
            let value = if flag.value.is_empty() || flag.value.starts_with('[') { "" } else { "=x" };
            let read =
                parse([OsString::from(format!("--{}{value}", flag.name).replace(COLLECTOR, "collector.sockets"))]);
            let complaint = read.err().unwrap_or_default();
            assert!(!complaint.contains("unknown argument"), "{complaint}");
        }
        assert!(run("--config-file=x").is_ok() && help.contains("Example: gateway-exporter "));
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        let flags = run("").expect("no flags");
        assert_eq!((flags.listen, flags.telemetry_path.as_str()), (Vec::new(), "/metrics"));
        assert_eq!((flags.config, flags.web_config, flags.ipsec_config), (None, None, None));
    }

    #[test]
    fn help_and_version_win() {
        for (line, expected) in [
            ("--help", Command::Help { is_whole: false }),
            ("-h -d", Command::Help { is_whole: false }),
            ("-help", Command::Help { is_whole: false }),
            ("-help-all -d", Command::Help { is_whole: true }),
            ("-version", Command::Version),
            ("metrics", Command::ListMetrics(Catalogue::Markdown)),
            ("metrics --format=table", Command::ListMetrics(Catalogue::Table)),
            ("--format json --list-metrics", Command::ListMetrics(Catalogue::Json)),
        ] {
            assert_eq!(parse(line.split_whitespace().map(OsString::from)), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, complaint) in [
            ("--no-such-flag", "unknown argument --no-such-flag; --help-all lists all"),
            ("stray", "unknown argument stray; --help-all lists all"),
            ("--doktor", "unknown argument --doktor; did you mean --doctor?"),
            ("staus", "unknown argument staus; did you mean status?"),
            ("--web.listen-adress=:1", "unknown argument --web.listen-adress=:1; did you mean --web.listen-address?"),
            ("--web.telemetry-path=metrics", "--web.telemetry-path: \"metrics\" does not begin with a slash"),
            ("--web.listen-address=:x", "--web.listen-address: \":x\": \"x\" is not a port"),
            ("--config.file", "--config.file: the value is missing"),
            ("--web.listen-address", "--web.listen-address: the value is missing"),
            ("--once=/x.prom", "unknown argument --once=/x.prom; --help-all lists all"),
            ("-c a -c b", "-c: given more than once"),
            ("--log.level=loud", "--log.level: \"loud\" is none of debug, info, warn, error"),
            ("--log.level=", "--log.level: \"\" is none of debug, info, warn, error"),
            ("--log.format xml", "--log.format: \"xml\" is none of logfmt, json"),
            ("--log.format", "--log.format: the value is missing"),
            (
                "--no-collector.socket",
                "--no-collector.socket: \"socket\" is none of strongswan, ipsec, openvpn, sockets, kernel, wireguard",
            ),
            ("-collector.", "-collector.: \"\" is none of strongswan, ipsec, openvpn, sockets, kernel, wireguard"),
            ("--collector", "unknown argument --collector; --help-all lists all"),
            ("--web.telemetry-path=/a --web.telemetry-path=/b", "--web.telemetry-path: given more than once"),
            ("metrics --format=xml", "--format: \"xml\" is none of markdown, table, json"),
            ("status --format=json", "--format: goes with --list-metrics, and with nothing else"),
            ("--json", "--json: goes with --status, and with nothing else"),
            ("--doctor --quiet", "--quiet: goes with --status, and with nothing else"),
            ("--watch=5", "--watch: goes with --status, and with nothing else"),
            ("status --watch=0", "--watch: \"0\" is not a number of seconds from 1 to 3600"),
            ("status --watch=3601", "--watch: \"3601\" is not a number of seconds from 1 to 3600"),
            ("status --watch=", "--watch: \"\" is not a number of seconds from 1 to 3600"),
            ("status --watch 7", "unknown argument 7; --help-all lists all"),
            ("status --quiet --json", "--quiet: says nothing, so that --json and --watch don't go with it"),
            ("status --quiet --watch", "--quiet: says nothing, so that --json and --watch don't go with it"),
            ("--output /x.prom", "--output: goes with --once, and with nothing else"),
            ("--once --doctor --output /x.prom", "--output: goes with --once, and with nothing else"),
        ] {
            assert_eq!(run(line), Err(complaint.to_owned()), "{line}");
        }
    }

    #[test]
    fn words_are_as_far_apart_as_letters_are_wrong() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("once", "once", 0),
            ("staus", "status", 1),
            ("doktor", "doctor", 1),
            ("abc", "cab", 2),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
