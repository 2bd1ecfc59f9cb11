//! Amounts as people write them: `30d`, `10 GiB`.

use std::time::Duration;

/// A time from a second to a hundred years: a whole number and a unit, like `90s`, `15m`, `12h`, `30d` or `4w`.
///
/// # Errors
/// What would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time like \"90s\", \"15m\", \"12h\", \"30d\" or \"4w\"".to_owned();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 60 * 60,
        "d" => DAY,
        "w" => 7 * DAY,
        _ => return Err(wrong()),
    };
    let whole = number.checked_mul(seconds).filter(|whole| (1..=100 * 366 * DAY).contains(whole));
    whole.map(Duration::from_secs).ok_or_else(|| "give a time from 1 second to 100 years".into())
}

const DAY: u64 = 24 * 60 * 60;

/// A number of bytes: a whole number and a unit, like `500 MB` or `10 GiB`.
///
/// # Errors
/// What would be right.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "give a size like \"500 MB\", \"10 GiB\" or \"1 TiB\"".to_owned();
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let unit = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|whole| *whole < 1 << 62)
        .ok_or_else(|| "this is more than any disk holds".into())
}

/// Plain digits, and what follows.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    // A number that is too long for us is too large as well.
    (end > 0).then(|| (number.parse().unwrap_or(u64::MAX), unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2 w"), Ok(Duration::from_secs(14 * DAY)));
        assert_eq!(bytes("10 GiB"), Ok(10 << 30));
        assert_eq!(bytes("0B"), Ok(0));
        for text in
            ["", "5", "d", "-1d", "1.5h", "0s", "1e3s", "99999999999999999999d", "36601d", "٣d", "1 D"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "5", "-1 GB", "10 gib", "99999999999999999999 B", "9999999999 TiB", " 5 B"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
