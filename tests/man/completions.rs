//! The completions of bash, zsh and fish. Their words are the tables that `--help` is made of.

use std::fmt::Write as _;

use gateway_exporter::cli::{self, COLLECTOR, COMMANDS, FLAGS};
use gateway_exporter::sources;

/// The files, as they are named in contrib/completions, and what is in them.
pub(crate) fn files() -> [(&'static str, String); 3] {
    [("gateway-exporter.bash", bash()), ("_gateway-exporter", zsh()), ("gateway-exporter.fish", fish())]
}

const HEAD: &str = "made from the table of flags by `BLESS=1 cargo test --test it completions`";

/// A flag, as a shell offers it.
struct Offer {
    name: String,
    letter: Option<&'static str>,
    help: String,
    value: Value,
}

enum Value {
    None,
    /// With `=` only, or none.
    Optional(&'static str),
    File,
    Words(String),
    /// Of the user's own.
    Own(&'static str),
}

fn offers() -> Vec<Offer> {
    let mut offers = Vec::new();
    for flag in &FLAGS {
        if flag.name == COLLECTOR {
            for source in sources::ALL.iter().map(|source| source.name) {
                for (prefix, help) in [("", "watch"), ("no-", "don't watch")] {
                    let (name, help) = (format!("{prefix}collector.{source}"), format!("{help} {source}"));
                    offers.push(Offer { name, letter: None, help, value: Value::None });
                }
            }
            continue;
        }
        let words = cli::words(flag.name);
        let value = match flag.value {
            "" => Value::None,
            "FILE" => Value::File,
            value if value.starts_with('[') => Value::Optional(value.trim_matches(['[', ']'])),
            _ if !words.is_empty() => Value::Words(words.join(" ")),
            value => Value::Own(value),
        };
        offers.push(Offer { name: flag.name.into(), letter: flag.other, help: flag.help.into(), value });
    }
    offers
}

/// The commands with their help.
fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    let help = |flag: &str| FLAGS.iter().find(|known| known.name == flag).unwrap().help;
    COMMANDS.into_iter().map(move |(command, flag)| (command, help(flag)))
}

/// Text in single quotes, which `escaped` stands for within.
fn quoted(text: &str, escaped: &str) -> String {
    format!("'{}'", text.replace('\'', escaped))
}

fn bash() -> String {
    let mut cases = String::new();
    let offers = offers();
    for Offer { name, letter, value, .. } in &offers {
        let action = match value {
            Value::None | Value::Optional(_) => continue,
            Value::File => "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$word\")".into(),
            Value::Words(words) => format!("mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\")"),
            Value::Own(_) => ":".into(),
        };
        let letter = letter.map(|letter| format!(" | -{letter}")).unwrap_or_default();
        let _ = writeln!(cases, "        --{name}{letter}) {action}; return ;;");
    }
    let flags: Vec<String> = offers.iter().map(|offer| format!("--{}", offer.name)).collect();
    let commands: Vec<&str> = commands().map(|(command, _)| command).collect();
    format!(
        "# Completions of gateway-exporter for bash, {HEAD}.
_gateway_exporter() {{
    local word=\"${{COMP_WORDS[COMP_CWORD]}}\" flag=\"${{COMP_WORDS[COMP_CWORD - 1]}}\" words='{}'
    # For bash, = between a flag and its value is a word of its own.
    if [[ $word == = ]]; then
        word=''
    elif [[ $flag == = ]]; then
        flag=\"${{COMP_WORDS[COMP_CWORD - 2]}}\"
    fi
    COMPREPLY=()
    case $flag in
{cases}    esac
    [[ $COMP_CWORD -gt 1 ]] || words+=' {}'
    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")
}}
complete -F _gateway_exporter gateway-exporter
",
        flags.join(" "),
        commands.join(" ")
    )
}

fn zsh() -> String {
    let mut text =
        format!("#compdef gateway-exporter\n# Completions of gateway-exporter for zsh, {HEAD}.\n_arguments \\\n");
    for Offer { name, letter, help, value } in offers() {
        let (sign, value) = match &value {
            Value::None => ("", String::new()),
            Value::Optional(value) => ("=-", format!("::{value}:")),
            Value::File => ("=", ":FILE:_files".into()),
            Value::Words(words) => ("=", format!(":word:({words})")),
            Value::Own(value) => ("=", format!(":{value}:")),
        };
        let help = help.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
        // Those that may be repeated.
        let star = if name == "web.listen-address" { "*" } else { "" };
        let _ = writeln!(text, "    {} \\", quoted(&format!("{star}--{name}{sign}[{help}]{value}"), "'\\''"));
        if let Some(letter) = letter {
            let sign = if sign.is_empty() { "" } else { "+" };
            let _ = writeln!(text, "    {} \\", quoted(&format!("-{letter}{sign}[{help}]{value}"), "'\\''"));
        }
    }
    let commands: Vec<String> = commands().map(|(command, help)| format!("{command}\\:\"{help}\"")).collect();
    let _ = writeln!(text, "    '1::command:(({}))'", commands.join(" "));
    text
}

fn fish() -> String {
    let mut text = format!("# Completions of gateway-exporter for fish, {HEAD}.\ncomplete -c gateway-exporter -f\n");
    for (command, help) in commands() {
        let help = quoted(help, "\\'");
        let _ = writeln!(text, "complete -c gateway-exporter -n __fish_use_subcommand -a {command} -d {help}");
    }
    for Offer { name, letter, help, value } in offers() {
        let letter = letter.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let value = match value {
            Value::None | Value::Optional(_) => String::new(),
            Value::File => " -r -F".into(),
            Value::Words(words) => format!(" -x -a '{words}'"),
            Value::Own(_) => " -x".into(),
        };
        let _ = writeln!(text, "complete -c gateway-exporter -l {name}{letter}{value} -d {}", quoted(&help, "\\'"));
    }
    text
}
