//! The man page, in the language of man(7). Its options are the table that `--help` is made of.

use std::fmt::Write as _;

use gateway_exporter::cli::{self, COMMANDS, FLAGS, Flag};
use gateway_exporter::exposition;
use gateway_exporter::self_metrics;
use gateway_exporter::sources;

const ABOUT: &str = "\
.SH DESCRIPTION
It answers HTTP requests of Prometheus with what strongSwan (over VICI), the
.B ipsec
command, OpenVPN's status files and the kernel's tables of sockets say.
Each scrape reads the sources again; between scrapes it receives charon's events
and reads charon's counters before a rekey.
A source that can't be read affects only itself and has
.B gateway_exporter_target_up
0.
.PP
Where no source is configured it watches what it finds on this machine:
";

const CONFIGURATION: &str = "\
.SH CONFIGURATION
YAML.
Every key is optional; an error names the key and its line.
.B gateway\\-exporter check\\-config
checks a file and says what would be watched.
.TP
.BR vici_socket ,\\  vici\\-socket
strongSwan: the path of charon's socket, or tcp://host:port.
.TP
.BR ipsec_config ,\\  ipsec_command
The ipsec.conf whose tunnels are watched, and the command that prints their state.
.TP
.BR openvpn ,\\  ovpntcpstatus ,\\  ovpn_tcp_status ,\\  ovpnudpstatus ,\\  ovpn_udp_status
.TQ
.BR ovpn_status ,\\  ovpnstatus
OpenVPN's servers: status files, patterns of them, or management interfaces.
.TP
.BR wireguard
The interfaces that are watched, and what is known of single peers.
.TP
.BR sockets
Rules for sockets that should exist.
.TP
.BR web
Where to listen and who may ask: addresses, networks, host names, users, TLS.
.TP
.BR server_name
The gateway's name; by default that of the machine.
.TP
.BR metrics ,\\  max_series
Which metrics are left out, and how many series one source may have.
.TP
.BR identities ,\\  identities_key_file
Whether names of clients are shown, hashed or left out.
.PP
docs/configuration.md explains each key.
";

const REST: &str = "\
.SH FILES
.TP
.IR exporter.yaml ,\\  config/config.yml ,\\  /etc/gateway-exporter.yaml
The configuration: the first of these files that exists, unless
.B \\-\\-config.file
names one.
In the current folder a file is read only if it and its folders belong to root
or to this user, nobody else may write them, and no symbolic link is on the way.
.TP
.I /etc/default/gateway\\-exporter
Flags for the service, in the variable GATEWAY_EXPORTER_FLAGS (Debian's package).
.SH SIGNALS
.TP
.B SIGHUP
Read the configuration again.
One that is wrong, or that removes a password, allowed networks or TLS without
saying that this is meant, is refused, and the old one stays in force.
.B POST /\\-/reload
does the same and says whether it was taken.
.TP
.BR SIGTERM ,\\  SIGINT
End within a second.
.SH EXIT STATUS
.TP
.B 0
All is well.
.TP
.B 1
Something is down: a source or what is watched through it, with
.BR status ,
a source, with
.BR doctor ,
.B once
and
.BR \\-\\-dry\\-run ;
an address that can't be listened on; a file that can't be written.
.TP
.B 2
The configuration or the command line is wrong.
.SH EXAMPLES
Check every source as the service's user, with the capability of the systemd
unit:
.PP
.RS
.EX
setpriv \\-\\-reuid gateway\\-exporter \\-\\-regid gateway\\-exporter \\-\\-init\\-groups \\e
    \\-\\-inh\\-caps=+dac_override \\-\\-ambient\\-caps=+dac_override \\e
    gateway\\-exporter \\-\\-doctor
.EE
.RE
.PP
One scrape for node_exporter's textfile collector, from a timer:
.PP
.RS
.EX
gateway\\-exporter \\-\\-once \\-\\-output=/var/lib/node_exporter/vpn.prom
.EE
.RE
.PP
Listen on the LAN only:
.PP
.RS
.EX
gateway\\-exporter \\-\\-web.listen\\-address=br\\-lan:9234
.EE
.RE
.SH SEE ALSO
.BR swanctl (8),
.BR ipsec (8),
.BR openvpn (8),
.BR prometheus (1)
";

/// The whole page.
pub(crate) fn print() -> String {
    let mut page = format!(
        ".TH GATEWAY\\-EXPORTER 8 \"\" \"gateway\\-exporter {}\" \"System Administration\"\n.nh\n.ad l\n\
         .SH NAME\ngateway\\-exporter \\- tells Prometheus how a VPN gateway is doing\n\
         .SH SYNOPSIS\n.B gateway\\-exporter\n.RI [ command ]\n.RI [ flags ]\n{ABOUT}",
        self_metrics::VERSION
    );
    for (source, places) in sources::looked_for() {
        let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(source), escaped(places));
    }
    page.push_str(".SH COMMANDS\nA command stands before all flags. Without one, gateway\\-exporter serves.\n");
    for (command, flag) in COMMANDS {
        let help = FLAGS.iter().find(|known| known.name == flag).map(|flag| flag.help).unwrap_or_default();
        let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(command), sentence(help));
    }
    page.push_str(".SH OPTIONS\nOne dash or two, and a value behind \"=\" or a space.\n");
    for flag in &FLAGS {
        option(flag, &mut page);
    }
    page.push_str(CONFIGURATION);
    page.push_str(".SH METRICS\n");
    let sources = sources::ALL.iter().map(|source| (source.name, source.tables));
    for (source, tables) in sources.chain([("the exporter itself", self_metrics::TABLES)]) {
        let _ = writeln!(page, ".SS {}", escaped(source));
        let mut families: Vec<_> = tables.iter().flat_map(|table| exposition::list(*table)).collect();
        families.sort_by_key(|family| family.name);
        for family in families {
            let labels = match family.labels.join(", ") {
                labels if labels.is_empty() => String::new(),
                labels => format!(" {{{}}}", escaped(&labels)),
            };
            let kind = family.kind.word();
            let _ = write!(page, ".TP\n\\fB{}\\fR{labels} ({kind})\n", escaped(family.name));
            let _ = writeln!(page, "{}", escaped(family.help));
        }
    }
    page + REST
}

fn option(Flag { name, other, value, help, .. }: &Flag, page: &mut String) {
    let letter = other.map(|letter| format!("\\fB\\-{letter}\\fR, ")).unwrap_or_default();
    let value = match value.strip_suffix(']') {
        Some(value) => format!("{}\\fR]", cli::shown_value(value).replace('=', "=\\fI")),
        None => cli::shown_value(value).replace('=', "=\\fI") + "\\fR",
    };
    let _ = write!(page, ".TP\n{letter}\\fB\\-\\-{}\\fR{value}\n{}\n", escaped(name), sentence(help));
}

/// The words of the help, which have neither a capital nor a full stop.
fn sentence(help: &str) -> String {
    let mut letters = help.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    escaped(&format!("{first}{}.", letters.as_str()))
}

/// Text as it is: no dash becomes a hyphen, and no line a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
