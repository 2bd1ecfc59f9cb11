//! The workload, killed at every single system call, and with each of them failing in turn (I8, I17, I20, E19, E20).
//!
//! `strace` counts the calls of one run between two marks, then strikes the nth of a sort in a run of its own. After each
//! the folder is opened again, checked, and brought to its end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal_disk::{Os, PortableOs};
use tempfile::TempDir;

use crate::skip::skip;
use crate::workload::{STEPS, Step, check, finish, in_memory, make_folder_of_user, name_of, start, work};

/// The folder for [`workload`], and the name of the [`Way`] in which it is to go about it.
const FOLDER: &str = "SHOAL_DISK_TEST_WORKLOAD";
const WAY: &str = "SHOAL_DISK_TEST_WAY";

/// Says that everything is to be tried; else it is some of it.
const WHOLE: &str = "SHOAL_TEST_WHOLE";

/// What [`workload`] looks at just before it begins and after it has ended, to be found in a trace.
const BEGIN: &str = "/the workload begins";
const END: &str = "/the workload has ended";

/// How the workload goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// All steps in one batch.
    InOne,
    /// Each in a batch of its own, which is made durable in other ways.
    OneByOne,
    /// In one batch, where renames know no flags.
    Plain,
    /// No steps: only the start after a batch that was killed, which clears up.
    Start,
}

const WAYS: [Way; 4] = [Way::InOne, Way::OneByOne, Way::Plain, Way::Start];

/// Not a test by itself: what `strace` runs.
#[test]
fn workload() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let way = std::env::var(WAY).unwrap();
    outnumber_the_main_thread();
    assert!(fs::metadata(BEGIN).is_err());
    let done = match &*way {
        "Start" => start(Path::new(&folder)),
        way => work(&Os, Path::new(&folder), way != "OneByOne"),
    };
    assert!(fs::metadata(END).is_err());
    for step in done {
        println!("done: {}", name_of(step));
    }
}

/// Strikes are counted by thread, and a test has one of its own: so it first makes so many calls of the usual sorts that
/// the main thread never comes to the numbers of those that follow.
fn outnumber_the_main_thread() {
    for _ in 0..50 {
        let mut null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        null.metadata().unwrap();
        assert_eq!(null.write(&[0]).unwrap() + null.read(&mut [0]).unwrap(), 1);
        assert_eq!(null.read_at(&mut [0], 0).unwrap(), 0);
    }
}

// I3, I8, I17
#[test]
fn a_process_killed_at_any_system_call_leaves_old_or_new_and_loses_nothing() {
    for way in WAYS {
        let Some(strikes) = strikes(way, |_, _| vec!["signal=KILL"]) else { return };
        run_all("killed", way, &strikes, |killed| {
            // What is printed comes after the last call.
            let text = String::from_utf8_lossy(&killed.stdout);
            assert!(!text.contains("done: ") && !text.contains("1 passed"), "it was not killed: {text}");
        });
    }
}

// E19, E20, I20
#[test]
fn any_one_system_call_may_fail_and_what_is_told_is_so() {
    for way in WAYS {
        let Some(strikes) = strikes(way, errors) else { return };
        run_all("failed", way, &strikes, |ended| {
            let text = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.status.success() && text.contains("1 passed"), "{text}");
        });
    }
}

