//! The names of copies that log rotation, editors, packers and package managers make of a status file.
//!
//! A copy's text may still be the server's: OpenVPN keeps its file open, so after a rotation that renames the file
//! (logrotate without `copytruncate`, `mv`, an editor that renames the old version) it goes on writing to the copy.
//! The names that are known, one behind another too (`.1.gz`, `.log-20261127~`):
//!
//! | who | names | may be written by OpenVPN |
//! |---|---|---|
//! | logrotate | `.1` to `.99`; `.100` to `.999` beside NAME | yes |
//! | logrotate `dateext`, newsyslog | `-20261127`, `.2026-11-27`, `_20261127-031500`, `-20261127-1795744800`; other runs of six digits or more beside NAME | yes |
//! | logrotate `extension` | `NAME.1.log`, `NAME-20261127.log` beside `NAME.log` (also `.status`, `.txt`) | yes |
//! | persons, before it and beside NAME | `Copy of NAME`, `old-NAME`, `bak.NAME`, `backup_NAME`; behind it ` (1)`, ` copy 2` | yes |
//! | persons, cp, nano | `.sav`, `.previous`, `.yesterday`, `.disabled`, `~`, `.~1~`, `.bak`, `.backup`, `.old`, `.orig`, `.save`, `.prev`, `.copy`, `-old`, `-bak`, with a number behind | yes |
//! | rpm, dpkg, ucf, pacman, opkg | `.rpmsave`, `.rpmorig`, `.dpkg-old`, `.dpkg-bak`, `.ucf-old`, `.pacsave`, `.pacorig`, `-opkg.old` | yes |
//! | the same | `.rpmnew`, `.dpkg-new`, `.dpkg-dist`, `.dpkg-tmp`, `.ucf-new`, `.ucf-dist`, `.pacnew`, `-opkg` | no |
//! | vim, emacs, kate, patch | `.NAME.swp` (`.swo`, `.swn`, `.swx`), `.un~`, `#NAME#`, `.#NAME`, `.kate-swp`, `.rej` | no |
//! | transfers | `.tmp`, `.part`, `.lock` | no |
//! | packers | `.gz`, `.bz2`, `.xz`, `.zst`, `.lz4`, `.lzma`, `.lzo`, `.lz`, `.br`, `.Z`, `.zip`, `.7z`, `.tar`, `.tgz`, `.gpg` | no |
//!
//! A number of four or five digits is no copy's: `status.1194` and `status-1194` are named after a port.

/// A name that is a copy's, and the name of its original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOf {
    /// The name of the file that was copied.
    pub original: String,
    /// Whether OpenVPN may still be writing to it, under the name that it has now.
    pub may_be_written: bool,
}

/// Endings of files that OpenVPN does not write to, in small letters.
const FOREIGN: [&str; 34] = [
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
    ".lz4",
    ".lzma",
    ".lzo",
    ".lz",
    ".br",
    ".z",
    ".zip",
    ".7z",
    ".tar",
    ".tgz",
    ".gpg",
    ".swp",
    ".swo",
    ".swn",
    ".swx",
    ".un~",
    ".kate-swp",
    ".rej",
    ".tmp",
    ".part",
    ".lock",
    ".rpmnew",
    ".dpkg-new",
    ".dpkg-dist",
    ".dpkg-tmp",
    ".ucf-new",
    ".ucf-dist",
    ".pacnew",
    "-opkg",
    ".crdownload",
];

/// Endings of files that were the status file when OpenVPN opened it, or copies of it, in small letters.
const FORMER: [&str; 26] = [
    "~",
    ".sav",
    ".previous",
    ".yesterday",
    ".disabled",
    " copy",
    ".bak",
    ".backup",
    ".old",
    ".orig",
    ".save",
    ".prev",
    ".copy",
    "-old",
    "-bak",
    "_old",
    "_bak",
    " (copy)",
    " - copy",
    ".rpmsave",
    ".rpmorig",
    ".dpkg-old",
    ".dpkg-bak",
    ".ucf-old",
    ".pacsave",
    ".pacorig",
];

/// What persons put before the name of a copy, in small letters; only beside the file that it is a copy of.
const BEFORE: [&str; 10] =
    ["copy of ", "backup-", "backup_", "backup.", "old-", "old_", "old.", "bak-", "bak_", "bak."];

/// Endings that log rotation may leave behind the number or date.
const EXTENSIONS: [&str; 3] = [".log", ".status", ".txt"];

