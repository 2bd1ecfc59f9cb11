//! How many may be connected at once: in all, and from one address.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use tokio::sync::Notify;

/// All seats, taken and free.
#[derive(Debug)]
pub(crate) struct Seats {
    max: usize,
    per_address_max: usize,
    taken: Cell<usize>,
    by_address: RefCell<BTreeMap<IpAddr, usize>>,
    freed: Notify,
}

/// A connection's permission to be there; dropping it frees the seat.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Rc<Seats>,
    address: IpAddr,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NoSeat {
    #[error("there are as many connections as are accepted")]
    Full,
    #[error("there are as many connections from that address as are accepted")]
    AddressFull,
}

impl Seats {
    pub(crate) fn new(max: usize, per_address_max: usize) -> Rc<Self> {
        Rc::new(Self {
            max,
            per_address_max,
            taken: Cell::new(0),
            by_address: RefCell::default(),
            freed: Notify::new(),
        })
    }

    /// A seat for somebody from that address.
    pub(crate) fn take(self: &Rc<Self>, ip: IpAddr) -> Result<Seat, NoSeat> {
        if self.taken.get() >= self.max {
            return Err(NoSeat::Full);
        }
        let address = household(ip);
        let mut by_address = self.by_address.borrow_mut();
        let taken = by_address.get(&address).copied().unwrap_or(0);
        if taken >= self.per_address_max {
            return Err(NoSeat::AddressFull);
        }
        by_address.insert(address, taken + 1);
        self.taken.set(self.taken.get() + 1);
        Ok(Seat { seats: Rc::clone(self), address })
    }

    /// How many seats are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// Waits until somebody leaves.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.set(self.seats.taken.get() - 1);
        let mut by_address = self.seats.by_address.borrow_mut();
        if let Some(taken) = by_address.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&self.address);
            }
        }
        self.seats.freed.notify_waiters();
    }
}

/// What counts as one address: of IPv6 the network part, since the rest is its owner's to choose.
pub(crate) fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b30_seats_are_bounded_in_all_and_per_address_and_come_back() {
        let seats = Seats::new(3, 2);
        let take = |ip: &str| seats.take(ip.parse().unwrap());
        let first = take("10.0.0.1").unwrap();
        let _second = take("::ffff:10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.1").unwrap_err(), NoSeat::AddressFull);
        let _third = take("10.0.0.2").unwrap();
        assert_eq!(take("10.0.0.3").unwrap_err(), NoSeat::Full);
        drop(first);
        assert_eq!(seats.taken(), 2);
        let _fourth = take("10.0.0.1").unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let seats = Seats::new(9, 1);
        let _seat = seats.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(seats.take("2001:db8::2:1".parse().unwrap()).is_err());
        assert!(seats.take("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
