//! The command line: the flags of the five originals, with one dash or two, `=` or a space.
//!
//! The only file that knows pico-args.

use std::ffi::OsString;
use std::path::PathBuf;

use pico_args::Arguments;

use crate::http;

/// What `--help` prints.
pub const HELP: &str = "\
Tells Prometheus how a VPN gateway is doing: strongSwan, ipsec, OpenVPN and the sockets that should be there.

Usage: gateway-exporter [FLAGS]

      --web.listen-address=ADDRESS  Where to listen: :PORT (every address), host:port, [address]:port or
                                    interface:port; may be given several times [default: :9234]
      --web.config.file=FILE        Who may ask, as Prometheus' own web configuration file says it
      --web.telemetry-path=PATH     Where the metrics are [default: /metrics]
  -c, --config.file=FILE            Configuration; also --config-file [default: exporter.yaml or
                                    config/config.yml here, or /etc/gateway-exporter.yaml; without
                                    any, what is found on this machine is watched]
      --config-path=FILE            Watch the tunnels of this ipsec.conf [default: /etc/ipsec.conf]
      --enable.sudo                 Run the ipsec command through sudo
  -n, --dry-run                     Check the configuration, say what would be watched, and end;
                                    also --check-config
  -d, --debug                       Log more
      --hash-password               Read a password, print its hash for basic_auth_users, and end
      --list-metrics                Print the catalogue of all metrics and end
      --version                     Print the version and end
  -h, --help                        Print this and end
";

/// The flags that take no value.
const SWITCHES: [&str; 11] = [
    "enable.sudo",
    "dry-run",
    "n",
    "check-config",
    "debug",
    "d",
    "hash-password",
    "list-metrics",
    "version",
    "help",
    "h",
];

/// The flags that take one.
const VALUES: [&str; 7] =
    ["web.listen-address", "web.config.file", "web.telemetry-path", "config.file", "config-file", "c", "config-path"];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve, or with `dry_run` only check.
    Run(Flags),
    /// Print the help.
    Help,
    /// Read a password and print its hash.
    HashPassword,
    /// Print the catalogue of all metrics.
    ListMetrics,
    /// Print the version.
    Version,
}

/// The flags that were given, defaults filled in.
#[derive(Debug, PartialEq, Eq)]
pub struct Flags {
    /// Where to listen, each `:9234`, `host:port`, `[address]:port` or `interface:port`; empty where nothing is said.
    pub listen: Vec<String>,
    /// Prometheus' web configuration file, where one is named.
    pub web_config: Option<PathBuf>,
    /// The path of the metrics, with its slash.
    pub telemetry_path: String,
    /// The configuration file, where one is named.
    pub config: Option<PathBuf>,
    /// The `ipsec.conf`, where one is named.
    pub ipsec_config: Option<PathBuf>,
    /// Whether `ipsec` is run through sudo.
    pub sudo: bool,
    /// Whether to check only.
    pub dry_run: bool,
    /// Whether to log more.
    pub debug: bool,
}

/// Reads the arguments that follow the program's name; the error is for the person who typed them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = Arguments::from_vec(arguments.into_iter().flat_map(normal).collect());
    if arguments.contains(["-h", "--help"]) {
        return Ok(Command::Help);
    }
    if arguments.contains("--hash-password") {
        return Ok(Command::HashPassword);
    }
    if arguments.contains("--list-metrics") {
        return Ok(Command::ListMetrics);
    }
    if arguments.contains("--version") {
        return Ok(Command::Version);
    }
    let flags = flags(&mut arguments).map_err(|error| error.to_string())?;
    if let Some(left) = arguments.finish().first() {
        return Err(format!("unknown argument {}; --help lists all", left.to_string_lossy()));
    }
    if !flags.telemetry_path.starts_with('/') {
        return Err(format!("--web.telemetry-path: {:?} does not begin with a slash", flags.telemetry_path));
    }
    for address in &flags.listen {
        http::check(address).map_err(|complaint| format!("--web.listen-address: {complaint}"))?;
    }
    Ok(Command::Run(flags))
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
        web_config: arguments.opt_value_from_os_str("--web.config.file", path)?,
        telemetry_path: telemetry_path.unwrap_or_else(|| "/metrics".into()),
        config,
        ipsec_config: arguments.opt_value_from_os_str("--config-path", path)?,
        sudo: arguments.contains("--enable.sudo"),
        dry_run: arguments.contains(["-n", "--dry-run"]) | arguments.contains("--check-config"),
        debug: arguments.contains(["-d", "--debug"]),
    })
}

fn path(text: &std::ffi::OsStr) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// An argument as pico-args knows it: Go's `-flag` becomes `--flag`, `=` becomes a space, a switch's
/// `=true` goes, and a switch that says `=false` goes altogether.
fn normal(argument: OsString) -> Vec<OsString> {
    let Some(text) = argument.to_str().filter(|text| text.starts_with('-')) else { return vec![argument] };
    let (name, value) = match text.trim_start_matches('-').split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text.trim_start_matches('-'), None),
    };
    let flag = OsString::from(if name.len() > 1 { format!("--{name}") } else { format!("-{name}") });
    match value {
        Some("false") if SWITCHES.contains(&name) => vec![],
        _ if SWITCHES.contains(&name) => vec![flag],
        Some(value) if VALUES.contains(&name) => vec![flag, value.into()],
        None if VALUES.contains(&name) => vec![flag],
        _ => vec![argument],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Flags, String> {
        match parse(line.split_whitespace().map(OsString::from))? {
            Command::Run(flags) => Ok(flags),
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
                     {dashes}dry-run {dashes}debug"
                );
                let expected = Flags {
                    listen: vec![":1".into(), "lo:2".into()],
                    web_config: Some("w.yaml".into()),
                    telemetry_path: "/m".into(),
                    config: Some("a.yaml".into()),
                    ipsec_config: Some("/etc/b".into()),
                    sudo: true,
                    dry_run: true,
                    debug: true,
                };
                assert_eq!(run(&line), Ok(expected), "{line}");
            }
        }
        for line in ["-c a.yaml", "-c=a.yaml", "--config-file a.yaml", "-config-file=a.yaml"] {
            assert_eq!(run(line).map(|flags| flags.config), Ok(Some("a.yaml".into())), "{line}");
        }
        let short = run("-n -d").expect("short flags");
        assert!(short.dry_run && short.debug && !short.sudo);
        assert!(run("--enable.sudo=true").expect("Go's spelling").sudo);
        assert!(!run("--enable.sudo=false").expect("Go's spelling").sudo);
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
            ("--help", Command::Help),
            ("-h -d", Command::Help),
            ("-help", Command::Help),
            ("-version", Command::Version),
        ] {
            assert_eq!(parse(line.split_whitespace().map(OsString::from)), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, complaint) in [
            ("--no-such-flag", "unknown argument --no-such-flag; --help lists all"),
            ("stray", "unknown argument stray; --help lists all"),
            ("--web.telemetry-path=metrics", "--web.telemetry-path: \"metrics\" does not begin with a slash"),
            ("--web.listen-address=:x", "--web.listen-address: \":x\": \"x\" is not a port"),
            ("--config.file", "the '--config.file' option doesn't have an associated value"),
        ] {
            assert_eq!(run(line), Err(complaint.to_owned()), "{line}");
        }
    }
}