/// The original of which a file is a copy by its name; absent if the name is an original's. `exists` says whether a
/// file of a name exists in the same folder: some names are those of copies only if the original exists.
pub fn copy_of(name: &str, exists: impl Fn(&str) -> bool) -> Option<CopyOf> {
    let (mut original, mut may_be_written) = (name, true);
    while let Some((shorter, is_former)) = shortened(original, &exists) {
        original = shorter;
        may_be_written &= is_former;
    }
    if original != name {
        return Some(CopyOf { original: original.to_owned(), may_be_written });
    }
    let (stem, extension) =
        EXTENSIONS.into_iter().find_map(|extension| Some((name.strip_suffix(extension)?, extension)))?;
    // The shortest that exists: a copy's copy is one of the original, too.
    let (mut stem, mut may_be_written, mut found) = (stem, true, None);
    while let Some((shorter, is_former)) = shortened(stem, &|_| true) {
        stem = shorter;
        may_be_written &= is_former;
        let original = format!("{shorter}{extension}");
        if exists(&original) {
            found = Some(CopyOf { original, may_be_written });
        }
    }
    found
}

/// A name without its last ending of a copy, and whether OpenVPN may write to a file of that ending.
fn shortened<'n>(name: &'n str, exists: &impl Fn(&str) -> bool) -> Option<(&'n str, bool)> {
    let is_a_name = |rest: &&str| !rest.is_empty();
    if let Some(rest) = name.strip_prefix('#').and_then(|rest| rest.strip_suffix('#')).filter(is_a_name) {
        return Some((rest, false));
    }
    if let Some(rest) = name.strip_prefix(".#").filter(is_a_name) {
        return Some((rest, false));
    }
    let lower = name.to_ascii_lowercase();
    let without = |endings: &[&str]| {
        let ending = endings.iter().filter(|ending| lower.ends_with(**ending)).max_by_key(|ending| ending.len())?;
        name.get(..name.len().checked_sub(ending.len())?).filter(is_a_name)
    };
    if let Some(rest) = without(&FOREIGN) {
        // vim hides its own files.
        return Some((rest.strip_prefix('.').filter(is_a_name).unwrap_or(rest), false));
    }
    let before = || {
        let word = BEFORE.into_iter().find(|word| lower.starts_with(word))?;
        name.get(word.len()..).filter(|rest| exists(rest))
    };
    let former = without(&FORMER).or_else(|| dated(name, exists)).or_else(|| numbered(name, exists)).or_else(before);
    former.filter(is_a_name).map(|rest| (rest, true))
}

/// A name without the number of a rotation (`.1`), of a backup (`.bak2`; `.~2~` without its last letter) or, beside the
/// file that it is a copy of, of a copy (` (1)`, ` copy 2`).
fn numbered<'n>(name: &'n str, exists: &impl Fn(&str) -> bool) -> Option<&'n str> {
    if let Some(rest) = name.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')).and_then(|(rest, number)| {
        let rest = rest.strip_suffix(' ')?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && exists(rest)).then_some(rest)
    }) {
        return Some(rest);
    }
    let rest = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = name.len().checked_sub(rest.len()).filter(|digits| *digits > 0)?;
    if let Some(rest) = rest.strip_suffix(".~") {
        return Some(rest);
    }
    let word = rest.strip_suffix(['-', '_', ' ']).unwrap_or(rest);
    if [".bak", ".old", ".save", ".orig", "_bak", "_old", "-bak", "-old", " copy"].iter().any(|end| word.ends_with(end))
    {
        return Some(word);
    }
    let original = rest.strip_suffix('.')?;
    // An address: `status-10.8.0.1`.
    let has_number = original.rsplit_once('.').is_some_and(|(_, part)| part.parse::<u32>().is_ok());
    let is_sure = digits < 3 && !has_number;
    (is_sure || (digits <= 3 && exists(original))).then_some(original)
}

/// A name without the date of a rotation.
fn dated<'n>(name: &'n str, exists: &impl Fn(&str) -> bool) -> Option<&'n str> {
    let starts = name.char_indices().filter(|(_, letter)| matches!(letter, '-' | '.' | '_'));
    starts.filter_map(|(at, _)| name.split_at_checked(at)).find_map(|(original, tail)| {
        let tail = tail.get(1..)?;
        let is_long = tail.len() > 5 && tail.bytes().all(|byte| byte.is_ascii_digit());
        (is_dated(tail) || (is_long && exists(original))).then_some(original)
    })
}