/// The calls that a kernel, a sandbox or a file system may lack altogether.
#[test]
fn what_a_system_lacks_is_done_in_another_way() {
    if !has_strace() {
        return;
    }
    let lacking = [
        "openat2:error=ENOSYS",
        "openat2:error=EPERM",
        "renameat2:error=EINVAL",
        "renameat2:error=ENOSYS",
        "fallocate:error=EOPNOTSUPP",
        "fadvise64:error=EINVAL",
        "faccessat2:error=ENOSYS",
    ];
    for lack in lacking {
        for way in [Way::InOne, Way::OneByOne] {
            let place = place(way);
            let ended = strike(place.path(), way, lack);
            let done = done(&ended);
            assert!(ended.status.success(), "{lack}: {}", String::from_utf8_lossy(&ended.stdout));
            assert_eq!(done.len(), STEPS.len(), "{lack}: only {done:?}");
            check(place.path(), &done, false, lack);
        }
    }
    // The suite too holds without.
    let name = "conformance::places::this_machine_keeps_the_promises_of_the_seam";
    let run = under_strace("openat2:error=ENOSYS", name).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

/// Other Unix systems; see [`PortableOs`].
#[test]
fn what_every_unix_has_is_enough() {
    for in_one in [true, false] {
        let place = place(Way::InOne);
        let done = work(&PortableOs, place.path(), in_one);
        assert_eq!(done, STEPS, "all of them");
        check(place.path(), &done, false, "portably");
    }
}

// I10, I11
#[test]
fn every_call_names_one_component_below_a_handle() {
    if !has_strace() {
        return;
    }
    for way in WAYS {
        let place = place(way);
        let trace = trace(place.path(), way);
        let share = place.path().to_str().unwrap();
        let mut calls = 0;
        for line in between_marks(&trace).filter(|line| !OF_BYTES.iter().any(|call| line.contains(call))) {
            for named in line.split('"').skip(1).step_by(2) {
                calls += 1;
                // The folder as a whole is looked at by its path, to know whether it still is the one (I19).
                let is_above = share.starts_with(named);
                let is_below = !named.contains('/') && !line.contains("AT_FDCWD");
                assert!(is_above || is_below, "{way:?}: {line}");
                assert!(named != ".." || line.contains("O_PATH"), "{way:?}: {line}");
            }
        }
        assert!(calls > 30, "{way:?}: the trace has the workload: {calls}");
    }
}

/// One call to be struck, and how.
#[derive(Debug)]
struct Strike {
    call: String,
    nth: usize,
    how: &'static str,
}

/// What can be wrong with a call: the device, and in turn one of the other things.
fn errors(call: &str, at: usize) -> Vec<&'static str> {
    let other = match at % 3 {
        0 if TAKES_ROOM.contains(&call) => "error=ENOSPC",
        1 if TAKES_ROOM.contains(&call) => "error=EDQUOT",
        _ => "error=EINTR",
    };
    vec!["error=EIO", other]
}

/// The strikes at every call of the workload, or at some of them; `None`, and a skip, if nobody can strike here.
fn strikes(way: Way, how: impl Fn(&str, usize) -> Vec<&'static str>) -> Option<Vec<Strike>> {
    if !has_strace() {
        return None;
    }
    let calls = count(way);
    let mut strikes = Vec::new();
    for (at, (call, nth)) in calls.into_iter().enumerate() {
        strikes.extend(how(&call, at).into_iter().map(|how| Strike { call: call.clone(), nth, how }));
    }
    if std::env::var_os(WHOLE).is_none() {
        // Each way begins elsewhere, so that together they come by many places.
        strikes = strikes.into_iter().skip(5 * way as usize).step_by(SOME).collect();
    }
    Some(strikes)
}

fn has_strace() -> bool {
    let what = "system calls that are killed or fail";
    let mut probe = Command::new("strace");
    probe.args(["-f", "--seccomp-bpf", "-e", "inject=getppid:error=EIO", "-e", "trace=getppid", "true"]);
    match probe.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => skip(what, &String::from_utf8_lossy(&output.stderr)),
        Err(error) => skip(what, &format!("cannot start strace: {error}")),
    }
    false
}

