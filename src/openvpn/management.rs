//! OpenVPN's management interface: what it says and what it is asked, without the socket.
//!
//! The format is that of `manage.c` and of `doc/management-notes.txt` in OpenVPN's sources. Lines end in CR LF, but for the
//! prompt `ENTER PASSWORD:`, which has no end. A command is answered by `SUCCESS:` or `ERROR:`, or by lines up to `END`.
//! Between any two lines notifications may stand, which begin with `>`; one of them greets.
//!
//! Each command is sent when the one before has been answered: OpenVPN drops what it has not sent yet when it reads the next
//! one. Nothing else is ever sent but the password, to which OpenVPN compares the whole line as it is.

use std::fmt;
use std::sync::Arc;

use crate::text::Text;

/// Asks for the release.
pub const VERSION: &[u8] = b"version\n";

/// Asks for the latest change of state.
pub const STATE: &[u8] = b"state\n";

/// Asks for the last hundred changes of state, the oldest first.
pub const HISTORY: &[u8] = b"state all\n";

/// Asks for the status in version 3.
pub const STATUS: &[u8] = b"status 3\n";

/// Ends the session, so that the daemon listens again.
pub const QUIT: &[u8] = b"quit\n";

/// What asks for the password.
const PROMPT: &[u8] = b"ENTER PASSWORD:";

/// The longest line, in bytes: OpenVPN's own are at most 10,240 (`ERR_BUF_SIZE`).
const LINE_LIMIT: usize = 16 * 1024;

/// The longest password, in bytes: OpenVPN's command line has 1024 with the end.
const PASSWORD_LIMIT: usize = 1000;

/// The notifications by which a daemon says that it waits, and for what. Of the others that begin with `>PASSWORD:` one
/// has a secret.
const NEEDS: [(&str, &str); 8] = [
    (">HOLD:", "for its hold to be released"),
    (">PASSWORD:Need ", "for a password"),
    (">NEED-OK:", "for a confirmation"),
    (">NEED-STR:", "for a word"),
    (">NEED-CERTIFICATE:", "for a certificate"),
    (">PK_SIGN:", "for a signature"),
    (">REMOTE:", "for the address of its server"),
    (">PROXY:", "for a proxy"),
];

/// The password of a management interface. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// The first line of a password file; the error says what is wrong with the file.
    pub fn first_line(file: &[u8]) -> Result<Self, &'static str> {
        let line = Text::new(file).lines().next().unwrap_or_default();
        let line = line.before("\r").unwrap_or(line).bytes();
        match line.len() {
            0 => Err("its first line, which is the password, is empty"),
            length if length > PASSWORD_LIMIT => Err("its first line is longer than any password of OpenVPN"),
            _ => Ok(Self([line, b"\n"].concat().into())),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password")
    }
}

/// What a daemon answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status in version 3, or a client's statistics, with its `END`.
    pub status: Vec<u8>,
    /// The release, such as `2.6.14`; empty where it was not said.
    pub version: Vec<u8>,
    /// The latest state; absent where there was none yet.
    pub state: Option<State>,
}

/// What a daemon does since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The state's name: `CONNECTED`, `RECONNECTING`.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub since: i64,
}

impl State {
    /// Whether the daemon has completed its start, and a client is connected.
    pub fn is_connected(&self) -> bool {
        self.name == "CONNECTED"
    }

    /// Whether a handshake has begun. Without a server mode (`tls-server` with one peer) it may have begun beside a connection
    /// that stays, as anybody can send its first datagram; when a connection ends OpenVPN says RECONNECTING or EXITING.
    fn is_handshake(&self) -> bool {
        self.name == "WAIT" || self.name == "AUTH"
    }

    /// Reads `1795180820,CONNECTED,SUCCESS,10.8.0.1,,,,`.
    fn parse(line: Text<'_>) -> Option<Self> {
        let mut fields = line.fields(b',');
        let since = fields.next()?.signed()?;
        let name = fields.next()?.bytes();
        let is_name =
            (1..=32).contains(&name.len()) && name.iter().all(|letter| b'_' == *letter || letter.is_ascii_uppercase());
        is_name.then(|| Self { name: String::from_utf8_lossy(name).into_owned(), since })
    }
}

