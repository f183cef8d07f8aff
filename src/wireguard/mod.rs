//! WireGuard, by what its interfaces say: the kernel's over netlink, those of user space (wireguard-go, boringtun) over
//! their sockets. No process is started, and no private or preshared key is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::device::Device;
use self::metrics::Reading;
use self::names::{Format, Names, Reader};
use self::sessions::Listing;
use self::settings::Settings;
use self::totals::PeerTotals;
use self::uapi::{Answer, Progress};
use crate::advice::Advice;
use crate::collector::{Collector, Report};
use crate::deadline::{Deadline, DeadlineMutex};
use crate::error::{Error, ErrorKind};
use crate::exposition::TableInfo;
use crate::netlink::{ByteOrder, Content, Data, Malformed, Message, messages};
use crate::settings::{Common, ConfigError, Input, UciWord, under};
use crate::source::{Needs, Source};
use crate::sys::environment::Environment;
use crate::sys::file::{self, Stamp};
use crate::sys::netlink::{Protocol, ask};
use crate::sys::socket::{self, Address};
use crate::sys::{blocking, clock};
use crate::text::Text;
use crate::watched::Watched;

mod advice;
pub mod device;
pub mod key;
pub mod metrics;
pub mod names;
pub mod netlink;
pub mod sessions;
pub mod settings;
pub mod totals;
pub mod uapi;

/// The most that is read of one interface: room for a hundred thousand peers, of which user space prints some 370 bytes each.
const LIMIT: usize = 64 * 1024 * 1024;

/// The largest file with names that is read.
const NAME_FILE_LIMIT: usize = 16 * 1024 * 1024;

/// What follows the name of an interface in the name of its socket.
const SOCKET: &str = ".sock";

/// How often a list is asked for that changes while it is read.
const TRIES: u32 = 8;

/// The most time that it takes to find out whether there is anything.
const DISCOVERY_TIME: Duration = Duration::from_secs(1);

/// Why an interface of the configuration is not there: the kernel does not speak of WireGuard at all.
pub const NO_MODULE: &str = "the kernel has no WireGuard";

/// The collector.
pub struct WireGuard {
    settings: Arc<Settings>,
    memory: Arc<DeadlineMutex<Memory>>,
}

/// What is remembered between scrapes.
#[derive(Debug, Default)]
struct Memory {
    totals: PeerTotals,
    names: Names,
    /// The files with names, as they were when they were read; absent where that is not known.
    name_files: Option<NameFiles>,
}

/// What is found by calls that may hang. It is one type, so that there is one instance of [`blocking::run`]: 0.5 KB less
/// on MIPS.
#[derive(Default)]
struct Found {
    interfaces: Vec<Interface>,
    name_files: NameFiles,
    names: Option<Names>,
}

/// A call that may hang.
type Call = Box<dyn FnOnce() -> Result<Found, Error> + Send>;

/// Files with names, each as it was; absent where it could not be read.
type NameFiles = Vec<(PathBuf, Option<Stamp>)>;

/// An interface, and where it is asked.
struct Interface {
    name: String,
    /// Its socket; absent where the kernel has it.
    socket: Option<String>,
    /// What tells its socket from others of the same path, before and after it.
    id: u64,
}

/// Takes an interface: its name, what tells it from others of its name, what it says unless it can't be read.
type Visit<'a> = dyn FnMut(&str, u64, Option<&Device>, &mut Report) + 'a;