/// Whether a text is a date (`20261127`, `2026-11-27`, `27-11-2026`), with a time or a number behind it or without.
fn is_dated(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_digit() || "-_.:TZ".contains(letter);
    let digits: String = text.chars().filter(char::is_ascii_digit).take(25).collect();
    let number = |from, to| digits.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let is_date = |year: Option<u32>, month: Option<u32>, day: Option<u32>| {
        year.is_some_and(|year| (1990..2100).contains(&year))
            && month.is_some_and(|month| (1..13).contains(&month))
            && day.is_some_and(|day| (1..32).contains(&day))
    };
    let year_first = text.get(..4) == digits.get(..4) && is_date(number(0, 4), number(4, 6), number(6, 8));
    let day_first = text.get(..2) == digits.get(..2) && is_date(number(4, 8), number(2, 4), number(0, 2));
    digits.len() < 25 && text.chars().all(is_part) && (year_first || day_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "openvpn-status.log";

    /// What a name is a copy of where the file NAME is there.
    fn beside_the_original(name: &str) -> Option<(String, bool)> {
        copy_of(name, |other| other == NAME).map(|copy| (copy.original, copy.may_be_written))
    }

    #[test]
    fn copies_are_known_by_their_names() {
        for (ending, may_be_written) in [
            (".1", true),
            (".42", true),
            (".365", true),
            (".2.gz", false),
            (".3.xz", false),
            (".gz", false),
            (".1.zst", false),
            (".1.bz2", false),
            (".1.GZ", false),
            (".Z", false),
            ("~", true),
            (".~12~", true),
            (".bak", true),
            (".BAK", true),
            (".bak2", true),
            (".bak.1", true),
            (".old", true),
            ("-old", true),
            (".orig", true),
            (".save", true),
            (".save.1", true),
            (".swp", false),
            (".swx", false),
            (".kate-swp", false),
            ("-20261127", true),
            (".20261127", true),
            ("_2026-11-27", true),
            ("-20261127.gz", false),
            ("-20261127-1795744800", true),
            ("-2026-11-27T03:15:00", true),
            ("-2026-11-27_03.15.00", true),
            ("-1795744800", true),
            ("-202611", true),
            (".rpmsave", true),
            (".rpmnew", false),
            (".dpkg-old", true),
            (".dpkg-dist", false),
            (".ucf-old", true),
            (".pacsave", true),
            (".tmp", false),
            (".1.old~", true),
            (".sav", true),
            (".previous", true),
            (".2026.11.27", true),
            (".27-11-2026", true),
            (".bak-1", true),
            ("_old2", true),
            ("-19900101", true),
            ("-20991231", true),
        ] {
            let name = format!("{NAME}{ending}");
            assert_eq!(beside_the_original(&name), Some((NAME.into(), may_be_written)), "{name}");
        }
        for (name, may_be_written) in [
            ("openvpn-status.1.log", true),
            ("openvpn-status.tmp.log", false),
            ("openvpn-status.1.tmp.log", false),
            ("openvpn-status-20261127.log", true),
            ("openvpn-status-old.log", true),
            ("openvpn-status (copy).log", true),
            ("openvpn-status (1).log", true),
            ("openvpn-status - Copy (2).log", true),
            ("openvpn-status copy 2.log", true),
            ("openvpn-status.bak.20261127.log", true),
            ("Copy of openvpn-status.log", true),
            ("old-openvpn-status.log", true),
            ("bak.openvpn-status.log", true),
            ("backup-openvpn-status.log", true),
            (".openvpn-status.log.swp", false),
            ("#openvpn-status.log#", false),
            (".#openvpn-status.log", false),
        ] {
            assert_eq!(beside_the_original(name), Some((NAME.into(), may_be_written)), "{name}");
        }
    }

    #[test]
    fn originals_are_known_by_their_names() {
        for name in [
            NAME,
            "openvpn.office.status",
            "openvpn-status.1194",
            "openvpn-status-1194.log",
            "status-2.log",
            "server1.status",
            "server2",
            "site-443",
            "status.443",
            "openvpn.1.status",
            "status-20269999",
            "old",
            "bak",
            "~",
            ".bak",
            "1",
            "20261127",
            "",
            "threshold",
            "tcp-1795744800",
            "backup-site.status",
            "old-office.log",
            "status (2)",
            "10.20.2030",
            "site-10.8.0.1",
            "status-19891231",
            "status-21000101",
            "status.100",
        ] {
            assert_eq!(copy_of(name, |_| false), None, "{name}");
        }
        for ending in [".1194", "-1194", "-12345", ".12345"] {
            assert_eq!(beside_the_original(&format!("{NAME}{ending}")), None, "{ending}");
        }
    }
}
