//! `--mix`: several behaviours, each with its share of the connections.

use ringway_loadtest::Behaviour;

/// The maximum share of a behaviour.
const MAX_SHARE: u32 = 1_000_000;

/// Behaviours and their shares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix(Vec<(Behaviour, u32)>);

/// A mix: `echo:90,idle:9,churn:1`; a behaviour with a value is `request(1s):50`.
pub(crate) fn parse_mix(text: &str) -> Result<Mix, String> {
    let parts = text.split(',').map(|part| {
        let (name, share) = part.rsplit_once(':').ok_or_else(|| format!("give {part:?} a share, as {part}:50"))?;
        let share = share.parse().ok().filter(|share| (1..=MAX_SHARE).contains(share));
        let share = share.ok_or_else(|| format!("the share of {name:?} is a number from 1 to {MAX_SHARE}"))?;
        // Parentheses, because a colon separates the share.
        let name = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            Some((name, value)) => format!("{name}:{value}"),
            None => name.to_owned(),
        };
        Ok((name.parse()?, share))
    });
    let parts = parts.collect::<Result<Vec<(Behaviour, u32)>, String>>()?;
    for (index, (behaviour, _)) in parts.iter().enumerate() {
        if parts[..index].iter().any(|(other, _)| other.name() == behaviour.name()) {
            return Err(format!(
                "{} is given twice; a scenario file can have populations of one kind",
                behaviour.name()
            ));
        }
    }
    Ok(Mix(parts))
}

impl Mix {
    /// The connections of each behaviour, of `connections` in all. The largest remainders are
    /// rounded up; a behaviour whose share is below one connection has one of those of the largest.
    ///
    /// # Errors
    /// Fewer connections than behaviours.
    pub(crate) fn connections(&self, connections: u32) -> Result<Vec<(Behaviour, u32)>, String> {
        if (connections as usize) < self.0.len() {
            let behaviours = self.0.len();
            return Err(format!(
                "--mix has {behaviours} behaviours, and -c {connections} connections: give at least {behaviours}"
            ));
        }
        let total: u64 = self.0.iter().map(|(_, share)| u64::from(*share)).sum();
        let exact = |share: u32| u64::from(connections) * u64::from(share);
        // A part is at most `connections`.
        let mut parts: Vec<u32> = self.0.iter().map(|(_, share)| (exact(*share) / total) as u32).collect();
        let left = connections - parts.iter().sum::<u32>();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(exact(self.0[*at].1) % total));
        order.iter().take(left as usize).for_each(|at| parts[*at] += 1);
        while let Some(none) = parts.iter().position(|part| *part == 0) {
            // There are at least as many connections as parts, so the largest part has two.
            let largest = (0..parts.len()).max_by_key(|at| parts[*at]).unwrap_or_default();
            parts[largest] -= 1;
            parts[none] = 1;
        }
        Ok(self.0.iter().zip(parts).map(|((behaviour, _), part)| (behaviour.clone(), part)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_connections() {
        let mix = parse_mix("echo:90,idle:9,churn:1").expect("a mix");
        let counts = |connections| -> Result<Vec<u32>, String> {
            Ok(mix.connections(connections)?.iter().map(|(_, count)| *count).collect())
        };
        assert_eq!(counts(1000), Ok(vec![900, 90, 10]));
        assert_eq!(counts(101), Ok(vec![91, 9, 1]));
        assert_eq!(counts(10), Ok(vec![8, 1, 1]), "each has at least one");
        assert_eq!(counts(3), Ok(vec![1, 1, 1]));
        assert_eq!(counts(2), Err("--mix has 3 behaviours, and -c 2 connections: give at least 3".into()));
        assert_eq!(
            counts(u32::MAX).map(|counts| counts.iter().map(|count| u64::from(*count)).sum()),
            Ok(u64::from(u32::MAX))
        );
    }

    #[test]
    fn values_are_in_parentheses() {
        let mix = parse_mix("request(1s-5s):2,idle(20s):1").expect("a mix");
        assert_eq!(mix.0.len(), 2);
        for wrong in ["echo", "echo:0", "echo:x", "echo:1,echo:2", "walk:1"] {
            assert!(parse_mix(wrong).is_err(), "{wrong}");
        }
    }
}