impl WireGuard {
    /// A collector for these interfaces.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let totals = PeerTotals::new(settings.most_clients);
        let memory = Memory { totals, names: Names::new(), name_files: None };
        Self { settings, memory: Arc::new(DeadlineMutex::new(memory)) }
    }

    /// Reads every interface and notes how each answered. One that went away since it was listed is no error; one that
    /// can't be read has no device. There are probably so many `peers`.
    fn read(&self, peers: usize, deadline: Deadline, report: &mut Report, each: &mut Visit<'_>) {
        let interfaces = self.interfaces(deadline, report);
        let mut family = None;
        for Interface { name, socket, id } in &interfaces {
            let mut device = Device::expecting(peers);
            let (target, result) = match socket {
                None => (name, read_kernel(name, &mut device, &mut family, deadline)),
                Some(path) => (path, read_socket(path, &mut device, deadline)),
            };
            let (device, result) = match result {
                Ok(false) => continue,
                Ok(true) => (Some(&device), Ok(())),
                Err(error) => (None, Err(error)),
            };
            report.targets.push((target.clone(), result));
            let index = device.and_then(|device| device.index);
            each(name, index.map_or(*id, u64::from), device, report);
        }
        for name in self.settings.required() {
            if !is_among(name, &interfaces) {
                note(missing(name, deadline), report);
                each(name, 0, None, report);
            }
        }
    }

    /// The interfaces that are there and are watched. The kernel's one goes before another of the same name.
    fn interfaces(&self, deadline: Deadline, report: &mut Report) -> Vec<Interface> {
        let mut found: Vec<Interface> = Vec::new();
        let folder = self.settings.socket_folder.clone();
        let subject = folder.display().to_string();
        let call: Call = Box::new(move || Ok(Found { interfaces: user_space(&folder)?, ..Found::default() }));
        let in_user_space = || blocking::run(&subject, deadline, call).map(|found| found.interfaces);
        for listed in [in_kernel(deadline), in_user_space()] {
            match listed {
                Ok(interfaces) => {
                    for interface in interfaces {
                        if self.settings.watches(&interface.name) && !is_among(&interface.name, &found) {
                            found.push(interface);
                        }
                    }
                }
                Err(error) => note(error, report),
            }
        }
        found
    }
}

fn is_among(name: &str, interfaces: &[Interface]) -> bool {
    interfaces.iter().any(|interface| interface.name == name)
}

impl Source for WireGuard {
    type Settings = Settings;
    const NAME: &'static str = "wireguard";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const LOOKED_FOR: Option<&'static str> = Some(settings::LOOKED_FOR);
    const UCI: &'static [UciWord] = settings::UCI;

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
    }

    /// OpenWrt loads the module where its package is installed.
    fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
        let is_there = |root: &Path| under(root, settings::MODULE).exists();
        root.is_none_or(is_there).then(|| Settings::usual("/".as_ref(), common))
    }

    fn needs(settings: &Settings) -> Needs {
        settings.needs()
    }

    /// The kernel's own interfaces are not below any folder: they are looked for on this machine only.
    fn discover(root: &Path, common: &Common) -> Option<Settings> {
        let settings = Settings::usual(root, common);
        let deadline = Deadline::within(DISCOVERY_TIME);
        let has_socket = || file::names(&settings.socket_folder).iter().any(|file| file.ends_with(SOCKET));
        let has_link = || root == Path::new("/") && links(deadline).is_ok_and(|links| !links.is_empty());
        (has_socket() || has_link()).then_some(settings)
    }

    /// What is remembered stays, unless it may be more or less now.
    fn build(settings: Arc<Settings>, before: Option<&Self>) -> Self {
        match before.filter(|before| before.settings.most_clients == settings.most_clients) {
            Some(before) => Self { settings, memory: Arc::clone(&before.memory) },
            None => Self::new(settings),
        }
    }

    fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        advice::explain(target, error, environment)
    }
}

impl Collector for WireGuard {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        let interfaces = &self.settings.interfaces;
        if interfaces.is_empty() { vec!["all interfaces".into()] } else { interfaces.clone() }
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        // One scrape at a time: what an earlier one read must not be counted after a later one.
        let mut memory = match self.memory.take(deadline, self.name()) {
            Ok(memory) => memory,
            Err(error) => return note(error, report),
        };
        let now = clock::now();
        memory.read_names(&self.settings, deadline);
        let Memory { totals, names, .. } = &mut *memory;
        let peers = totals.peers();
        report.exposition.expect(peers);
        let mut pass = totals.pass(now);
        self.read(peers, deadline, report, &mut |interface, id, device, report| match device {
            Some(device) => {
                let configured = &self.settings.peers;
                let reading = Reading { interface, id, device, names, configured };
                metrics::expose(reading, &mut pass, now, &mut report.exposition);
            }
            None => pass.keep(interface),
        });
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        // One at a time here, too: many at once must not hold every peer in memory for each of them.
        let mut memory = match self.memory.take(deadline, self.name()) {
            Ok(memory) => memory,
            Err(error) => return note(error, report),
        };
        memory.read_names(&self.settings, deadline);
        let Memory { totals, names, .. } = &*memory;
        let Settings { gateway, peers, .. } = &*self.settings;
        let now = clock::now();
        let name = |key| peers.name(key).or_else(|| names.get(key));
        let date = |moment| clock::local(moment).map(|moment| moment.to_string());
        self.read(totals.peers(), deadline, report, &mut |interface, _, device, report| {
            if let Some(device) = device {
                sessions::list(device, &Listing { gateway, interface, now }, name, date, &mut report.sessions);
            }
        });
    }
}

