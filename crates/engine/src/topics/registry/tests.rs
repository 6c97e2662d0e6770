use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;

/// Checks that both lists of each subscription name each other.
fn assert_consistent(registry: &Registry) {
    let mut count = 0;
    for (index, subscriber) in registry.subscribers.iter().enumerate() {
        let Some(subscriber) = subscriber else { continue };
        assert!(!subscriber.subscriptions.is_empty());
        for (back, subscription) in subscriber.subscriptions.iter().enumerate() {
            let member = registry.topic(subscription.topic).members[subscription.place as usize];
            assert_eq!(member, Member { index: index as u32, back: back as u32 });
            count += 1;
        }
    }
    let members: usize = registry.topics.iter().flatten().map(|topic| topic.members.len()).sum();
    assert_eq!((members, registry.subscriptions()), (count, count));
    assert_eq!(registry.topics.iter().flatten().count(), registry.len());
}

#[test]
fn a_registry_is_a_set_of_pairs() {
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut registry, mut model) = (Registry::default(), BTreeSet::new());
        for _ in 0..400 {
            let (index, name) = (rng.random_range(0..12_u32), format!("topic {}", rng.random_range(0..8)));
            match rng.random_range(0..10) {
                0..6 => {
                    let topic = registry.intern(&name, 100).expect("there are few");
                    let is_new = model.insert((index, name));
                    assert_eq!(registry.join(index, topic, 100, 7), Ok(is_new));
                }
                6..9 => {
                    let was = model.remove(&(index, name.clone()));
                    let topic = registry.find(&name);
                    assert_eq!(topic.is_some_and(|topic| registry.leave(index, topic)), was);
                    topic.into_iter().for_each(|topic| registry.release_unused(topic));
                }
                _ => {
                    while let Some(topic) = registry.leave_last(index) {
                        let name = registry.topic(topic).name.to_string();
                        assert!(model.remove(&(index, name)));
                        registry.release_unused(topic);
                    }
                    assert!(model.iter().all(|(other, _)| *other != index));
                }
            }
            assert_consistent(&registry);
            assert_eq!(registry.subscriptions(), model.len());
        }
        for (index, name) in &model {
            let topic = registry.find(name).expect("it has a member");
            assert!(registry.is_member(*index, topic));
        }
        let names: BTreeSet<&String> = model.iter().map(|(_, name)| name).collect();
        assert_eq!(registry.len(), names.len(), "topics without members are released");
    }
}

#[test]
fn a_refused_subscription_leaves_nothing_behind() {
    let mut registry = Registry::default();
    let one = registry.intern("one", 2).expect("the first");
    let two = registry.intern("two", 2).expect("the second");
    assert_eq!(registry.intern("three", 2), Err(TopicLimit::Topics(2)));
    assert_eq!(registry.intern("two", 2), Ok(two));
    assert_eq!(registry.join(5, one, 1, 0), Ok(true));
    assert_eq!(registry.join(5, two, 1, 0), Err(TopicLimit::Subscriptions(1)));
    assert_consistent(&registry);
    registry.release_unused(two);
    assert_eq!((registry.len(), registry.find("two")), (1, None));
    assert!(registry.leave(5, one) && !registry.leave(5, one));
    assert!(registry.subscriber(5).is_none());
}

#[test]
fn a_topic_with_entries_in_the_log_is_not_released() {
    let mut registry = Registry::default();
    let topic = registry.intern("news", 1).expect("the first");
    assert_eq!(registry.join(1, topic, 1, 0), Ok(true));
    registry.note(topic, 40);
    registry.note(topic, 42);
    assert_eq!(registry.with_entries(1, 42).collect::<Vec<_>>(), [topic]);
    assert_eq!(registry.with_entries(1, 43).count(), 0);
    assert_eq!(registry.topic(topic).positions(41..50), 1..2);
    assert!(registry.leave(1, topic));
    registry.release_unused(topic);
    assert_eq!(registry.find("news"), Some(topic));
    registry.topic_mut(topic).entries.clear();
    registry.release_unused(topic);
    assert_eq!(registry.find("news"), None);
}

#[test]
fn a_list_has_at_most_a_quarter_of_unused_memory() {
    let mut list = Vec::new();
    for number in 0..100_000 {
        push_slowly(&mut list, number);
        assert!(list.capacity() <= list.len() + (list.len() / 4).max(4));
    }
}
