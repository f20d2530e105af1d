//! What holds for any course of events.

use proptest::prelude::*;

use super::*;

fn any_stanzas(keys: Vec<u32>, read_at: i64, base: u64) -> impl Strategy<Value = Vec<Stanza>> {
    let names = prop::sample::subsequence(vec!["a", "b", "c", UNLISTED], 0..=4);
    let codes = prop::collection::vec(prop::sample::select(vec![0i64, 1, 2, 3, 99]), 16);
    (names, codes).prop_map(move |(names, codes)| {
        let mut codes = codes.into_iter();
        let mut mark = base;
        let mut of = |name: &str, key| {
            let code = if name == UNLISTED { 99 } else { codes.next().unwrap() };
            mark += 1;
            repo(key, code, if matches!(code, 0 | 2) { mark } else { 0 }, read_at)
        };
        names.iter().map(|name| stanza_of(name, 0, keys.iter().map(|key| of(name, *key)).collect())).collect()
    })
}

fn any_answer(position: usize) -> impl Strategy<Value = Answer> {
    let (base, seconds) = (1000 * (position as u64 + 1), 600 + i64::try_from(position).unwrap());
    let repo = prop::sample::select(vec![None, Some(1), Some(2)]);
    repo.prop_flat_map(move |repo| {
        let keys = repo.map_or(vec![1, 2], |key| vec![key]);
        prop_oneof![
            4 => (any_stanzas(keys, seconds, base), any::<bool>())
                .prop_map(|(stanzas, complete)| {
                    let unreadable = if complete { vec![] } else { vec![None, Some("d".into())] };
                    Reply::Stanzas { stanzas, unreadable }
                }),
            1 => Just(silent(FailureReason::Timeout)),
            1 => Just(Reply::NotConfigured),
        ]
        .prop_map(move |reply| answer(None, repo, seconds, reply))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answered_fact_is_never_lost_and_none_is_made_up(
        before in any_stanzas(vec![1, 2], 0, 0),
        answers in (any_answer(0), any_answer(1), any_answer(2)),
        finished: bool,
        later in 1000i64..2 * HOUR,
    ) {
        let before = merged(&Snapshot::default(), run(vec![answer(None, None, 0, document(before))]), 0);
        let answers = vec![answers.0, answers.1, answers.2];
        let course = Run { answers: answers.clone(), finished, ..Run::default() };
        let after = merged(&before, course, later);
        // The last answer that names a repository of a stanza decides.
        let mut named = BTreeMap::new();
        for answer in &answers {
            let Reply::Stanzas { stanzas, .. } = &answer.reply else { continue };
            for stanza in stanzas {
                named.extend(stanza.repos.iter().map(|repo| ((stanza.name.clone(), repo.key), repo.clone())));
            }
        }
        for ((name, key), expected) in &named {
            let found = after.stanza(name).and_then(|stanza| stanza.repo(*key));
            prop_assert!(found.is_some(), "{} repo{} was named and is lost", name, key);
            let Some(found) = found else { continue };
            prop_assert_eq!(found.status_code, expected.status_code);
            if expected.status_code != Some(99) {
                prop_assert_eq!(found, expected);
            }
        }
        for stanza in &after.stanzas {
            for repo in &stanza.repos {
                let key = (stanza.name.clone(), repo.key);
                let old = before.stanza(&stanza.name).and_then(|stanza| stanza.repo(repo.key));
                let sources: Vec<&Repo> = named.get(&key).into_iter().chain(old).collect();
                for database in &repo.databases {
                    prop_assert!(
                        sources.iter().any(|source| source.collected_at == repo.collected_at
                            && source.databases.contains(database)),
                        "{} repo{}: {:?}", stanza.name, repo.key, database
                    );
                    prop_assert!(repo.collected_at >= at(later - HOUR) || named.contains_key(&key));
                }
            }
        }
        for scope in after.collection.scopes.values() {
            prop_assert!(!scope.up || scope.failure.is_none());
        }
    }
}
