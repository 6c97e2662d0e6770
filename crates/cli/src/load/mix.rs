//! `--mix`: several behaviours, each with its share of the connections.

use super::traffic::behaviour;
use ringway_loadtest::Behaviour;

/// Behaviours and their shares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix(Vec<(Behaviour, u32)>);

/// A mix: `echo:90,idle:9,churn:1`; a behaviour with a value is `request(1s):50`.
pub(crate) fn parse_mix(text: &str) -> Result<Mix, String> {
    let parts = text.split(',').map(|part| {
        let (name, share) = part.rsplit_once(':').ok_or_else(|| format!("give {part:?} a share, as {part}:50"))?;
        let share = share.parse().ok().filter(|share| *share > 0);
        let share = share.ok_or_else(|| format!("the share of {name:?} is a number from 1"))?;
        // Parentheses, because a colon separates the share.
        let name = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            Some((name, value)) => format!("{name}:{value}"),
            None => name.to_owned(),
        };
        Ok((behaviour(&name)?, share))
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
    /// The connections of each behaviour, of `connections` in all: the largest remainders are
    /// rounded up, and each behaviour has at least one.
    pub(crate) fn connections(&self, connections: u32) -> Vec<(Behaviour, u32)> {
        let total: u64 = self.0.iter().map(|(_, share)| u64::from(*share)).sum();
        let mut parts: Vec<(u32, u64)> = self
            .0
            .iter()
            .map(|(_, share)| {
                let exact = u64::from(connections) * u64::from(*share);
                ((exact / total) as u32, exact % total)
            })
            .collect();
        let mut left = connections - parts.iter().map(|(whole, _)| whole).sum::<u32>();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(parts[*at].1));
        for at in order {
            if left > 0 {
                parts[at].0 += 1;
                left -= 1;
            }
        }
        self.0.iter().zip(parts).map(|((behaviour, _), (part, _))| (behaviour.clone(), part.max(1))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_connections() {
        let mix = parse_mix("echo:90,idle:9,churn:1").expect("a mix");
        let counts =
            |connections| -> Vec<u32> { mix.connections(connections).iter().map(|(_, count)| *count).collect() };
        assert_eq!(counts(1000), [900, 90, 10]);
        assert_eq!(counts(101), [91, 9, 1]);
        assert_eq!(counts(3), [3, 1, 1], "each has at least one");
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
