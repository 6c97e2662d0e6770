//! The speed of the network interface on the way to a target.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// The speed of the interface to `target` in bits per second.
///
/// # Errors
/// A sentence with the reason why it is unknown.
pub(crate) fn bits_per_second(target: IpAddr) -> Result<f64, String> {
    let unknown = |why: &str| format!("the speed of the network to {target}: {why}");
    let IpAddr::V4(address) = target.to_canonical() else {
        return Err(unknown("/proc/net/route has IPv4 only"));
    };
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let Some(interface) = route(&routes, address) else {
        return Err(unknown("/proc/net/route has no route to it"));
    };
    let speed = fs::read_to_string(format!("/sys/class/net/{interface}/speed"));
    speed
        .ok()
        .and_then(|speed| parse_speed(&speed))
        .ok_or_else(|| unknown(&format!("{interface} has none, as virtual ones")))
}

/// The interface of the most specific route: the columns of `/proc/net/route` are `Iface
/// Destination Gateway Flags RefCnt Use Metric Mask …`, the addresses in hexadecimal digits of the
/// machine's byte order.
fn route(routes: &str, target: Ipv4Addr) -> Option<&str> {
    let target = u32::from_ne_bytes(target.octets());
    let matching = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let (destination, mask) = (hex(1)?, hex(7)?);
        // Set bits, so that the byte order does not matter.
        (target & mask == destination).then_some((mask.count_ones(), *fields.first()?))
    });
    // Of equal routes the first one has the lowest metric.
    let best = matching.reduce(|best, route| if route.0 > best.0 { route } else { best });
    best.map(|(_, interface)| interface)
}

/// The speed in bits per second. The file has Mbit/s, or -1 if it is unknown.
fn parse_speed(text: &str) -> Option<f64> {
    text.trim().parse::<i64>().ok().filter(|mbit| *mbit > 0).map(|mbit| mbit as f64 * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address in the notation of `/proc/net/route` on this machine.
    fn hex(address: [u8; 4]) -> String {
        format!("{:08X}", u32::from_ne_bytes(address))
    }

    #[test]
    fn the_most_specific_route_has_the_interface() {
        let line = |name: &str, to, mask, metric| {
            format!("{name}\t{}\t00000000\t0003\t0\t0\t{metric}\t{}\t0\t0\t0\n", hex(to), hex(mask))
        };
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n".to_owned()
            + &line("eth0", [0; 4], [0; 4], 100)
            + &line("wlan0", [0; 4], [0; 4], 600)
            + &line("eth1", [10, 1, 0, 0], [255, 255, 0, 0], 0);
        assert_eq!(route(&routes, [10, 1, 2, 3].into()), Some("eth1"));
        assert_eq!(route(&routes, [10, 2, 2, 3].into()), Some("eth0"));
        assert_eq!(route("Iface\n", [10, 2, 2, 3].into()), None);
    }

    #[test]
    fn an_unknown_speed_is_none() {
        assert_eq!((parse_speed("1000\n"), parse_speed("-1\n"), parse_speed("")), (Some(1e9), None, None));
        assert!(bits_per_second([0xfd; 16].into()).expect_err("IPv6").contains("IPv4 only"));
    }
}
