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
use crate::collector::{Collector, Deadline, DeadlineMutex, Error, ErrorKind, Report};
use crate::exposition::TableInfo;
use crate::netlink::{ByteOrder, Content, Data, Malformed, messages};
use crate::settings::{Common, ConfigError, Input};
use crate::sources::Source;
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
    /// The files with names, as they were when they were read.
    name_files: NameFiles,
}

/// Files with names, each as it was; absent where it could not be read.
type NameFiles = Vec<(PathBuf, Option<Stamp>)>;

/// An interface, and where it is asked.
struct Interface {
    name: String,
    /// Its socket, and as which file that was found; absent where the kernel has it.
    socket: Option<(String, Option<Stamp>)>,
}

/// What tells an interface from others of its name, before and after it.
type Id = (u32, Option<Stamp>);

/// Takes an interface: its name, what tells it from others, what it says unless it can't be read.
type Visit<'a> = dyn FnMut(&str, Id, Option<&Device>, &mut Report) + 'a;

impl WireGuard {
    /// A collector for these interfaces.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let memory = Memory { totals: PeerTotals::new(settings.most_clients), ..Memory::default() };
        Self { settings, memory: Arc::new(DeadlineMutex::new(memory)) }
    }

    /// Reads every interface and notes how each answered. One that went away since it was listed is no error; one that
    /// can't be read has no device.
    fn read(&self, deadline: Deadline, report: &mut Report, each: &mut Visit<'_>) {
        let interfaces = self.interfaces(deadline, report);
        let mut family = None;
        for interface in &interfaces {
            let Interface { name, socket } = interface;
            let (result, stamp) = match socket {
                None => (read_kernel(name, &mut family, deadline), None),
                Some((path, stamp)) => (read_socket(path, deadline).map(Some), *stamp),
            };
            let Some(result) = result.transpose() else { continue };
            let target = socket.as_ref().map_or(name, |(path, _)| path);
            let device = report.target(target.clone(), result);
            let index = device.as_ref().and_then(|device| device.index).unwrap_or_default();
            each(name, (index, stamp), device.as_ref(), report);
        }
        for name in self.settings.required() {
            if !interfaces.iter().any(|interface| interface.name == *name) {
                note(missing(name, deadline), report);
                each(name, (0, None), None, report);
            }
        }
    }

    /// The interfaces that are there and are watched. The kernel's one goes before another of the same name.
    fn interfaces(&self, deadline: Deadline, report: &mut Report) -> Vec<Interface> {
        let mut found: Vec<Interface> = Vec::new();
        match links(deadline) {
            Ok(names) => found.extend(names.into_iter().map(|name| Interface { name, socket: None })),
            Err(error) => note(error, report),
        }
        let folder = self.settings.socket_folder.clone();
        match blocking::run(&folder.display().to_string(), deadline, move || user_space(&folder)) {
            Ok(interfaces) => {
                for interface in interfaces {
                    if !found.iter().any(|known| known.name == interface.name) {
                        found.push(interface);
                    }
                }
            }
            Err(error) => note(error, report),
        }
        found.retain(|interface| self.settings.watches(&interface.name));
        found
    }
}

impl Source for WireGuard {
    type Settings = Settings;
    const NAME: &'static str = "wireguard";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const LOOKED_FOR: Option<&'static str> = Some(settings::LOOKED_FOR);

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
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
        memory.read_names(&self.settings.name_files, deadline);
        let Memory { totals, names, .. } = &mut *memory;
        let mut pass = totals.pass(now);
        self.read(deadline, report, &mut |interface, id, device, report| match device {
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
        memory.read_names(&self.settings.name_files, deadline);
        let names = &memory.names;
        let Settings { gateway, peers, .. } = &*self.settings;
        let now = clock::now();
        let name = |key| peers.name(key).or_else(|| names.get(key));
        let date = |moment| clock::local(moment).map(|moment| moment.to_string());
        self.read(deadline, report, &mut |interface, _, device, report| {
            if let Some(device) = device {
                sessions::list(device, &Listing { gateway, interface, now }, name, date, &mut report.sessions);
            }
        });
    }
}

impl Memory {
    /// Reads the files with names where any of them changed; they may be on a file system that hangs. Where they can't be
    /// read, the names stay as they are.
    fn read_names(&mut self, patterns: &[String], deadline: Deadline) {
        let (patterns, known) = (patterns.to_vec(), self.name_files.clone());
        let read = blocking::run("files with names of peers", deadline, move || {
            let files = stamped(&patterns, deadline)?;
            Ok((files != known).then(|| read_name_files(files, deadline)))
        });
        match read {
            Ok(Some((names, files))) => (self.names, self.name_files) = (names, files),
            Ok(None) => {}
            Err(error) => log::debug!("wireguard: {error}"),
        }
    }
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
fn read_name_files(mut files: NameFiles, deadline: Deadline) -> (Names, NameFiles) {
    let mut all = Names::new();
    for (path, stamp) in &mut files {
        match read_names(path, deadline) {
            Ok(names) => all.add_all(&names),
            Err(error) => {
                log::debug!("wireguard: {error}");
                *stamp = None;
            }
        }
    }
    (all, files)
}

fn read_names(path: &Path, deadline: Deadline) -> Result<Names, Error> {
    let is_quick = path.extension().is_some_and(|extension| extension == "conf");
    let mut reader = Reader::new(if is_quick { Format::Quick } else { Format::Uci });
    file::read_lines(path, NAME_FILE_LIMIT, deadline, |block| {
        Text::new(block).lines().for_each(|line| reader.read(line));
    })?;
    Ok(reader.end())
}

/// The interfaces whose sockets are in a folder; none where there is no such folder.
fn user_space(folder: &Path) -> Result<Vec<Interface>, Error> {
    let files = match file::list(folder) {
        Err(error) if matches!(error.kind, ErrorKind::NotFound) => Vec::new(),
        files => files?,
    };
    let interface = |file: &String| {
        let path = folder.join(file);
        let socket = Some((path.display().to_string(), file::stamp(&path)));
        Some(Interface { name: file.strip_suffix(SOCKET)?.into(), socket })
    };
    Ok(files.iter().filter_map(interface).collect())
}

/// The kernel's interfaces of WireGuard, sorted.
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
        number = data.map(netlink::family).transpose()?.flatten().or(number);
        Ok(())
    })?;
    Ok(number)
}