/// What is to be done after what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'p> {
    /// To read more.
    Read,
    /// To send this: a command or the password.
    Send(&'p [u8]),
    /// To say [`QUIT`]: all is here.
    End,
}

/// Why a daemon gives no status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It asks for a password, and there is none.
    PasswordWanted,
    /// The password is another one.
    PasswordRefused,
    /// It waits for somebody who uses its management interface; the words say for what.
    Waits(&'static str),
    /// It refuses, with its words.
    Refused(String),
    /// What answers is no management interface.
    Foreign,
    /// A line is longer than any of OpenVPN's, which have at most so many bytes.
    Endless(usize),
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    /// What becomes of the password.
    Password,
    Version,
    State,
    /// All states, where the latest is of a handshake.
    History,
    Status,
}

/// A session with a daemon.
#[derive(Debug)]
pub struct Inquiry<'p> {
    password: Option<&'p Password>,
    stage: Stage,
    /// A line whose end is still to come.
    rest: Vec<u8>,
    /// How many bytes have been read.
    count: usize,
    /// What the daemon waits for.
    need: Option<&'static str>,
    answer: Answer,
}

impl<'p> Inquiry<'p> {
    /// A session that begins with what the daemon says first.
    pub fn new(password: Option<&'p Password>) -> Self {
        let answer = Answer::default();
        Self { password, stage: Stage::Greeting, rest: Vec::new(), count: 0, need: None, answer }
    }

    /// How many bytes have been read.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// What was answered.
    pub fn into_answer(self) -> Answer {
        self.answer
    }

