//! Floods and honest guests.

use super::*;

fn ip(number: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + number).into())
}

const fn at(millis: u64) -> Time {
    Duration::from_millis(millis)
}

fn doorman(guests_max: usize, network_guests_max: usize) -> Doorman {
    Doorman::new(DoorOptions { guests_max, network_guests_max, ..DoorOptions::default() })
}

#[test]
fn i30_t6_guests_are_bounded_in_all_and_for_each_network() {
    let mut doorman = doorman(5, 3);
    let first = doorman.knock(ip(1), at(0)).unwrap();
    assert!(doorman.knock(ip(1), at(0)).is_some() && doorman.knock(ip(1), at(0)).is_some());
    assert_eq!(doorman.knock(ip(1), at(0)), None, "three of one network");
    assert!(doorman.knock(ip(2), at(0)).is_some() && doorman.knock(ip(3), at(0)).is_some());
    assert_eq!(doorman.knock(ip(4), at(0)), None, "five in all, and nobody has had its time");
    doorman.leaves(first.number);
    doorman.leaves(first.number);
    assert_eq!(doorman.guests(), 4);
    assert_eq!(doorman.knock(ip(4), at(0)).unwrap().instead_of, None);
    assert!(doorman.guests() == 5);
}

#[test]
fn t5_who_has_been_there_longest_gives_way_where_most_are() {
    let mut doorman = doorman(4, 3);
    let alone = doorman.knock(ip(1), at(0)).unwrap();
    let crowd = [1, 2, 3].map(|millis| doorman.knock(ip(2), at(millis)).unwrap().number);
    assert_eq!(doorman.knock(ip(3), at(900)), None);
    let came = doorman.knock(ip(3), at(1500)).unwrap();
    assert_eq!(came.instead_of, Some(crowd[0]));
    assert_eq!(doorman.knock(ip(4), at(1500)).unwrap().instead_of, Some(crowd[1]));
    // Now everybody is alone: the first one goes.
    assert_eq!(doorman.knock(ip(5), at(1500)).unwrap().instead_of, Some(alone.number));
    assert_eq!(doorman.guests(), 4);
}

#[test]
fn t5_of_a_crowd_some_go_at_once() {
    let mut doorman = doorman(16, 16);
    let crowd: Vec<u64> = (0..CROWD + 2).map(|_| doorman.knock(ip(1), at(0)).unwrap().number).collect();
    let several: Vec<u64> = (0..6).map(|_| doorman.knock(ip(2), at(0)).unwrap().number).collect();
    assert_eq!(doorman.knock(ip(3), at(1)).unwrap().instead_of, Some(crowd[0]));
    // One more of the crowd itself is no reason to send another one away.
    assert_eq!(doorman.knock(ip(1), at(1)), None);
    assert_eq!(doorman.knock(ip(4), at(1)).unwrap().instead_of, Some(crowd[1]));
    assert_eq!(doorman.knock(ip(5), at(1)).unwrap().instead_of, Some(crowd[2]));
    assert_eq!(doorman.knock(ip(6), at(1)), None, "seven are no crowd");
    assert!(several.iter().all(|number| doorman.guests.contains_key(number)));
}

#[test]
fn t5_a_network_knocks_so_often_and_others_do_not_notice() {
    let mut doorman = doorman(usize::MAX, usize::MAX);
    let mut knock = |network, now| {
        let let_in = doorman.knock(ip(network), now);
        if let Some(let_in) = let_in {
            doorman.leaves(let_in.number);
        }
        let_in.is_some()
    };
    let let_in = (0..1000).filter(|_| knock(1, at(0))).count();
    assert_eq!(let_in, usize::try_from(KNOCKS_AT_ONCE).unwrap());
    assert!(knock(2, at(0)));
    let every = KNOCK_EVERY.as_millis();
    let let_in = (1..=10_000).filter(|millis| knock(1, at(*millis))).count();
    assert_eq!(u128::try_from(let_in).unwrap(), 10_000 / every);
    // Left alone, it is as if it had never been.
    let let_in = (0..1000).filter(|_| knock(1, at(1_000_000))).count();
    assert_eq!(let_in, usize::try_from(KNOCKS_AT_ONCE).unwrap());
}

#[test]
fn i30_networks_are_bounded_and_forgotten() {
    let mut doorman = doorman(usize::MAX, 2);
    let count = u32::try_from(NETWORKS_MAX).unwrap();
    for network in 0..count {
        let let_in = doorman.knock(ip(network), at(0)).unwrap();
        doorman.leaves(let_in.number);
    }
    // None of them has come back to what it had: those that come now have one bucket together.
    let let_in = (count..2 * count).filter(|network| doorman.knock(ip(*network), at(0)).is_some()).count();
    assert_eq!(let_in, 2, "two guests of one network");
    assert!(doorman.networks.len() <= NETWORKS_MAX + 1);
    assert!(doorman.knock(ip(3 * count), at(10_000)).is_some());
    assert!(doorman.networks.len() < 10, "{}", doorman.networks.len());
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_must_go_is_told() {
    let door = Door::new(DoorOptions { guests_max: 1, ..DoorOptions::default() });
    let silent = door.knock(ip(1)).unwrap();
    let silent = tokio::spawn(silent.stay(std::future::pending::<()>()));
    assert!(door.knock(ip(2)).is_none());
    tokio::time::sleep(GUEST_STAYS).await;
    let newcomer = door.knock(ip(2)).unwrap();
    assert_eq!(silent.await.unwrap(), None);
    assert_eq!(door.guests(), 1);
    assert_eq!(newcomer.stay(async { 7 }).await, Some(7));
    assert_eq!(door.guests(), 0);
}
