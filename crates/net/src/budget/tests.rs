//! What may be called, over hours and days of a clock of the tests.

use super::*;
use crate::limits::{ADDRESSES_MAX, CALLS_MAX, NETWORK_CALLS_MAX};

const OTHERS: NamedBy = NamedBy::Others { is_here: false };

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Calls as soon as may be, for so long; each call ends at once. How often it was called, and when.
fn calls(budget: &mut Budget, addresses: &[SocketAddr], how: Ended, from: Time, until: Time) -> Vec<Time> {
    let (mut now, mut calls) = (from, Vec::new());
    while now < until {
        for address in addresses {
            if budget.begin(*address, OTHERS, now).is_ok() {
                budget.ended(*address, how, now);
                calls.push(now);
            }
        }
        now += Duration::from_secs(if addresses.len() > 1 { 60 } else { 1 });
    }
    calls
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn t4_a_strangers_address_is_called_three_times_an_hour() {
    let mut budget = Budget::new(1);
    let calls = calls(&mut budget, &[address("192.0.2.1:80")], Ended::Failed, Duration::ZERO, DAY);
    assert!((60..=72).contains(&calls.len()), "{}", calls.len());
    for hour in calls.windows(usize::from(TRIES_PER_HOUR) + 1) {
        assert!(hour[usize::from(TRIES_PER_HOUR)] - hour[0] >= HOUR);
    }
}

#[test]
fn t4_so_is_a_whole_network_with_many_ports() {
    let mut budget = Budget::new(1);
    let ports: Vec<SocketAddr> = (1..=100).map(|port| SocketAddr::new([192, 0, 2, 1].into(), port)).collect();
    let calls = calls(&mut budget, &ports, Ended::Failed, Duration::ZERO, HOUR * 3);
    let most = usize::from(NETWORK_TRIES_PER_HOUR);
    assert!(calls.len() <= 3 * most && calls.len() >= 2 * most, "{}", calls.len());
    assert!(calls.windows(most + 1).all(|hour| hour[most] - hour[0] >= HOUR));
    // Neighbours in a /64 are one network, and others are not held back by it.
    assert!(budget.begin(address("[2001:db8::1]:1"), OTHERS, HOUR * 3).is_ok());
    assert!(budget.begin(address("192.0.2.2:80"), OTHERS, HOUR * 3).is_ok());
}

#[test]
fn where_somebody_was_reached_is_called_again_and_ever_more_rarely() {
    let (mut budget, at) = (Budget::new(7), address("192.0.2.1:80"));
    budget.begin(at, OTHERS, Duration::ZERO).unwrap();
    budget.ended(at, Ended::Reached, Duration::ZERO);
    let calls = calls(&mut budget, &[at], Ended::Failed, Duration::ZERO, HOUR * 2);
    let waits: Vec<u64> = calls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert!(waits[0] <= 2 && waits[3] > waits[0] && waits[6] > waits[3], "{waits:?}");
    let longest = BACK_OFF_MAX.as_secs();
    assert!(
        waits[10..].iter().all(|wait| (longest * 3 / 4..=longest * 5 / 4 + 1).contains(wait)),
        "{waits:?}"
    );
    assert!(calls.len() > 24, "{}", calls.len());
}

#[test]
fn trust_ends_when_nobody_is_reached_for_long() {
    let (mut budget, at) = (Budget::new(7), address("192.0.2.1:80"));
    budget.trusted(at, Duration::ZERO);
    assert!(calls(&mut budget, &[at], Ended::Failed, Duration::ZERO, HOUR).len() > 10);
    let later = REACHED_FOR + HOUR;
    assert!(calls(&mut budget, &[at], Ended::Failed, later, later + HOUR).len() <= 3);
}

#[test]
fn waits_differ_by_seed_and_not_by_run() {
    let waits = |seed| {
        let (mut budget, at) = (Budget::new(seed), address("127.0.0.1:80"));
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..8 {
            budget.begin(at, NamedBy::User, now).unwrap();
            budget.ended(at, Ended::Failed, now);
            let Err(Held::Wait(wait)) = budget.may_begin(at, NamedBy::User, now) else { panic!("it waits") };
            waits.push(wait);
            now += wait;
        }
        waits
    };
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn i30_calls_under_way_are_bounded_in_all_and_for_each_network() {
    let mut budget = Budget::new(1);
    let at = |network: usize, port: usize| {
        SocketAddr::new([10, 0, 0, u8::try_from(network).unwrap()].into(), u16::try_from(port).unwrap())
    };
    let begun = (1..100).filter(|port| budget.begin(at(1, *port), OTHERS, Duration::ZERO).is_ok()).count();
    assert_eq!(begun, NETWORK_CALLS_MAX);
    assert_eq!(budget.may_begin(at(1, 99), OTHERS, Duration::ZERO), Err(Held::Busy));
    let begun =
        (2..200).filter(|network| budget.begin(at(*network, 1), OTHERS, Duration::ZERO).is_ok()).count();
    assert_eq!(begun, CALLS_MAX - NETWORK_CALLS_MAX);
    budget.ended(at(1, 1), Ended::GivenUp, Duration::ZERO);
    budget.ended(at(1, 1), Ended::GivenUp, Duration::ZERO);
    assert!(budget.begin(at(250, 1), OTHERS, Duration::ZERO).is_ok());
    assert_eq!(budget.may_begin(at(251, 1), OTHERS, Duration::ZERO), Err(Held::Busy));
}

#[test]
fn one_address_is_not_called_twice_at_a_time() {
    let (mut budget, at) = (Budget::new(1), address("192.0.2.1:80"));
    budget.begin(at, OTHERS, Duration::ZERO).unwrap();
    assert!(matches!(budget.begin(at, OTHERS, Duration::ZERO), Err(Held::Wait(_))));
    // Also not under its other name.
    assert!(matches!(
        budget.begin(address("[::ffff:192.0.2.1]:80"), OTHERS, Duration::ZERO),
        Err(Held::Wait(_))
    ));
}

#[test]
fn t4_more_addresses_than_are_remembered_get_no_more_calls() {
    let mut budget = Budget::new(1);
    let mut begun = 0;
    for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 50 {
        let at = SocketAddr::new(IpAddr::V4((0x0a00_0000 + number).into()), 80);
        if budget.begin(at, OTHERS, Duration::ZERO).is_ok() {
            budget.ended(at, Ended::Failed, Duration::ZERO);
            begun += 1;
        }
    }
    assert_eq!((begun, budget.known.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
    let fresh = address("192.0.2.1:80");
    assert_eq!(budget.may_begin(fresh, OTHERS, Duration::from_secs(60)), Err(Held::Busy));
    assert!(budget.begin(fresh, OTHERS, HOUR).is_ok());
    assert_eq!(budget.known.len(), ADDRESSES_MAX);
}

#[test]
fn our_own_address_is_not_called() {
    let mut budget = Budget::new(1);
    budget.own(&[address("192.0.2.1:80")]);
    assert_eq!(budget.may_begin(address("192.0.2.1:80"), NamedBy::User, Duration::ZERO), Err(Held::Own));
    assert!(budget.may_begin(address("192.0.2.1:81"), NamedBy::User, Duration::ZERO).is_ok());
}

#[test]
fn who_is_heard_again_is_called_soon_but_a_stranger_not_more_often() {
    let (mut budget, at) = (Budget::new(1), address("192.0.2.1:80"));
    budget.trusted(at, Duration::ZERO);
    let _ = calls(&mut budget, &[at], Ended::Failed, Duration::ZERO, HOUR);
    assert!(matches!(budget.may_begin(at, OTHERS, HOUR), Err(Held::Wait(wait)) if wait > BACK_OFF * 10));
    budget.hurry(at, HOUR);
    assert!(budget.may_begin(at, OTHERS, HOUR + BACK_OFF).is_ok());
    let stranger = address("192.0.2.2:80");
    let calls = calls(&mut budget, &[stranger], Ended::Failed, HOUR, HOUR + HOUR / 2);
    assert_eq!(calls.len(), 3);
    budget.hurry(stranger, HOUR + HOUR / 2);
    assert!(budget.may_begin(stranger, OTHERS, HOUR + HOUR / 2 + BACK_OFF).is_err());
}