    /// Takes what came, in pieces of any size.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Next<'p>, Failure> {
        self.count = self.count.saturating_add(bytes.len());
        let mut text = Text::new(bytes);
        let mut next = Next::Read;
        while let Some((line, rest)) = text.cut(b'\n') {
            text = rest;
            let said = if self.rest.is_empty() {
                self.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line.bytes());
                self.line(Text::new(&whole))?
            };
            if said != Next::Read {
                next = said;
            }
            if next == Next::End {
                return Ok(next);
            }
        }
        self.rest.extend_from_slice(text.bytes());
        bound(Text::new(&self.rest))?;
        if self.rest == PROMPT {
            self.rest.clear();
            next = self.prompt()?;
        }
        Ok(next)
    }

    /// The daemon asks for the password, once.
    fn prompt(&mut self) -> Result<Next<'p>, Failure> {
        if self.stage != Stage::Greeting {
            return Err(Failure::PasswordRefused);
        }
        self.stage = Stage::Password;
        let password = self.password.ok_or(Failure::PasswordWanted)?;
        Ok(Next::Send(&password.0))
    }

    fn line(&mut self, line: Text<'_>) -> Result<Next<'p>, Failure> {
        bound(line)?;
        let line = line.before("\r").unwrap_or(line);
        if line.after(">").is_some() {
            return Ok(self.notification(line));
        }
        if line.is_empty() || line.after("SUCCESS:").is_some() {
            return Ok(Next::Read);
        }
        let refusal = line.after("ERROR:").map(Text::trim);
        match self.stage {
            Stage::Password if refusal.is_some() => Err(Failure::PasswordRefused),
            Stage::Greeting | Stage::Password => Err(Failure::Foreign),
            Stage::Version if refusal.is_some() || line == "END" => Ok(self.ask(Stage::State, STATE)),
            Stage::Version => {
                if let Some(version) = line.after("OpenVPN Version:").and_then(|title| title.words().nth(1)) {
                    self.answer.version = version.bytes().to_owned();
                }
                Ok(Next::Read)
            }
            Stage::State | Stage::History if refusal.is_some() || line == "END" => {
                let is_unclear =
                    self.stage == Stage::State && self.answer.state.as_ref().is_some_and(State::is_handshake);
                Ok(if is_unclear { self.ask(Stage::History, HISTORY) } else { self.ask(Stage::Status, STATUS) })
            }
            Stage::State | Stage::History => {
                let known = self.answer.state.take();
                let stays = known.as_ref().is_some_and(State::is_connected);
                let new = State::parse(line).filter(|state| !(stays && state.is_handshake()));
                self.answer.state = new.or(known);
                Ok(Next::Read)
            }
            Stage::Status => self.status(line, refusal),
        }
    }

    fn status(&mut self, line: Text<'_>, refusal: Option<Text<'_>>) -> Result<Next<'p>, Failure> {
        if let Some(why) = refusal {
            let failure = || Failure::Refused(String::from_utf8_lossy(why.bytes()).into_owned());
            return Err(self.need.map_or_else(failure, Failure::Waits));
        }
        self.answer.status.extend_from_slice(line.bytes());
        self.answer.status.push(b'\n');
        Ok(if line == "END" { Next::End } else { Next::Read })
    }

    /// Passes over what nobody asked for, but for the greeting and what the daemon waits for.
    fn notification(&mut self, line: Text<'_>) -> Next<'p> {
        let need = NEEDS.iter().find(|(start, _)| line.after(start).is_some()).map(|(_, need)| *need);
        self.need = need.or(self.need);
        let is_greeting = matches!(self.stage, Stage::Greeting | Stage::Password) && line.after(">INFO:").is_some();
        if is_greeting { self.ask(Stage::Version, VERSION) } else { Next::Read }
    }

    fn ask(&mut self, stage: Stage, command: &'static [u8]) -> Next<'p> {
        self.stage = stage;
        Next::Send(command)
    }
}

fn bound(line: Text<'_>) -> Result<(), Failure> {
    if line.bytes().len() > LINE_LIMIT { Err(Failure::Endless(LINE_LIMIT)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n";
    const RELEASE: &str =
        "OpenVPN Version: OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\r\nManagement Version: 5\r\nEND\r\n";
    const CONNECTED: &str = "1795180820,CONNECTED,SUCCESS,10.8.0.1,,,,\r\nEND\r\n";
    const SERVER: &str =
        "TITLE\tOpenVPN 2.6.14 x86_64-pc-linux-gnu\r\nTIME\t2026-11-20 13:20:25\t1795180825\r\nEND\r\n";
    const WHOLE: &str = "TITLE\tOpenVPN 2.6.14 x86_64-pc-linux-gnu\nTIME\t2026-11-20 13:20:25\t1795180825\nEND\n";

    /// What comes of a session: what was sent, and the answer.
    type Outcome = (Vec<String>, Result<Answer, Failure>);

    fn password() -> Password {
        Password::first_line(b"secret \"word\"\nanother\n").expect("a password")
    }

    /// A session with a daemon that says these words, each when it has been sent something, in pieces as `cut` makes them.
    fn session(password: Option<&Password>, words: &[&str], cut: &dyn Fn(&str) -> Vec<Vec<u8>>) -> Outcome {
        let (mut inquiry, mut sent) = (Inquiry::new(password), Vec::new());
        for said in words {
            for piece in cut(said) {
                match inquiry.read(&piece) {
                    Ok(Next::Read) => {}
                    Ok(Next::Send(message)) => sent.push(String::from_utf8(message.to_owned()).expect("UTF-8")),
                    Ok(Next::End) => return (sent, Ok(inquiry.into_answer())),
                    Err(failure) => return (sent, Err(failure)),
                }
            }
        }
        panic!("nothing comes any more: {sent:?}")
    }

    fn whole(said: &str) -> Vec<Vec<u8>> {
        vec![said.as_bytes().to_owned()]
    }

    fn plain(words: &[&str]) -> Outcome {
        session(None, words, &whole)
    }

    fn state(name: &str) -> Option<State> {
        Some(State { name: name.into(), since: 1_795_180_820 })
    }

    fn expected() -> Answer {
        Answer { status: WHOLE.into(), version: b"2.6.14".into(), state: state("CONNECTED") }
    }

    const COMMANDS: [&str; 3] = ["version\n", "state\n", "status 3\n"];

    #[test]
    fn a_daemon_is_asked_for_its_release_its_state_and_its_status() {
        let (sent, answer) = plain(&[GREETING, RELEASE, CONNECTED, SERVER]);
        assert_eq!(sent, COMMANDS);
        assert_eq!(answer, Ok(expected()));
    }

    #[test]
    fn the_password_is_the_whole_first_line_and_sent_once() {
        let correct = format!("SUCCESS: password is correct\r\n{GREETING}");
        let words = ["ENTER PASSWORD:", &correct, RELEASE, CONNECTED, SERVER];
        let (sent, answer) = session(Some(&password()), &words, &whole);
        assert_eq!(sent, ["secret \"word\"\n", "version\n", "state\n", "status 3\n"]);
        assert_eq!(answer, Ok(expected()));
        let wrong = ["ENTER PASSWORD:", "ERROR: bad password\r\nENTER PASSWORD:"];
        let (sent, answer) = session(Some(&password()), &wrong, &whole);
        assert_eq!((sent.len(), answer), (1, Err(Failure::PasswordRefused)));
        let (sent, answer) = session(Some(&password()), &["ENTER PASSWORD:", "ENTER PASSWORD:"], &whole);
        assert_eq!((sent.len(), answer), (1, Err(Failure::PasswordRefused)));
        assert_eq!(plain(&["ENTER PASSWORD:"]), (Vec::new(), Err(Failure::PasswordWanted)));
        // Where it is not asked for it is not sent.
        let (sent, _) = session(Some(&password()), &[GREETING, RELEASE, CONNECTED, SERVER], &whole);
        assert_eq!(sent, COMMANDS);
    }

    #[test]
    fn a_password_is_never_shown() {
        let inquiry = format!("{:?} {:?}", password(), Inquiry::new(Some(&password())));
        assert!(!inquiry.contains("secret") && !inquiry.contains("115"), "{inquiry}");
        for (file, line) in [("a\n", "a\n"), ("a\r\nb\n", "a\n"), ("a", "a\n"), (" a ", " a \n")] {
            assert_eq!(Password::first_line(file.as_bytes()), Ok(Password(line.as_bytes().into())), "{file:?}");
        }
        for file in ["", "\n", "\r\nb\n"] {
            assert!(Password::first_line(file.as_bytes()).is_err_and(|why| why.contains("empty")), "{file:?}");
        }
        assert!(Password::first_line(&[b'a'; 1000]).is_ok());
        assert!(Password::first_line(&[b'a'; 1001]).is_err_and(|why| why.contains("longer")));
    }

    #[test]
    fn an_answer_may_be_cut_at_every_byte() {
        let correct = format!("SUCCESS: password is correct\r\n{GREETING}");
        let words = ["ENTER PASSWORD:", &correct, RELEASE, CONNECTED, SERVER];
        let longest = words.iter().map(|said| said.len()).max().expect("words");
        for at in 0..longest {
            let cut = |said: &str| {
                let (first, second) = said.as_bytes().split_at(at.min(said.len()));
                vec![first.to_owned(), second.to_owned()]
            };
            let (sent, answer) = session(Some(&password()), &words, &cut);
            assert_eq!((sent.len(), answer), (4, Ok(expected())), "{at}");
        }
        let single = |said: &str| said.bytes().map(|byte| vec![byte]).collect();
        assert_eq!(session(Some(&password()), &words, &single).1, Ok(expected()));
    }

    #[test]
    fn an_answer_that_ends_early_is_none() {
        let mut inquiry = Inquiry::new(None);
        for said in [GREETING, RELEASE, CONNECTED] {
            assert!(inquiry.read(said.as_bytes()).is_ok());
        }
        for byte in SERVER[..SERVER.len() - 1].bytes() {
            assert_eq!(inquiry.read(&[byte]), Ok(Next::Read));
        }
        assert_eq!(inquiry.read(b"\n"), Ok(Next::End));
        assert_eq!(inquiry.count(), GREETING.len() + RELEASE.len() + CONNECTED.len() + SERVER.len());
    }

    #[test]
    fn notifications_are_passed_over_wherever_they_stand() {
        let notifications = [
            ">CLIENT:ESTABLISHED,3\r\n>CLIENT:ENV,common_name=a\r\n>CLIENT:ENV,END\r\n",
            ">BYTECOUNT_CLI:0,17,4\r\n",
            ">BYTECOUNT:17,4\r\n",
            ">HOLD:Waiting for hold release:10\r\n",
            ">PASSWORD:Auth-Token:foobar\r\n",
            ">INFO:something else\r\n",
            ">LOG:1795180820,D,END\r\n",
            ">STATE:1795180999,EXITING,exit-with-notification,,,,,\r\n",
            ">NOTIFY:info,remote-exit,EXIT\r\n",
            ">\r\n",
        ];
        for notification in notifications {
            let all: String = [RELEASE, CONNECTED, SERVER].concat();
            for position in 0..all.matches('\n').count() {
                let mut lines = 0;
                let insert = |said: &str| -> String {
                    let with = said.split_inclusive('\n').map(|line| {
                        lines += 1;
                        if lines == position + 1 { [notification, line].concat() } else { line.to_owned() }
                    });
                    with.collect()
                };
                let words = [RELEASE, CONNECTED, SERVER].map(insert);
                let (sent, answer) = plain(&[GREETING, &words[0], &words[1], &words[2]]);
                assert_eq!((sent.len(), answer), (3, Ok(expected())), "{notification} {position}");
            }
        }
    }

    #[test]
    fn a_daemon_that_waits_says_for_what() {
        let refusal = "ERROR: The 'status' command is not supported by the current daemon mode\r\n";
        for (notification, expected) in [
            (">HOLD:Waiting for hold release:0\r\n", Failure::Waits("for its hold to be released")),
            (">PASSWORD:Need 'Auth' username/password\r\n", Failure::Waits("for a password")),
            (">PASSWORD:Need 'Private Key' password\r\n", Failure::Waits("for a password")),
            (">NEED-OK:Need 'token' confirmation MSG:insert it\r\n", Failure::Waits("for a confirmation")),
            (">NEED-STR:Need 'name' input MSG:say it\r\n", Failure::Waits("for a word")),
            (">REMOTE:vpn.example.com,1194,udp\r\n", Failure::Waits("for the address of its server")),
            (">PROXY:1,TCP,vpn.example.com\r\n", Failure::Waits("for a proxy")),
            (">PK_SIGN:AAAA\r\n", Failure::Waits("for a signature")),
            (">NEED-CERTIFICATE:macosx-keychain\r\n", Failure::Waits("for a certificate")),
            (
                ">PASSWORD:Verification Failed: 'Auth'\r\n",
                Failure::Refused("The 'status' command is not supported by the current daemon mode".into()),
            ),
        ] {
            let greeting = [GREETING, notification].concat();
            let (sent, answer) = plain(&[&greeting, RELEASE, "1795180820,CONNECTING,,,,,,\r\nEND\r\n", refusal]);
            assert_eq!((sent.len(), answer), (3, Err(expected)), "{notification}");
        }
    }

    #[test]
    fn what_a_release_does_not_know_is_missing() {
        let (sent, answer) =
            plain(&[GREETING, "ERROR: unknown command, enter 'help' for more options\r\n", "END\r\n", SERVER]);
        assert_eq!(sent, COMMANDS);
        assert_eq!(answer, Ok(Answer { status: WHOLE.into(), ..Answer::default() }));
        let (_, answer) = plain(&[GREETING, RELEASE, "ERROR: x\r\n", "OpenVPN STATISTICS\r\nEND\r\n"]);
        assert_eq!(answer.map(|answer| answer.status), Ok(b"OpenVPN STATISTICS\nEND\n".to_vec()));
    }

    #[test]
    fn a_handshake_beside_a_connection_is_no_end_of_it() {
        for (history, expected) in [
            ("1,CONNECTING,\r\n2,WAIT,\r\n3,CONNECTED,\r\n4,AUTH,\r\n5,WAIT,\r\n", ("CONNECTED", 3)),
            ("3,CONNECTED,\r\n4,AUTH,\r\n5,WAIT,\r\n6,CONNECTED,\r\n7,WAIT,\r\n", ("CONNECTED", 6)),
            ("3,CONNECTED,\r\n4,RECONNECTING,\r\n5,WAIT,\r\n", ("WAIT", 5)),
            ("4,CONNECTING,\r\n5,WAIT,\r\n", ("WAIT", 5)),
            ("5,WAIT,\r\n", ("WAIT", 5)),
            ("", ("WAIT", 5)),
        ] {
            let history = format!("{history}END\r\n");
            let (sent, answer) = plain(&[GREETING, RELEASE, "5,WAIT,,,\r\nEND\r\n", &history, SERVER]);
            assert_eq!(sent, ["version\n", "state\n", "state all\n", "status 3\n"]);
            let state = answer.expect("an answer").state.expect("a state");
            assert_eq!((state.name.as_str(), state.since), expected, "{history}");
        }
        let (sent, answer) = plain(&[GREETING, RELEASE, "5,AUTH,,,\r\nEND\r\n", "ERROR: x\r\n", SERVER]);
        assert_eq!((sent.len(), answer.expect("an answer").state), (4, Some(State { name: "AUTH".into(), since: 5 })));
    }

    #[test]
    fn a_state_is_a_time_and_a_name() {
        for (line, expected) in [
            ("1795180820,CONNECTED,SUCCESS,10.8.0.1,,,,", state("CONNECTED")),
            ("1795180820,CONNECTED,SUCCESS,10.8.0.2,192.0.2.1,1194,,,fd00:8::2", state("CONNECTED")),
            ("1795180820,RECONNECTING,ping-restart,,,,,", state("RECONNECTING")),
            ("1795180820,TCP_CONNECT,,,", state("TCP_CONNECT")),
            ("1795180820,WAIT", state("WAIT")),
            ("1795180820,?,,,,,,", None),
            ("1795180820,,x", None),
            ("1795180820", None),
            ("x,WAIT", None),
            ("1795180820,Wait<b>", None),
            ("1795180820,ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", None),
        ] {
            assert_eq!(State::parse(Text::from(line)), expected, "{line}");
        }
        assert!(state("CONNECTED").is_some_and(|state| state.is_connected()));
        assert!(state("RECONNECTING").is_some_and(|state| !state.is_connected()));
    }

    #[test]
    fn what_is_no_management_interface_is_told_at_once() {
        for said in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n", "END\r\n", "ERROR: no\r\n"] {
            assert_eq!(plain(&[said]), (Vec::new(), Err(Failure::Foreign)), "{said}");
        }
        assert_eq!(session(Some(&password()), &["ENTER PASSWORD:", "what?\r\n"], &whole).1, Err(Failure::Foreign));
    }

    #[test]
    fn a_line_has_an_end() {
        let longest = format!(">{}\n", "a".repeat(LINE_LIMIT - 1));
        let mut inquiry = Inquiry::new(None);
        for _ in 0..100 {
            assert_eq!(inquiry.read(longest.as_bytes()), Ok(Next::Read));
        }
        assert!(inquiry.rest.is_empty() && inquiry.answer == Answer::default(), "nothing of it is kept");
        let longer = format!(">{}\n", "a".repeat(LINE_LIMIT));
        assert_eq!(Inquiry::new(None).read(longer.as_bytes()), Err(Failure::Endless(LINE_LIMIT)));
        let mut inquiry = Inquiry::new(None);
        assert_eq!(inquiry.read(&longest.as_bytes()[..LINE_LIMIT]), Ok(Next::Read));
        assert_eq!(inquiry.read(b"a"), Err(Failure::Endless(LINE_LIMIT)));
    }
}
