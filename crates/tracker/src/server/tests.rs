//! Conversations over real sockets: the wiring holds, and nothing that one peer does disturbs another.

mod native;

use std::time::Duration;

use shoal_classic::directory::Directory as Parsed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a tracker under test is found.
#[derive(Clone, Copy)]
struct Site {
    peers: SocketAddr,
    metrics: SocketAddr,
}

/// Runs a tracker beside a conversation with it, and ends it after.
async fn beside<T>(options: Options, conversation: impl AsyncFnOnce(Site) -> T) -> T {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let tracker = Tracker::bind(loopback, Options { metrics: Some(loopback), ..options }).unwrap();
    let site = Site { peers: tracker.local_addr(), metrics: tracker.metrics_addr().unwrap() };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tracker.run(async { drop(stopped.await) });
    let talking = async {
        let result = timeout(PATIENCE, conversation(site)).await.unwrap();
        drop(stop);
        result
    };
    let (ran, result) = tokio::join!(running, talking);
    ran.unwrap();
    result
}

/// A peer, as far as the tracker sees one.
struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, heard: Vec::new() }
    }

    /// Connects, says that and takes the answer.
    async fn join(address: SocketAddr, message: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.ask(message).await;
        client
    }

    async fn say(&mut self, message: impl AsRef<[u8]>) {
        self.stream.write_all(message.as_ref()).await.unwrap();
    }

    /// The next answer, newline included.
    async fn hear(&mut self) -> String {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.heard[looked_at..].iter().position(|byte| *byte == b'\n') {
                return String::from_utf8(self.heard.drain(..=looked_at + end).collect()).unwrap();
            }
            looked_at = self.heard.len();
            assert_ne!(
                self.stream.read_buf(&mut self.heard).await.unwrap(),
                0,
                "closed instead of an answer"
            );
        }
    }

    async fn ask(&mut self, message: &str) -> String {
        self.say(message).await;
        self.hear().await
    }

    /// What it is told when it asks: `name mtime@port` for each file.
    async fn told(&mut self, message: &str) -> Vec<String> {
        let parsed = Parsed::parse(self.ask(message).await.as_bytes()).unwrap();
        let word = |(name, listed): (&shoal_classic::FileName, &shoal_classic::Listed)| {
            format!("{name} {}@{}", listed.mtime, listed.source.port())
        };
        parsed.files.iter().map(word).collect()
    }

    /// Waits until the tracker closes; how many bytes came before.
    async fn closed(&mut self) -> usize {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut rest).await;
        rest.len()
    }
}

fn initial(port: u16, name: &str, mtime: i64) -> String {
    format!("{{\"port\": {port}, \"files\": [{{\"mtime\": {mtime}, \"name\": \"{name}\"}}]}}")
}