impl Memory {
    /// Reads the files with names where any of them changed; they may be on a file system that hangs. Where they can't be
    /// read, the names stay as they are.
    fn read_names(&mut self, settings: &Arc<Settings>, deadline: Deadline) {
        let (settings, known) = (Arc::clone(settings), self.name_files.take());
        let call: Call = Box::new(move || {
            let mut found = Found { name_files: stamped(&settings.name_files, deadline)?, ..Found::default() };
            if known.as_ref() != Some(&found.name_files) {
                found.names = Some(read_name_files(&mut found.name_files, deadline));
            }
            Ok(found)
        });
        match blocking::run("files with names of peers", deadline, call) {
            Ok(Found { name_files, names, .. }) => {
                self.name_files = Some(name_files);
                if let Some(names) = names {
                    self.names = names;
                }
            }
            Err(error) => log(&error),
        }
    }
}

fn log(error: &Error) {
    log::debug!("wireguard: {error}");
}

/// The files that match, each as it is now.
fn stamped(patterns: &[String], deadline: Deadline) -> Result<NameFiles, Error> {
    let mut files = Vec::new();
    for pattern in patterns {
        for path in file::glob(Path::new(pattern), deadline)? {
            let stamp = file::stamp(&path);
            files.push((path, stamp));
        }
    }
    Ok(files)
}

/// The names in these files. One that can't be read names nobody, and loses its stamp, so that it is tried again.
fn read_name_files(files: &mut NameFiles, deadline: Deadline) -> Names {
    let mut all = Names::new();
    for (path, stamp) in files {
        match read_names(path, deadline) {
            Ok(names) => all.add_all(&names),
            Err(error) => {
                log(&error);
                *stamp = None;
            }
        }
    }
    all
}

fn read_names(path: &Path, deadline: Deadline) -> Result<Names, Error> {
    let is_quick = path.as_os_str().as_encoded_bytes().ends_with(b".conf");
    let mut reader = Reader::new(if is_quick { Format::Quick } else { Format::Uci });
    file::read_lines(path, NAME_FILE_LIMIT, deadline, |block| {
        Text::new(block).lines().for_each(|line| reader.read(line));
    })?;
    Ok(reader.end())
}

/// The interfaces whose sockets are in a folder; none where there is no such folder.
fn user_space(folder: &Path) -> Result<Vec<Interface>, Error> {
    let mut interfaces = Vec::new();
    for file in file::list(folder).or_else(|error| match error.kind {
        ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(error),
    })? {
        if let Some(name) = file.strip_suffix(SOCKET) {
            let path = folder.join(&file);
            let (socket, id) = (Some(path.display().to_string()), file::stamp(&path).map_or(0, id));
            interfaces.push(Interface { name: name.into(), socket, id });
        }
    }
    Ok(interfaces)
}

/// When a socket was made, mixed with its inode: times have the resolution of the kernel's clock.
fn id(socket: Stamp) -> u64 {
    let ((seconds, nanoseconds), (_, inode)) = (socket.modified(), socket.identity());
    (seconds << 30 | nanoseconds).cast_unsigned() ^ inode.rotate_left(32)
}

/// The kernel's interfaces of WireGuard.
fn in_kernel(deadline: Deadline) -> Result<Vec<Interface>, Error> {
    let mut interfaces = Vec::new();
    for name in links(deadline)? {
        interfaces.push(Interface { name, socket: None, id: 0 });
    }
    Ok(interfaces)
}

/// The names of the kernel's interfaces of WireGuard, sorted.
fn links(deadline: Deadline) -> Result<Vec<String>, Error> {
    let request = netlink::links_request(ByteOrder::NATIVE);
    let mut names = Vec::new();
    dump(Protocol::Route, "rtnetlink", &request, deadline, &mut |data| {
        match data {
            Some(data) => names.extend(netlink::link(data)?),
            None => names.clear(),
        }
        Ok(())
    })?;
    names.sort_unstable();
    Ok(names)
}

