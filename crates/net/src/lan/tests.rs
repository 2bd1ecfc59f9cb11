//! Devices on a network of their own, and what strangers announce.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::testing::skip;

/// Set in the process that has a network of its own.
const INSIDE: &str = "SHOAL_TEST_OWN_NETWORK";

const TEST: &str = "lan::tests::two_devices_of_a_topic_hear_each_other_and_nobody_else";

/// A network with no other machine on it, where multicast works.
const SET_UP: &str = "ip link set lo up && ip link add lan0 type veth peer name lan1 \
    && ip link set lan0 up && ip link set lan1 up && ip address add 10.77.0.1/24 dev lan0 && exec \"$0\" --exact \"$1\" --nocapture --test-threads 1";

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

/// Runs itself again in a network namespace of its own: nothing of it is heard outside.
#[test]
fn two_devices_of_a_topic_hear_each_other_and_nobody_else() {
    if std::env::var_os(INSIDE).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(inside());
        return;
    }
    let mut unshared = Command::new("unshare");
    unshared.args(["--net", "--map-root-user", "sh", "-c"]);
    let can = Command::new("unshare")
        .args(["--net", "--map-root-user", "sh", "-c", "ip link add lan0 type veth peer name lan1"])
        .output();
    match can {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip("the local network", &String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip("the local network", &format!("cannot start unshare: {error}")),
    }
    let itself = std::env::current_exe().unwrap();
    let output = unshared.arg(SET_UP).arg(itself).arg(TEST).env(INSIDE, "1").output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn device(port: u16) -> (Lan, mpsc::UnboundedReceiver<Heard>) {
    let (tell, heard) = mpsc::unbounded_channel();
    (Lan::start(port, move |one| drop(tell.send(one))), heard)
}

/// Waits until somebody of this topic is heard at this port; nobody else ever is.
async fn hears(heard: &mut mpsc::UnboundedReceiver<Heard>, topic: Topic, port: u16) {
    let expected = SocketAddr::new([10, 77, 0, 1].into(), port);
    // Addresses of both families may come one after the other.
    loop {
        let heard = timeout(Duration::from_secs(20), heard.recv()).await.expect("somebody is heard").unwrap();
        assert_eq!(heard.topic, topic);
        assert!(heard.addresses.iter().all(|at| at.port() == port), "{heard:?}");
        if heard.addresses.contains(&expected) {
            return;
        }
    }
}

async fn inside() {
    let now = 20_000 * DAY_SECONDS + 12 * 60 * 60;
    let (ana, mut by_ana) = device(1001);
    let (ben, mut by_ben) = device(1002);
    let (eve, mut by_eve) = device(1003);
    ana.announce(&[topic(1), topic(2)], now);
    // His clock is a day behind.
    ben.announce(&[topic(2), topic(3)], now - DAY_SECONDS);
    eve.announce(&[topic(4)], now);
    hears(&mut by_ana, topic(2), 1002).await;
    hears(&mut by_ben, topic(2), 1001).await;
    assert!(by_eve.try_recv().is_err());
    // A topic that comes later is found among what was heard before.
    eve.announce(&[topic(3)], now);
    hears(&mut by_eve, topic(3), 1002).await;
    // What was told is told again to who asks.
    while by_eve.try_recv().is_ok() {}
    eve.tell_again();
    hears(&mut by_eve, topic(3), 1002).await;
}

#[test]
fn what_is_announced_names_no_topic_and_is_another_tomorrow() {
    let (one, day) = (topic(1), 20_000);
    assert_ne!(one.on_lan(day), one.on_lan(day + 1));
    assert_ne!(one.on_lan(day).as_bytes(), one.as_bytes());
}

/// A service as a stranger may announce it.
fn service(texts: &[(String, String)], addresses: &str, port: u16) -> ResolvedService {
    ServiceInfo::new(SERVICE, "other", "other.local.", addresses, port, texts).unwrap().as_resolved_service()
}

#[test]
fn i30_what_others_announce_is_bounded() {
    let names: Vec<(String, String)> =
        (0..100).map(|at| (format!("n{at}"), topic(at).on_lan(1).to_string())).collect();
    let addresses: Vec<String> = (1..100).map(|at| format!("10.0.0.{at}")).collect();
    let other = Other::read(&service(&names, &addresses.join(","), 80));
    assert_eq!((other.names.len(), other.addresses.len()), (LAN_TOPICS_PER_NAME, LAN_ADDRESSES_MAX));
    // What is no name of ours, and what may not be called, is passed over.
    let texts = [("n0".to_owned(), "hello".to_owned()), ("path".to_owned(), "/".to_owned())];
    let other = Other::read(&service(&texts, "127.0.0.1,224.0.0.1,0.0.0.0", 80));
    assert_eq!(other, Other { names: vec![], addresses: vec![] });
    assert!(Other::read(&service(&texts, "10.0.0.1", 0)).addresses.is_empty());
}

#[test]
fn i30_others_are_bounded() {
    let mut neighbours = Neighbours::default();
    neighbours.names.insert(topic(1).on_lan(1), topic(1));
    let told = Arc::new(Mutex::new(0));
    let tell: Tell = Box::new({
        let told = Arc::clone(&told);
        move |_| *told.lock().unwrap() += 1
    });
    let texts = [("n0".to_owned(), topic(1).on_lan(1).to_string())];
    for number in 0..LAN_OTHERS_MAX + 10 {
        for _ in 0..2 {
            let mut service = service(&texts, "10.0.0.1", 80);
            service.fullname = format!("{number}.{SERVICE}");
            neighbours.hear(ServiceEvent::ServiceResolved(Box::new(service)), &tell);
        }
    }
    assert_eq!(neighbours.others.len(), LAN_OTHERS_MAX);
    // Whoever is remembered is told of once; of the others each time.
    assert_eq!(*told.lock().unwrap(), LAN_OTHERS_MAX + 20);
    neighbours.hear(ServiceEvent::ServiceRemoved(SERVICE.to_owned(), format!("0.{SERVICE}")), &tell);
    assert_eq!(neighbours.others.len(), LAN_OTHERS_MAX - 1);
}