/// An interface of the kernel; absent where it went away since it was listed.
fn read_kernel(name: &str, known: &mut Option<u16>, deadline: Deadline) -> Result<Option<Device>, Error> {
    let number = match *known {
        Some(number) => number,
        None => family(deadline)?.ok_or_else(|| Error::new(name, ErrorKind::Refused { why: NO_MODULE.into() }))?,
    };
    *known = Some(number);
    let request = netlink::device_request(number, name, ByteOrder::NATIVE);
    let mut device = Device::default();
    let read = dump(Protocol::Generic, name, &request, deadline, &mut |data| match data {
        Some(data) => netlink::read_device(data, &mut device),
        None => {
            device = Device::default();
            Ok(())
        }
    });
    match read {
        Ok(()) => Ok(Some(device)),
        Err(error) if matches!(error.kind, ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
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
        if !dump_once(protocol, target, request, deadline, &mut |data| each(Some(data)))? {
            return Ok(());
        }
        // It forgets what it has; that can't be malformed.
        let _ = each(None);
    }
    Err(Error::new(target, ErrorKind::Io { why: "changed faster than it can be read".into() }))
}

/// Reads all messages of an answer; says whether what it lists changed meanwhile.
fn dump_once(
    protocol: Protocol,
    target: &str,
    request: &[u8],
    deadline: Deadline,
    each: &mut dyn FnMut(Data<'_>) -> Result<(), Malformed>,
) -> Result<bool, Error> {
    let mut is_interrupted = false;
    let malformed = |Malformed { expected, offset }| Error::new(target, ErrorKind::Malformed { expected, offset });
    ask(protocol, target, request, LIMIT, deadline, &mut |datagram| {
        for message in messages(datagram, ByteOrder::NATIVE) {
            let message = message.map_err(malformed)?;
            is_interrupted |= message.is_interrupted;
            match message.content {
                Content::Data(data) => each(data).map_err(malformed)?,
                Content::End => return Ok(false),
                Content::Refused(number) => return Err(refused(target, number)),
            }
        }
        Ok(true)
    })?;
    Ok(is_interrupted)
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

/// An interface in user space. One that hangs takes half of the time that is left, so that others are read, too.
fn read_socket(path: &str, deadline: Deadline) -> Result<Device, Error> {
    let deadline = Deadline::within(deadline.left(path)? / 2);
    let mut channel = socket::open(&Address::Unix(path.into()), deadline)?;
    channel.send(uapi::REQUEST)?;
    let (mut answer, mut offset) = (Answer::default(), 0usize);
    channel.read_lines(LIMIT, &mut |lines| {
        for line in Text::new(lines).lines() {
            match answer.read(line) {
                Ok(Progress::More) => {}
                Ok(Progress::Whole) => return Ok(false),
                Ok(Progress::Refused(number)) => {
                    return Err(Error::new(path, ErrorKind::Refused { why: format!("error {number}") }));
                }
                Err(expected) => return Err(Error::new(path, ErrorKind::Malformed { expected, offset })),
            }
            offset = offset.saturating_add(line.bytes().len()).saturating_add(1);
        }
        Ok(true)
    })?;
    Ok(answer.device)
}

/// Notes what could not be read, by the name in the error.
fn note(error: Error, report: &mut Report) {
    report.targets.push((error.subject.clone(), Err(error)));
}

/// Why an interface that should be there is not.
fn missing(name: &str, deadline: Deadline) -> Error {
    match family(deadline) {
        Ok(None) => Error::new(name, ErrorKind::Refused { why: NO_MODULE.into() }),
        _ => Error::new(name, ErrorKind::NotFound),
    }
}