/// The number under which the kernel speaks of WireGuard; absent where it does not.
fn family(deadline: Deadline) -> Result<Option<u16>, Error> {
    let request = netlink::families_request(ByteOrder::NATIVE);
    let mut number = None;
    dump(Protocol::Generic, "generic netlink", &request, deadline, &mut |data| {
        if let Some(data) = data {
            number = netlink::family(data)?.or(number);
        }
        Ok(())
    })?;
    Ok(number)
}

/// Reads an interface of the kernel; says whether it is still there.
fn read_kernel(name: &str, device: &mut Device, known: &mut Option<u16>, deadline: Deadline) -> Result<bool, Error> {
    if known.is_none() {
        *known = family(deadline)?;
    }
    let number = known.ok_or_else(|| no_module(name))?;
    let request = netlink::device_request(number, name, ByteOrder::NATIVE);
    let read = dump(Protocol::Generic, name, &request, deadline, &mut |data| match data {
        Some(data) => netlink::read_device(data, device),
        None => {
            *device = Device::default();
            Ok(())
        }
    });
    match read {
        Err(error) if matches!(error.kind, ErrorKind::NotFound) => Ok(false),
        read => read.map(|()| true),
    }
}

/// Calls `each` with every entry of a list. Where the list changed meanwhile, some may be missing or come twice: then
/// `each` is called with nothing, and the list is asked for again.
fn dump(
    protocol: Protocol,
    target: &str,
    request: &[u8],
    deadline: Deadline,
    each: &mut dyn FnMut(Option<Data<'_>>) -> Result<(), Malformed>,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let mut is_interrupted = false;
        ask(protocol, target, request, LIMIT, deadline, &mut |datagram| {
            for message in messages(datagram, ByteOrder::NATIVE) {
                let read = message.and_then(|Message { is_interrupted: has_changed, content }| {
                    is_interrupted |= has_changed;
                    if let Content::Data(data) = content {
                        each(Some(data))?;
                    }
                    Ok(content)
                });
                match read {
                    Ok(Content::Data(_)) => {}
                    Ok(Content::End) => return Ok(false),
                    Ok(Content::Refused(number)) => return Err(refused(target, number)),
                    Err(Malformed { expected, offset }) => {
                        return Err(Error::new(target, ErrorKind::Malformed { expected, offset }));
                    }
                }
            }
            Ok(true)
        })?;
        if !is_interrupted {
            return Ok(());
        }
        // It forgets what it has; that can't be malformed.
        let _ = each(None);
    }
    Err(Error::new(target, ErrorKind::Io { why: "changed faster than it can be read".into() }))
}

/// What the kernel's error number means. An interface that is gone, or whose name is another kind's now, is not found.
fn refused(target: &str, number: i32) -> Error {
    // ENODEV, EOPNOTSUPP; MIPS has another number for the second.
    const GONE: [i32; 2] = [19, if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 122 } else { 95 }];
    if GONE.contains(&number) {
        return Error::new(target, ErrorKind::NotFound);
    }
    Error::io(target, &io::Error::from_raw_os_error(number))
}

/// Reads an interface in user space, which is there. One that hangs takes half of the time that is left, so that others
/// are read, too.
fn read_socket(path: &str, device: &mut Device, deadline: Deadline) -> Result<bool, Error> {
    let deadline = Deadline::within(deadline.left(path)? / 2);
    let mut channel = socket::open(&Address::Unix(path.into()), deadline)?;
    channel.send(uapi::REQUEST)?;
    let mut answer = Answer::new(device, clock::now());
    channel.read_lines(LIMIT, &mut |lines| {
        let kind = match answer.read(Text::new(lines)) {
            Ok(Progress::More) => return Ok(true),
            Ok(Progress::Whole) => return Ok(false),
            Ok(Progress::Refused(number)) => ErrorKind::Refused { why: format!("error {number}") },
            Err(expected) => ErrorKind::Malformed { expected, offset: answer.offset },
        };
        Err(Error::new(path, kind))
    })?;
    Ok(true)
}

/// Notes what could not be read, by the name in the error.
fn note(error: Error, report: &mut Report) {
    report.targets.push((error.subject.clone(), Err(error)));
}

/// Why an interface that should be there is not.
fn missing(name: &str, deadline: Deadline) -> Error {
    match family(deadline) {
        Ok(None) => no_module(name),
        _ => Error::new(name, ErrorKind::NotFound),
    }
}

fn no_module(name: &str) -> Error {
    Error::new(name, ErrorKind::Refused { why: NO_MODULE.into() })
}
