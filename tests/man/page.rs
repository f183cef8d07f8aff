//! The man page, in the language of man(7). Its options are the table that `--help` is made of.

use std::fmt::Write as _;

use gateway_exporter::cli::{self, FLAGS, Flag};
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

const REST: &str = "\
.SH FILES
.TP
.IR exporter.yaml ,\\  config/config.yml ,\\  /etc/gateway-exporter.yaml
The configuration: the first of these files that exists, unless
.B \\-\\-config.file
names one.
In the current folder a file is read only if it and its folders belong to root
or to this user, nobody else may write them, and no symbolic link is on the way.
The keys are in docs/configuration.md.
.SH SIGNALS
.TP
.B SIGHUP
Read the configuration again.
One that is wrong, or that removes a password, allowed networks or TLS without
saying that this is meant, is refused, and the old one stays in force.
.TP
.BR SIGTERM ,\\  SIGINT
End within a second.
.SH EXIT STATUS
.TP
.B 0
All is well.
.TP
.B 1
Something is down: a source, with
.BR \\-\\-doctor ,
.B \\-\\-once
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
         .SH SYNOPSIS\n.B gateway\\-exporter\n.RI [ flags ]\n{ABOUT}",
        self_metrics::VERSION
    );
    for (source, places) in sources::looked_for() {
        let _ = write!(page, ".TP\n.B {}\n{}\n", escaped(source), escaped(places));
    }
    page.push_str(".SH OPTIONS\nOne dash or two, and a value behind \"=\" or a space.\n");
    for flag in &FLAGS {
        option(flag, &mut page);
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
