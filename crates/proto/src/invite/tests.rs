//! What people paste, and what strangers send.

use proptest::prelude::*;

use super::*;
use crate::key::KeyError;
use crate::key::testing::device_key;
use crate::roster::{DeviceName, Entries, Founding, Offer, Role};

pub(crate) fn invite() -> Invite {
    let founding = founding();
    let key = InviteSecret::from_seed(&[3; 32]);
    let offer = Offer { role: Role::Writer, uses: 1, not_after: 1_795_000_000 };
    Invite {
        founding,
        secret: ShareSecret::from_bytes([4; 32]),
        delegation: Delegation::sign(&device_key(1), &founding.share(), key.key(), offer, None).unwrap(),
        key,
        addresses: vec![address("192.0.2.7:4242"), address("[2001:db8::1]:4242")],
        trackers: vec![address("tracker.example.org:8000")],
    }
}

fn founding() -> Founding {
    Founding { creator: device_key(1).device(), random: [5; 32], cut: crate::cut::CUT }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// F14 (a), (c): the text is all that a joiner needs, and what it signs with it gives nothing secret away.
#[test]
fn an_invite_comes_back_as_it_went_and_lets_its_holder_in() {
    let text = invite().to_text().unwrap();
    let back = Invite::parse(&text).unwrap();
    assert_eq!(back, invite());
    let described = crate::roster::Described {
        name: DeviceName::parse("nas").unwrap(),
        box_key: device_key(2).box_key(),
    };
    let entry = back.join(&device_key(2), None, described).unwrap();
    let mut entries = Entries::new(founding());
    assert_eq!(entries.may_join(&entry, 1_794_999_999), Ok(Role::Writer));
    assert_eq!(entries.insert(Entry::decode(&entry.encode(), &back.share()).unwrap()), Ok(true));
    assert_eq!(entries.roster().role(&device_key(2).device()), Some(Role::Writer));
    let seed = back.key.seed();
    assert!(!entry.encode().windows(8).any(|window| seed.windows(8).any(|secret| secret == window)));
}

#[test]
fn the_text_stays_as_it_is() {
    let text = invite().to_text().unwrap();
    assert_eq!(text.len(), 493);
    assert_eq!(&text[..40], "shoal1aeuufyud5hu3fhpwsqxap5rgmfeajjq3dy");
    assert_eq!(&text[text.len() - 16..], "2haydamhfj4wwjsa");
}

#[test]
fn f8_what_mails_and_terminals_do_to_a_text_does_no_harm() {
    let text = invite().to_text().unwrap();
    let spread = |gap: &str| text.chars().map(|letter| format!("{letter}{gap}")).collect::<String>();
    for pasted in [
        text.to_ascii_uppercase(),
        format!("  \r\n{text}\n\n"),
        spread(" "),
        spread("\r\n\t"),
        spread("-"),
        spread("\u{a0}\u{200b}"),
        format!("\u{feff}{text}"),
    ] {
        assert_eq!(Invite::parse(&pasted), Ok(invite()), "{pasted:?}");
    }
}

#[test]
fn f8_what_is_no_invite_is_refused_and_says_why() {
    let text = invite().to_text().unwrap();
    let error = |text: &str| Invite::parse(text).unwrap_err();
    assert_eq!(error(""), InviteError::Empty);
    assert_eq!(error(" \n-"), InviteError::Empty);
    assert_eq!(error("https://example.org"), InviteError::NoInvite);
    assert_eq!(error("shoal"), InviteError::NoInvite);
    assert_eq!(error("shoals"), InviteError::NoInvite);
    assert_eq!(error("shoal2abc"), InviteError::OtherVersion('2'));
    assert_eq!(error("shoal2abc").to_string(), "this invite has version 2; this Shoal reads version 1");
    assert_eq!(error(&"a".repeat(1 << 20)), InviteError::TooLong(1 << 20));
    assert_eq!(error(&" ".repeat(1 << 20)), InviteError::TooLong(1 << 20));
    assert!(matches!(error("shoal1"), InviteError::CutShort { letters: 0, .. }));

    let mut typed = text.clone();
    typed.replace_range(20..21, "0");
    assert_eq!(error(&typed), InviteError::Character { place: 21, character: '0' });
    assert_eq!(error(&typed).to_string(), "'0' at place 21 does not belong into an invite");
    typed.replace_range(20..21, "\u{1b}");
    assert_eq!(error(&typed).to_string(), "'\\u{1b}' at place 21 does not belong into an invite");
    typed.replace_range(20..21, "é");
    assert_eq!(error(&typed).to_string(), "'\\u{e9}' at place 21 does not belong into an invite");

    let whole = text.len() - 6;
    assert_eq!(error(&text[..100]), InviteError::CutShort { letters: 94, whole });
    assert_eq!(error(&text[..text.len() - 1]), InviteError::CutShort { letters: whole - 1, whole });
    assert_eq!(error(&format!("{text}a")), InviteError::Surplus { letters: whole + 1, whole });
    assert_eq!(
        error(&format!("{text}{text}")),
        InviteError::Character { place: text.len() + 6, character: '1' }
    );
}

/// A checksum of 40 bits finds every typo but one in a million millions; each single one here is tried.
#[test]
fn f8_every_wrong_letter_and_every_two_swapped_ones_are_noticed() {
    let text = invite().to_text().unwrap();
    for at in 6..text.len() {
        let mut typed = text.clone().into_bytes();
        typed[at] = if typed[at] == b'a' { b'q' } else { b'a' };
        let error = Invite::parse(core::str::from_utf8(&typed).unwrap()).unwrap_err();
        let expected = matches!(
            error,
            InviteError::Checksum | InviteError::CutShort { .. } | InviteError::Surplus { .. }
        );
        assert!(expected, "{at}: {error}");
        assert!(at < 10 || error == InviteError::Checksum, "{at}: {error}");
    }
    for at in 6..text.len() - 1 {
        let mut typed = text.clone().into_bytes();
        typed.swap(at, at + 1);
        assert!(typed == text.as_bytes() || Invite::parse(core::str::from_utf8(&typed).unwrap()).is_err());
    }
    for end in 0..text.len() {
        assert!(Invite::parse(&text[..end]).is_err(), "{end}");
    }
}

/// The text of an invite with this body: its maker knows how checksums are made.
fn crafted(body: &InviteWire<'_>) -> String {
    let body = crate::body::encode(body);
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let bytes = [&length[..], &body, &checksum(&body)].concat();
    format!("shoal1{}", data_encoding::BASE32_NOPAD.encode(&bytes))
}

#[test]
fn t13_a_crafted_invite_is_refused_and_says_why() {
    let invite = invite();
    let began = invite.founding.encode();
    let error = |change: &dyn Fn(&mut InviteWire<'_>)| {
        let mut wire = InviteWire::of(&invite, &began);
        change(&mut wire);
        Invite::parse(&crafted(&wire)).unwrap_err()
    };
    let list = |addresses: &[&'static str]| addresses.iter().copied().collect();
    let many = vec!["a:1"; 1000];
    assert_eq!(error(&|wire| wire.addresses = list(&many)), InviteError::Addresses(1001));
    assert_eq!(error(&|wire| wire.trackers = ["a:1"; 9].into_iter().collect()), InviteError::Addresses(11));
    assert_eq!(error(&|wire| wire.addresses = list(&["a\u{1b}[2J:1"])), AddressError::Host.into());
    assert_eq!(error(&|wire| wire.addresses = list(&["10.0.0.1"])), AddressError::Port.into());
    assert_eq!(error(&|wire| wire.role = 3), DelegationError::Role.into());
    assert_eq!(error(&|wire| wire.role = 9), DelegationError::UnknownRole(9).into());
    assert_eq!(error(&|wire| wire.uses = 0), DelegationError::Uses(0).into());
    assert_eq!(error(&|wire| wire.signature = &[1; 63]), SignedError::CutShort(63).into());
    let forged = DelegationError::Key { signer: invite.delegation.signer, error: KeyError::Signature };
    assert_eq!(error(&|wire| wire.uses = 1000), InviteError::Delegation(forged.clone()));
    let other = Founding { random: [1; 32], ..invite.founding }.encode();
    let wire = InviteWire::of(&invite, &other);
    assert_eq!(Invite::parse(&crafted(&wire)), Err(InviteError::Delegation(forged.clone())));
    let cut = Founding { cut: 9, ..invite.founding }.encode();
    let wire = InviteWire::of(&invite, &cut);
    assert_eq!(Invite::parse(&crafted(&wire)), Err(FoundingError::Cut(9).into()));
    let short = InviteWire::of(&invite, &began[1..]);
    assert_eq!(Invite::parse(&crafted(&short)), Err(FoundingError::Length(65).into()));
    assert_eq!(error(&|wire| wire.seed = [1; 32]), InviteError::Delegation(forged));
    let weak = DelegationError::Key { signer: DeviceId::from_bytes([0; 32]), error: KeyError::Weak };
    assert_eq!(error(&|wire| wire.signer = Some([0; 32])), InviteError::Delegation(weak));

    let body = [crate::body::encode(&InviteWire::of(&invite, &began)), vec![0]].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let bytes = [&length[..], &body, &checksum(&body)].concat();
    let text = format!("shoal1{}", data_encoding::BASE32_NOPAD.encode(&bytes));
    assert_eq!(Invite::parse(&text), Err(SignedError::Surplus(1).into()));
}

#[test]
fn an_invite_of_the_largest_size_is_read_and_one_address_more_is_refused() {
    let longest =
        address(&format!("{}.{}:65535", ["a"; 3].map(|label| label.repeat(63)).join("."), "b".repeat(61)));
    assert_eq!(longest.as_str().len(), ADDRESS_BYTES_MAX);
    let mut large = invite();
    large.addresses = vec![longest.clone(); INVITE_ADDRESSES_MAX];
    large.trackers = vec![longest.clone(); INVITE_TRACKERS_MAX];
    assert_eq!(Invite::parse(&large.to_text().unwrap()), Ok(large.clone()));
    large.trackers.push(longest);
    assert_eq!(large.to_text(), Err(InviteError::Addresses(25)));
}

#[test]
fn addresses_are_hosts_with_ports() {
    for fine in ["127.0.0.1:1", "[::1]:65535", "nas:80", "my_nas.example.org.:80", "1a.example:4"] {
        assert_eq!(Address::parse(fine).unwrap().to_string(), fine);
    }
    for (text, error) in [
        ("", AddressError::Port),
        ("nas", AddressError::Port),
        ("nas:", AddressError::Port),
        ("nas:0", AddressError::Port),
        ("nas:65536", AddressError::Port),
        ("nas:+80", AddressError::Port),
        (":80", AddressError::Host),
        ("::1:80", AddressError::Host),
        ("[::1:80", AddressError::Host),
        ("[nas]:80", AddressError::Host),
        ("300.0.0.1:80", AddressError::Host),
        ("10.1:80", AddressError::Host),
        ("-nas:80", AddressError::Host),
        ("a..b:80", AddressError::Host),
        ("a b:80", AddressError::Host),
        ("a/b:80", AddressError::Host),
        ("ä:80", AddressError::Host),
        ("[fe80::1%eth0]:80", AddressError::Host),
    ] {
        assert_eq!(Address::parse(text), Err(error), "{text}");
    }
    assert_eq!(Address::parse(&"a".repeat(300)), Err(AddressError::TooLong(300)));
    let loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "LocalHost:1"];
    assert!(loopback.iter().all(|text| address(text).is_loopback()));
    assert!(!address("10.0.0.1:1").is_loopback() && !address("[2001:db8::1]:1").is_loopback());
}

#[test]
fn i28_an_invite_is_shown_by_its_text_only() {
    let shown = format!("{:?}", invite());
    assert!(shown.contains("ShareSecret(hidden)") && shown.contains("InviteSecret(of "));
    assert!(!shown.contains("3, 3, 3") && !shown.contains("4, 4, 4"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_without_harm(text in "(shoal1)?[ -~\\n]{0,400}|\\PC{0,100}") {
        prop_assert!(Invite::parse(&text).is_err());
    }

    #[test]
    fn any_body_is_refused_without_harm(body in prop::collection::vec(any::<u8>(), 0..600)) {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let bytes = [&length[..], &body, &checksum(&body)].concat();
        let text = format!("shoal1{}", data_encoding::BASE32_NOPAD.encode(&bytes));
        prop_assert!(Invite::parse(&text).is_err());
    }
}
