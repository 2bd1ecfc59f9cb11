//! The control socket, with a service that the tests play.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shoal_proto::id::ShareId;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::lines::CALL_BYTES_MAX;
use super::report::{Happening, Waited};
use super::server::{CALLS_MAX, CLIENTS_MAX, ServerError, may_ask};
use super::text::Id;
use super::types::{Code, Done, ListShares, Pause, Rescan, Stop, Wait, Watch};
use super::{Answering, Client, ClientError, Diary, Failure, Request, Response, Server, Service};
use crate::home::{Environment, Held, Home};

/// Answers a few requests: `wait` when it is told to, `resume` never, `rescan` with a failure.
struct Played {
    diary: Diary,
    go_on: Notify,
}

impl Service for Played {
    fn handle(&self, request: Request) -> Answering<'_> {
        Box::pin(async move {
            match request {
                Request::ListShares(_) => Ok(Response::Shares(Vec::new())),
                Request::Wait(_) => {
                    self.go_on.notified().await;
                    Ok(Response::Waited(Waited { is_in_sync: true, not_in_sync: Vec::new() }))
                }
                Request::Resume(_) => std::future::pending().await,
                Request::Rescan(rescan) => Err(Failure::no_share(&rescan.share.0)),
                _ => Ok(Response::Done(Done {})),
            }
        })
    }

    fn diary(&self) -> &Diary {
        &self.diary
    }
}

struct World {
    service: Arc<Played>,
    home: Home,
    end: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    _held: Held,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path()), &Environment::default()).unwrap();
        let held = home.hold().unwrap();
        let service = Arc::new(Played { diary: Diary::new(1 << 20), go_on: Notify::new() });
        let server = Server::bind(&held).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let server = tokio::spawn(server.serve(Arc::<Played>::clone(&service), async {
            let _ = ended.await;
        }));
        Self { service, home, end: Some(end), server, _held: held, folder }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.home).await.unwrap()
    }

    /// Sends these bytes, and gives all that comes back until the other end closes, or so many lines have come.
    async fn raw(&self, bytes: impl Into<Vec<u8>>, lines: usize) -> Vec<Value> {
        let (path, bytes) = (self.home.socket().to_owned(), bytes.into());
        let task = move || {
            let mut stream = UnixStream::connect(path).unwrap();
            // It may have hung up already.
            let _ = stream.write_all(&bytes);
            let mut text = Vec::new();
            let mut byte = [0];
            while text.iter().filter(|byte| **byte == b'\n').count() < lines {
                match stream.read(&mut byte) {
                    Ok(1) => text.push(byte[0]),
                    _ => break,
                }
            }
            text
        };
        let text = String::from_utf8(tokio::task::spawn_blocking(task).await.unwrap()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn close(mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.server.await.unwrap();
        assert!(!self.home.socket().exists());
    }
}

fn share() -> Id<ShareId> {
    Id(ShareId::from_bytes([7; 32]))
}

#[tokio::test]
async fn a_client_is_answered_or_told_why_not() {
    let world = World::new();
    assert_eq!(std::fs::metadata(world.home.socket()).unwrap().mode() & 0o777, 0o600);
    let mut client = world.client().await;
    assert_eq!(client.ask(ListShares {}).await.unwrap(), []);
    let error = client.ask(Rescan { share: share(), wait: true }).await.unwrap_err();
    assert!(matches!(&error, ClientError::Failed(failure) if failure.code == Code::NoShare), "{error}");

    let mut local = Client::local(Arc::<Played>::clone(&world.service));
    assert_eq!(local.ask(ListShares {}).await.unwrap(), []);
    assert_eq!(client.ask(Pause { share: share() }).await.unwrap(), Done {});
    let home = world.home.clone();
    world.close().await;
    assert!(matches!(Client::connect(&home).await, Err(ClientError::NotRunning)));
}

#[tokio::test]
async fn a_daemon_that_is_stopped_answers_first_and_says_so_to_who_listens() {
    let world = World::new();
    let mut client = world.client().await;
    let (_, mut events) = client.watch(Watch::default()).await.unwrap();
    assert_eq!(client.ask(Stop {}).await.unwrap(), Done {});
    world.server.await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().happening, Happening::Stopping);
    assert_eq!(events.next().await.unwrap(), None);
    assert!(!world.home.socket().exists());
}