/// The figure of one metric.
async fn metric(site: Site, name: &str) -> u64 {
    let text = get(site, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let line = text.lines().find_map(|line| line.strip_prefix("shoal_tracker_")?.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

async fn get(site: Site, request: &str) -> String {
    let mut stream = TcpStream::connect(site.metrics).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Waits until a metric has that figure.
async fn reaches(site: Site, name: &str, figure: u64) {
    while metric(site, name).await != figure {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn peers_of_each_dialect_meet() {
    beside(Options::default(), async |site| {
        let mut framed = Client::connect(site.peers).await;
        assert_eq!(
            framed.ask(&(initial(8001, "f", 1) + "\n")).await,
            "{\"f\": {\"ip\": \"127.0.0.1\", \"mtime\": 1, \"port\": 8001, \"dialect\": 1}}\n"
        );
        let mut classic = Client::connect(site.peers).await;
        assert_eq!(classic.told(&initial(8002, "c", 2)).await, ["c 2@8002"]);
        let mut shoal = Client::connect(site.peers).await;
        assert_eq!(shoal.told("{\"port\": 8003, \"files\": []}\t\n").await, ["c 2@8002", "f 1@8001"]);
        assert_eq!(framed.told("{\"port\": 8001}\n").await, ["f 1@8001"]);
        assert_eq!(classic.told("{\"port\": 180}").await, ["c 2@8002"]);
        let carried = "{\"port\": 8003, \"files\": [{\"mtime\": 1, \"name\": \"f\", \"dialect\": 2}]}\n";
        assert_eq!(shoal.told(carried).await, ["c 2@8002", "f 1@8003"]);
        assert_eq!(classic.told("{\"port\": 8002}").await, ["c 2@8002", "f 1@8003"]);
    })
    .await;
}

#[tokio::test]
async fn b4_a_byte_a_segment_and_many_messages_a_segment() {
    beside(Options::default(), async |site| {
        let mut slow = Client::connect(site.peers).await;
        for byte in (initial(8001, "é", 1) + "\n").bytes() {
            slow.say([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(Parsed::parse(slow.hear().await.as_bytes()).unwrap().files.len(), 1);
        let mut fast = Client::connect(site.peers).await;
        fast.say(initial(8002, "b", 1) + &"{\"port\": 8002}".repeat(999)).await;
        for _ in 0..1_000 {
            assert_eq!(Parsed::parse(fast.hear().await.as_bytes()).unwrap().files.len(), 1);
        }
        assert_eq!(metric(site, "answers_total").await, 1_001);
    })
    .await;
}

#[tokio::test]
async fn sixty_four_peers_see_each_other() {
    beside(Options::default(), async |site| {
        let mut clients = Vec::new();
        for number in 0..64 {
            let message = initial(9000 + number, &format!("{number:02}"), number.into()) + "\n";
            clients.push(Client::join(site.peers, &message).await);
        }
        for (number, client) in (9000..).zip(&mut clients) {
            let told = client.told(&format!("{{\"port\": {number}}}\n")).await;
            assert_eq!((told.len(), told[63].as_str()), (64, "63 63@9063"));
        }
        assert_eq!(metric(site, "peers").await, 64);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_closes_one_direction_still_gets_its_answer() {
    beside(Options::default(), async |site| {
        let mut client = Client::connect(site.peers).await;
        client.say(initial(8001, "a", 1)).await;
        client.stream.shutdown().await.unwrap();
        assert!(client.hear().await.contains("\"port\": 8001"));
        assert_eq!(client.closed().await, 0);
        reaches(site, "connections", 0).await;
    })
    .await;
}

#[tokio::test]
async fn b2_b5_b6_b8_hostile_bytes_close_their_own_connection_only() {
    let options = Options { message_bytes_max: 100_000, ..Options::default() };
    beside(options, async |site| {
        let mut honest = Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await;
        let hostile: [&[u8]; 9] = [
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"null\n",
            b"[1, 2]\n",
            b"{}\n",
            b"{\"port\": 70000}\n",
            b"{\"port\": 1, \"files\": [{\"name\": \"\xff\", \"mtime\": 1}]}\n",
            &b"{\"a\": ".repeat(1_000),
            &[b"{\"a\": \"".as_slice(), &vec![b'x'; 200_000]].concat(),
        ];
        for bytes in hostile {
            let mut client = Client::connect(site.peers).await;
            // It may be closed before it has said everything.
            let _ = client.stream.write_all(bytes).await;
            assert_eq!(client.closed().await, 0);
            assert_eq!(honest.told("{\"port\": 8001}\n").await, ["a 1@8001"]);
        }
        assert_eq!(metric(site, "refusals_total{reason=\"malformed\"}").await, 9);
    })
    .await;
}

#[tokio::test]
async fn b13_b15_b21_bad_entries_are_counted_and_the_others_taken() {
    let options = Options { entries_per_peer_max: 2, announcements_max: 3, ..Options::default() };
    beside(options, async |site| {
        let mut first = Client::connect(site.peers).await;
        let message = "{\"port\": 1, \"files\": [{\"name\": \"../x\", \"mtime\": 1}, 7, {\"name\": \"a\", \"mtime\": 1}, \
                       {\"name\": \"b\", \"mtime\": \"1\"}]}\n";
        assert_eq!(first.told(message).await, ["a 1@1"]);
        assert_eq!(first.told(&(initial(1, "b", 1) + "\n")).await.len(), 2);
        assert_eq!(first.told(&(initial(1, "c", 1) + "\n")).await.len(), 2);
        let mut second = Client::join(site.peers, &(initial(2, "d", 1) + "\n")).await;
        assert_eq!(second.told(&(initial(2, "e", 1) + "\n")).await.len(), 3);
        for (reason, count) in [("entry", 3), ("peer_entries", 1), ("announcements", 1)] {
            assert_eq!(metric(site, &format!("refusals_total{{reason=\"{reason}\"}}")).await, count);
        }
    })
    .await;
}

#[tokio::test]
async fn b3_b26_silence_and_stalls_are_ended() {
    let options = Options { first_message_wait: Duration::from_millis(50), ..Options::default() };
    beside(options, async |site| {
        let mut silent = Client::connect(site.peers).await;
        let mut cut = Client::connect(site.peers).await;
        cut.say("{\"port\": 80\n").await;
        assert_eq!(silent.closed().await, 0);
        assert_eq!(cut.closed().await, 0);
        assert_eq!(metric(site, "refusals_total{reason=\"silent\"}").await, 1);
        assert_eq!(metric(site, "refusals_total{reason=\"stalled\"}").await, 1);
    })
    .await;
}

#[tokio::test]
async fn b30_connections_beyond_the_bounds_are_closed_and_seats_come_back() {
    let options = Options { connections_max: 8, connections_per_address_max: 4, ..Options::default() };
    beside(options, async |site| {
        let message = initial(8001, "a", 1) + "\n";
        let mut seated = Vec::new();
        for _ in 0..4 {
            seated.push(Client::join(site.peers, &message).await);
        }
        for _ in 0..20 {
            assert_eq!(Client::connect(site.peers).await.closed().await, 0);
        }
        assert_eq!(metric(site, "refusals_total{reason=\"address_connections\"}").await, 20);
        assert_eq!(seated[3].told("{\"port\": 8001}\n").await, ["a 1@8001"]);
        seated.pop();
        reaches(site, "connections", 3).await;
        Client::join(site.peers, &message).await;
    })
    .await;
}

#[tokio::test]
async fn a_silent_peer_is_no_longer_listed_and_comes_back() {
    let options = Options { expiry: Duration::from_millis(300), ..Options::default() };
    beside(options, async |site| {
        let mut quiet = Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await;
        let mut asker = Client::join(site.peers, "{\"port\": 8002}\n").await;
        while !asker.told("{\"port\": 8002}\n").await.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(metric(site, "expiries_total").await, 1);
        assert_eq!(quiet.told("{\"port\": 180}\n").await, ["a 1@8001"]);
        assert_eq!(asker.told("{\"port\": 8002}\n").await, ["a 1@8001"]);
    })
    .await;
}

/// An Initial of 40,000 files whose answer is so long that no socket takes all of it at once.
fn long_initial() -> String {
    let item = |number| format!("{{\"name\": \"{number:0>250}\", \"mtime\": 1, \"dialect\": 2}}");
    let items: Vec<String> = (0..40_000).map(item).collect();
    format!("{{\"port\": 8001, \"files\": [{}]}}\n", items.join(","))
}

#[tokio::test]
async fn b30_a_peer_that_takes_no_answer_is_closed_and_holds_up_nobody() {
    let options = Options { write_stall: Duration::from_millis(200), ..Options::default() };
    beside(options, async |site| {
        let mut stuck = Client::connect(site.peers).await;
        stuck.say(long_initial()).await;
        reaches(site, "files", 40_000).await;
        let mut other = Client::connect(site.peers).await;
        let answer = other.ask("{\"port\": 8002, \"files\": []}\t\n").await;
        assert_eq!(
            Parsed::parse(answer.as_bytes()).unwrap().files.len(),
            40_000,
            "a slow answer comes whole"
        );
        reaches(site, "refusals_total{reason=\"write_stall\"}", 1).await;
        assert!(stuck.closed().await < answer.len());
    })
    .await;
}

#[tokio::test]
async fn i30_unfinished_messages_are_bounded_over_all_connections() {
    let options = Options { buffered_bytes_max: 1 << 20, ..Options::default() };
    beside(options, async |site| {
        let mut honest = Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await;
        let unfinished = [b"{\"a\": \"".as_slice(), &vec![b'x'; 300_000]].concat();
        let mut hoarders = Vec::new();
        for number in 0..8 {
            let mut hoarder = Client::connect(site.peers).await;
            hoarder.say(&unfinished).await;
            hoarders.push(hoarder);
            assert_eq!(honest.told("{\"port\": 8001}\n").await, ["a 1@8001"], "beside {number} hoarders");
        }
        hoarders[0].closed().await;
        assert!(metric(site, "refusals_total{reason=\"buffers\"}").await >= 4);
        let message = initial(8001, &"x".repeat(200), 1) + &" ".repeat(100_000) + "\n";
        assert_eq!(honest.told(&message).await.len(), 2, "a large message still finds room");
    })
    .await;
}

#[tokio::test]
async fn i30_outdated_answers_that_are_still_being_taken_are_bounded() {
    // Room for two of these answers and not for three.
    let options = Options { buffered_bytes_max: 35 << 20, ..Options::default() };
    beside(options, async |site| {
        let mut changer = Client::connect(site.peers).await;
        let length = changer.ask(&long_initial()).await.len();
        assert!((12 << 20..17 << 20).contains(&length), "{length}");
        let mut stuck = Vec::new();
        for mtime in 101..104 {
            let news = format!("\"mtime\": {mtime}, ");
            while !changer.ask(&(initial(8001, "x", mtime) + "\n")).await.contains(&news) {
                // Encoding so much is paced.
                sleep(Duration::from_millis(20)).await;
            }
            let mut client = Client::connect(site.peers).await;
            client.say("{\"port\": 8002, \"files\": []}\t\n").await;
            client.stream.read_u8().await.unwrap();
            stuck.push(client);
        }
        reaches(site, "refusals_total{reason=\"buffers\"}", 1).await;
        assert!(stuck[0].closed().await < length - 1, "the oldest gives way");
        assert!(stuck.pop().unwrap().hear().await.ends_with("}\n"), "the newest comes whole");
    })
    .await;
}

#[tokio::test]
async fn b16_log_lines_are_escaped_rationed_and_without_names() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    beside(Options::default(), async |site| {
        let secret = "{\"port\": 1, \"files\": [{\"name\": \"../secret\", \"mtime\": 1}]}\n";
        assert_eq!(Client::connect(site.peers).await.ask(secret).await, "{}\n");
        for _ in 0..100 {
            let mut client = Client::connect(site.peers).await;
            client.say("{\"port\": 1, \"files\": \"\\u001b[2J\\nx\"}").await;
            client.closed().await;
        }
        assert_eq!(metric(site, "refusals_total{reason=\"malformed\"}").await, 100);
    })
    .await;
    drop(guard);
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let refused = lines.lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(refused, crate::limits::LOG_LINES_MAX as usize, "{lines}");
    assert!(lines.contains("the name is a path") && lines.contains("count=1"));
    assert!(!lines.contains("secret") && !lines.contains('\u{1b}') && !lines.contains("\nx"), "{lines}");
}

/// Where a test's log lines land.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_page_answers_what_it_knows_and_nothing_else() {
    beside(Options::default(), async |site| {
        let _peer = Client::join(site.peers, &(initial(8001, "secret name", 1) + "\n")).await;
        let page = get(site, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<td>1</td>"), "{page}");
        assert!(page.contains("content-security-policy: default-src 'none'") && !page.contains("<script"));
        assert!(!page.contains("secret"));
        let head = get(site, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        for (request, answer) in [
            ("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "HTTP/1.1 405 "),
            ("GET /%2e%2e/metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "),
            ("{\"port\": 1}\n\n", "HTTP/1.1 400 "),
            (&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(10_000)), "HTTP/1.1 431 "),
        ] {
            let answered = get(site, request).await;
            assert!(answered.starts_with(answer), "{request:.40} gave {answered:.40}");
        }
        assert_eq!(metric(site, "peers").await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_end_closes_everything_and_frees_the_port() {
    let (mut client, address) = beside(Options::default(), async |site| {
        (Client::join(site.peers, &(initial(8001, "a", 1) + "\n")).await, site.peers)
    })
    .await;
    assert_eq!(client.closed().await, 0);
    let again = Tracker::bind(address, Options::default()).unwrap();
    let taken = Tracker::bind(again.local_addr(), Options::default()).unwrap_err();
    assert_eq!(taken.to_string(), format!("cannot listen for peers on {address}"));
    let metrics = Options { metrics: Some(address), ..Options::default() };
    let taken = Tracker::bind(SocketAddr::from(([127, 0, 0, 1], 0)), metrics).unwrap_err();
    assert_eq!(taken.to_string(), format!("cannot serve metrics on {address}"));
}

#[tokio::test]
async fn an_ipv6_listener_takes_both_families() {
    let Ok(tracker) = Tracker::bind("[::]:0".parse().unwrap(), Options::default()) else {
        return; // a machine without IPv6
    };
    let port = tracker.local_addr().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let talking = async {
        let mut v4 = Client::connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
        assert!(v4.ask(&(initial(8001, "a", 1) + "\n")).await.contains("\"ip\": \"127.0.0.1\""));
        if let Ok(stream) = TcpStream::connect(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))).await {
            let mut v6 = Client { stream, heard: Vec::new() };
            assert_eq!(v6.told(&(initial(8002, "b", 1) + "\n")).await, ["a 1@8001", "b 1@8002"]);
            assert_eq!(v4.told("{\"port\": 8001}\n").await, ["a 1@8001"]);
        }
        drop(stop);
    };
    let running = tracker.run(async { drop(stopped.await) });
    let (ran, talked) = tokio::join!(running, timeout(PATIENCE, talking));
    ran.unwrap();
    talked.unwrap();
}