/// What the workload asks of the system, one call a line.
fn trace(place: &Path, way: Way) -> String {
    let trace = place.with_extension("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&trace).args(lacking(way));
    let ended = workload_by(command, "syscalls::workload").envs(how(place, way)).output().unwrap();
    let done = done(&ended);
    let wanted = if way == Way::Start { 0 } else { STEPS.len() };
    assert_eq!(done.len(), wanted, "without any trouble all goes well, but {ended:?}");
    check(place, &done, false, "without any trouble");
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(trace).unwrap();
    text
}

fn between_marks(trace: &str) -> impl Iterator<Item = &str> {
    trace.lines().skip_while(|line| !line.contains(BEGIN)).skip(1).take_while(|line| !line.contains(END))
}

/// The calls of the workload, in order, each with its number among all of its sort.
fn count(way: Way) -> Vec<(String, usize)> {
    let place = place(way);
    let trace = trace(place.path(), way);
    finish(place.path(), "without any trouble");
    let (mut counts, mut calls, mut is_begun) = (BTreeMap::new(), Vec::new(), false);
    for line in trace.lines() {
        let Some((call, _)) = line.split_once('(') else { continue };
        let Some((thread, call)) = call.split_once(' ') else { continue };
        let nth = counts.entry((thread, call.trim_start())).or_insert(0);
        *nth += 1;
        is_begun &= !line.contains(END);
        if is_begun && !OF_MEMORY.contains(&call.trim_start()) {
            calls.push((thread, call.trim_start().to_owned(), *nth));
        }
        is_begun |= line.contains(BEGIN);
    }
    for (thread, call, nth) in &calls {
        let others = counts.iter().filter(|((other, name), _)| other != thread && name == call);
        assert!(others.clone().all(|(_, count)| count < nth), "{call} {nth} would strike another thread");
    }
    let calls: Vec<_> = calls.into_iter().map(|(_, call, nth)| (call, nth)).collect();
    // Its strikes would undo the lack of flags.
    let calls: Vec<_> =
        calls.into_iter().filter(|(call, _)| way != Way::Plain || call != "renameat2").collect();
    assert!(calls.len() > 50, "the trace has the workload: {calls:?}");
    calls
}

/// Strikes everywhere, from as many threads as there are processors.
fn run_all(word: &str, way: Way, strikes: &[Strike], ended_well: impl Fn(&Output) + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let one = |strike: &Strike| {
        let Strike { call, nth, how } = strike;
        let context = format!("{way:?}, {call} {nth} with {how}");
        let place = place(way);
        let ended = self::strike(place.path(), way, &format!("{call}:{how}:when={nth}"));
        ended_well(&ended);
        let may_be_between = way == Way::Plain && how.starts_with("signal");
        check(place.path(), &done(&ended), may_be_between, &context);
        finish(place.path(), &context);
        check(place.path(), &STEPS, false, &context);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(strike) = strikes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = std::panic::AssertUnwindSafe(|| one(strike));
                    if std::panic::catch_unwind(run).is_err() {
                        wrong.lock().unwrap().push(format!("{strike:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} strikes, see above: {wrong:#?}", wrong.len(), strikes.len());
    println!("{word} {} times, {way:?}", strikes.len());
}

/// Runs the workload with one thing gone wrong.
fn strike(place: &Path, way: Way, what: &str) -> Output {
    let mut command = under_strace_alone(what);
    command.args(lacking(way));
    workload_by(command, "syscalls::workload").envs(how(place, way)).output().unwrap()
}

/// What is wrong all the time.
fn lacking(way: Way) -> Vec<&'static str> {
    match way {
        Way::Plain => vec!["-e", "inject=renameat2:error=EINVAL"],
        _ => Vec::new(),
    }
}

fn under_strace(what: &str, test: &str) -> Command {
    workload_by(under_strace_alone(what), test)
}

fn under_strace_alone(what: &str) -> Command {
    let (call, how) = what.split_once(':').unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null"]);
    if !how.starts_with("signal") {
        // Faster, but no signal can be sent from where it stops.
        command.arg("--seccomp-bpf");
    }
    command.args(["-e", &format!("trace={call},renameat2"), "-e", &format!("inject={what}")]);
    command
}

/// One test of this program.
fn workload_by(mut command: Command, test: &str) -> Command {
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads=1", "--nocapture"]);
    // Cargo has the loader look in many places, with a call each.
    command.env_remove("LD_LIBRARY_PATH").env_remove("SHOAL_SKIPS");
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

fn how(place: &Path, way: Way) -> [(&'static str, PathBuf); 2] {
    [(FOLDER, place.to_owned()), (WAY, format!("{way:?}").into())]
}

/// What the workload said that it has done.
fn done(ended: &Output) -> Vec<Step> {
    let text = String::from_utf8_lossy(&ended.stdout);
    let said: Vec<_> = text.lines().filter_map(|line| Some(line.split_once("done: ")?.1)).collect();
    STEPS.into_iter().filter(|step| said.contains(&&*name_of(*step))).collect()
}

/// A folder of the user's. For a start it is left by a batch that was killed when the old version of a file was in a slot.
fn place(way: Way) -> TempDir {
    let place = in_memory();
    make_folder_of_user(place.path());
    if way == Way::Start {
        strike(place.path(), Way::InOne, "renameat2:signal=KILL:when=3");
        assert!(
            fs::read_dir(place.path().join(".shoal/staging")).unwrap().count() > 3,
            "there is much to clear up"
        );
    }
    place
}

/// What shows bytes of files, not names.
const OF_BYTES: [&str; 5] = ["read(", "write(", "pread64(", "pwrite64(", "symlinkat("];

/// What is of no file, or cannot be struck without striking at the program itself.
const OF_MEMORY: [&str; 16] = [
    "geteuid",
    "getpid",
    "gettid",
    "mmap",
    "munmap",
    "mremap",
    "brk",
    "mprotect",
    "madvise",
    "futex",
    "rt_sigaction",
    "rt_sigprocmask",
    "sigaltstack",
    "getrandom",
    "uname",
    "exit_group",
];

/// What can find no room.
const TAKES_ROOM: [&str; 14] = [
    "write",
    "pwrite64",
    "openat",
    "openat2",
    "mkdirat",
    "renameat",
    "renameat2",
    "linkat",
    "symlinkat",
    "fallocate",
    "ftruncate",
    "fsync",
    "syncfs",
    "utimensat",
];

/// Of so many strikes one is tried, if not all are.
const SOME: usize = 37;