#[tokio::test]
async fn the_words_on_the_wire_stay_as_they_are() {
    let world = World::new();
    let calls = format!(
        "{}\r\n{}\n",
        json!({"version": 1, "id": 5, "request": {"list-shares": {}}}),
        json!({"version": 1, "id": 6, "request": {"rescan": {"share": share().0.to_string()}}}),
    );
    let mut replies = world.raw(calls, 2).await;
    replies.sort_by_key(|reply| reply["id"].as_u64());
    let message = format!("there is no share {} on this device", share().0.short());
    let failure =
        json!({"code": "no-share", "message": message, "hint": "`shoal shares` lists those that are there"});
    assert_eq!(replies, [json!({"id": 5, "response": {"shares": []}}), json!({"id": 6, "failure": failure})]);
    world.close().await;
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_the_next_one_is_heard() {
    let world = World::new();
    for (line, id, what) in [
        ("hello", Value::Null, "this is no call: "),
        ("{\"version\":1,\"id\":3}", json!(3), "this is no call: missing field `request`"),
        ("{\"id\":3,\"request\":{\"stop\":{}}}", json!(3), "this is no call: missing field `version`"),
        (
            "{\"version\":1,\"id\":3,\"request\":{\"fly\":{}}}",
            json!(3),
            "this is no call: unknown variant `fly`",
        ),
        (
            "{\"version\":1,\"id\":3,\"request\":{\"stop\":{\"now\":1}}}",
            json!(3),
            "this is no call: unknown field `now`",
        ),
        (
            "{\"version\":1,\"id\":3,\"request\":{\"stop\":{}},\"x\":1}",
            json!(3),
            "this is no call: unknown field `x`",
        ),
        (
            "{\"version\":1,\"id\":-3,\"request\":{\"stop\":{}}}",
            Value::Null,
            "this is no call: invalid value",
        ),
        (
            "{\"version\":2,\"id\":3,\"future\":{}}",
            json!(3),
            "this daemon speaks version 1 of the control API, not 2",
        ),
        (r#""\u001b[2J""#, Value::Null, r#"this is no call: invalid type: string "\\u{1b}[2J"#),
        ("[[[[", Value::Null, "this is no call: "),
    ] {
        let next = json!({"version": 1, "id": 9, "request": {"list-shares": {}}});
        let replies = world.raw(format!("\n{line}\n{next}\n"), 2).await;
        assert_eq!(replies[0]["id"], id, "{line}");
        let message = replies[0]["failure"]["message"].as_str().unwrap();
        assert!(message.starts_with(what) && message.len() < 400, "{line}: {message}");
        assert_eq!(replies[1], json!({"id": 9, "response": {"shares": []}}), "{line}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_or_cut_short_ends_the_connection() {
    let world = World::new();
    for (bytes, what) in [
        (vec![b'['; CALL_BYTES_MAX + 1], format!("a line of more than {CALL_BYTES_MAX} bytes")),
        (b"\xff\xfe\0\n".to_vec(), String::new()),
    ] {
        let replies = world.raw(bytes, 1).await;
        let failure = &replies[0]["failure"];
        assert_eq!(failure["code"], "bad-call");
        assert!(failure["message"].as_str().unwrap().contains(&what), "{failure}");
    }
    // The others do not notice.
    world.client().await.ask(ListShares {}).await.unwrap();
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_whole_is_not_waited_for() {
    let world = World::new();
    for bytes in [&b""[..], b"{", b"\n{\"version\""] {
        let stream = world.home.with_socket(|path| UnixStream::connect(path)).unwrap();
        (&stream).write_all(bytes).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let mut text = String::new();
        let began = tokio::time::Instant::now();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
        assert!(text.contains("no whole line came within 10 seconds"), "{text}");
        assert!(began.elapsed() < Duration::from_secs(25));
    }
    world.close().await;
}

#[tokio::test]
async fn calls_of_one_client_do_not_wait_for_each_other_and_stay_bounded() {
    let world = World::new();
    // Two that wait, one that does not: it is answered first.
    let wait = |id: u64| json!({"version": 1, "id": id, "request": {"wait": {}}}).to_string();
    let list = json!({"version": 1, "id": 3, "request": {"list-shares": {}}});
    let service = Arc::clone(&world.service);
    let mut client = world.client().await;
    let waiter = tokio::spawn(async move { client.ask(Wait::default()).await.unwrap() });
    let replies = world.raw(format!("{}\n{}\n{list}\n", wait(1), wait(2)), 1).await;
    assert_eq!(replies[0]["id"], 3);
    service.go_on.notify_waiters();
    tokio::time::timeout(Duration::from_secs(30), async {
        while !waiter.is_finished() {
            service.go_on.notify_one();
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(waiter.await.unwrap().is_in_sync);

    // So many that are never answered, and the next one is not heard; but another client is.
    let resume =
        |id: usize| json!({"version": 1, "id": id, "request": {"resume": {"share": share().0.to_string()}}});
    let calls: String = (0..CALLS_MAX).map(|id| format!("{}\n", resume(id))).collect();
    let stream = world.home.with_socket(|path| UnixStream::connect(path)).unwrap();
    (&stream).write_all(format!("{calls}{list}\n").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let read = tokio::task::spawn_blocking(move || (&stream).read(&mut [0; 16]));
    assert_eq!(read.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    world.client().await.ask(ListShares {}).await.unwrap();
    world.close().await;
}

#[tokio::test]
async fn only_so_many_clients_are_heard() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS_MAX {
        let mut client = world.client().await;
        client.ask(ListShares {}).await.unwrap();
        clients.push(client);
    }
    let error = world.client().await.ask(ListShares {}).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Failed(failure) if failure.code == Code::Busy)
            || matches!(error, ClientError::Ended),
        "{error}"
    );
    clients.pop();
    tokio::time::timeout(Duration::from_secs(30), async {
        // The daemon hears of it in its own time.
        while world.client().await.ask(ListShares {}).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_while_it_waited_keeps_no_seat() {
    let world = World::new();
    let mut gone = Vec::new();
    for _ in 0..CLIENTS_MAX / 2 {
        // Two connections: one that says nothing, and one that is told events.
        let client = world.client().await;
        gone.push((client.watch(Watch::default()).await.unwrap(), client));
    }
    drop(gone);
    let mut clients = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), async {
        while clients.len() < CLIENTS_MAX {
            let mut client = world.client().await;
            match client.ask(ListShares {}).await {
                Ok(_) => clients.push(client),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    })
    .await
    .unwrap();
    world.close().await;
}

#[tokio::test]
async fn events_come_in_order_and_again_from_where_one_stopped() {
    let world = World::new();
    let note =
        |text: &str| world.service.diary.note(Some(share().0), Happening::Warning { message: text.into() });
    note("before");
    for client in [world.client().await, Client::local(Arc::<Played>::clone(&world.service))] {
        let before = world.service.diary.position();
        let (watching, mut events) = client.watch(Watch { after: None }).await.unwrap();
        assert_eq!((watching.after, watching.missed), (before, false));
        note("one");
        note("two");
        let first = events.next().await.unwrap().unwrap();
        assert_eq!(first.happening, Happening::Warning { message: "one".into() });
        assert_eq!(first.share, Some(share()));
        drop(events);
        let (watching, mut events) = client.watch(Watch { after: Some(first.position) }).await.unwrap();
        assert!(!watching.missed);
        let second = events.next().await.unwrap().unwrap();
        assert_eq!(second.happening, Happening::Warning { message: "two".into() });
        assert_eq!(second.position.sequence, first.position.sequence + 1);
    }
    world.close().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_nothing_up() {
    let world = World::new();
    let stream = world.home.with_socket(|path| UnixStream::connect(path)).unwrap();
    let call = json!({"version": 1, "id": 1, "request": {"watch": {}}});
    (&stream).write_all(format!("{call}\n").as_bytes()).unwrap();
    let text = "x".repeat(4096);
    // Far more than a socket holds, and more than is kept.
    for _ in 0..6000 {
        world.service.diary.note(None, Happening::Warning { message: text.clone() });
    }
    world.client().await.ask(ListShares {}).await.unwrap();
    // The end does not wait for it either.
    tokio::time::timeout(Duration::from_secs(20), world.close()).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_socket_that_was_left_is_replaced_and_what_is_none_is_left_alone() {
    let world = World::new();
    assert!(matches!(Server::bind(&world._held), Err(ServerError::Taken { .. })));
    let (home, folder) = (world.home.clone(), world.folder.path().to_owned());
    // As after `kill -9`: the file is there, and nobody listens.
    world.server.abort();
    let _ = world.server.await;
    drop(std::os::unix::net::UnixListener::bind(home.socket()).unwrap());
    assert!(home.socket().exists());
    drop(Server::bind(&world._held).unwrap());
    assert!(!home.socket().exists());
    std::fs::write(home.socket(), "mine").unwrap();
    assert!(matches!(Server::bind(&world._held), Err(ServerError::InTheWay { .. })));
    assert_eq!(std::fs::read(folder.join("shoal.sock")).unwrap(), b"mine");
}

/// Another user cannot even enter the folder; if it could, and the socket were open to it, it still is not heard.
#[tokio::test]
async fn t11_another_user_is_turned_away() {
    assert!(may_ask(1000, 1000) && may_ask(0, 1000) && !may_ask(1001, 1000) && !may_ask(1001, 0));
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    for path in [world.folder.path(), world.home.socket()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  try:\n s.sendall(b'{\"version\":1,\"id\":1,\"request\":{\"list-shares\":{}}}\\n')\n \
                  print(len(s.recv(10)))\nexcept ConnectionError: print(0)";
    let ask = |user: u32| {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new("python3");
        command.uid(user).gid(user).args(["-c", script]).arg(world.home.socket()).current_dir("/");
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
    };
    assert_eq!(ask(0).await, "10");
    assert_eq!(ask(65534).await, "0");
    world.close().await;
}
