//! Stanzas of which there is no answer, or not the right one.

use super::*;

#[test]
fn an_unreadable_stanza_is_unknown_even_if_it_was_never_known() {
    let reply = |unreadable: Vec<Option<Arc<str>>>| {
        run(vec![answer(None, None, 600, Reply::Stanzas { stanzas: vec![], unreadable })])
    };
    let after = merged(&Snapshot::default(), reply(vec![Some("db".into())]), 600);
    assert!(after.stanzas.is_empty());
    assert_eq!(
        scopes_seen(&after),
        ["all-stanzas Call false 600 None Some(Parse)", "db Stanza false 600 None Some(Parse)"]
    );
    assert!(after.collection.scopes["db"].failure.as_ref().unwrap().message.contains("stanza db"));
    // Not even its name.
    let after = merged(&Snapshot::default(), reply(vec![None]), 600);
    assert_eq!(scopes_seen(&after), ["all-stanzas Call false 600 None Some(Parse)"]);
    // What is readable in a later answer is news as usual, and the rest of an answer counts.
    let other = vec![stanza_of("other", 0, vec![repo(1, 0, 22, 600)])];
    let partly = Reply::Stanzas { stanzas: other, unreadable: vec![Some("db".into())] };
    let after = merged(&standing(), run(vec![answer(None, None, 600, partly)]), 600);
    assert_eq!(
        seen(&after),
        ["demo 1: 1=MissingStanzaPath/1/0@600 2=MissingStanzaPath/1/0@600", "other 0: 1=Ok/0/22@600"][1..]
    );
    assert!(!after.collection.scopes["db"].up && !after.collection.scopes["all-stanzas"].up);
}

#[test]
fn a_stanza_that_gives_no_answer_is_unknown_and_not_missing() {
    let filter = &Filter::default();
    let configured = &Configured { stanzas: ["new".into()].into(), repos: [1].into() };
    let policy = &Policy { filter, max_staleness: TimeDelta::seconds(HOUR), configured };
    let answers = vec![
        answer(None, None, 9, document(vec![])),
        answer(Some("new"), None, 9, silent(FailureReason::Timeout)),
        answer(Some("demo"), None, 9, silent(FailureReason::Timeout)),
    ];
    let after = merge(&standing(), run(answers), policy, at(9));
    // `demo` is not listed, which a call for it was to confirm.
    assert_eq!(seen(&after), ["demo 99: 1=Timeout/-/11@0 2=Timeout/-/12@0"]);
    let of = |name: &str| {
        let scope = &after.collection.scopes[name];
        (scope.kind, scope.up, scope.failure.as_ref().map(|failure| failure.reason))
    };
    for name in ["new", "demo"] {
        assert_eq!(of(name), (ScopeKind::Stanza, false, Some(FailureReason::Timeout)), "{name}");
    }
}

#[test]
fn of_a_stanza_with_options_of_its_own_only_its_own_answer_counts() {
    let filter = &Filter::default();
    let configured = &Configured { stanzas: ["demo".into(), "other".into()].into(), repos: [1].into() };
    let policy = &Policy { filter, max_staleness: TimeDelta::seconds(HOUR), configured };
    let of = |answers: Vec<Answer>| Run { apart: ["demo".into()].into(), ..run(answers) };
    let own = |code| {
        let repos = vec![repo(1, code, u64::from(code == 0), 9), repo(3, code, u64::from(code == 0), 9)];
        answer(Some("demo"), None, 9, document(vec![stanza_of("demo", code, repos)]))
    };
    let other = || stanza_of("other", 0, vec![repo(1, 0, 21, 9)]);
    let broken = || stanza_of("demo", 99, vec![repo(1, 99, 0, 9), repo(2, 99, 0, 9)]);
    for listed in [vec![other()], vec![broken(), other()]] {
        let listing = answer(None, None, 9, document(listed));
        for answers in [vec![listing.clone(), own(0)], vec![own(0), listing.clone()]] {
            let after = merge(&standing(), of(answers), policy, at(9));
            assert_eq!(seen(&after), ["demo 0: 1=Ok/0/1@9 3=Ok/0/1@9", "other 0: 1=Ok/0/21@9"]);
            assert!(after.collection.scopes.values().all(|scope| scope.up));
        }
        // It is missing where its own options lead to.
        let after = merge(&standing(), of(vec![listing.clone(), own(1)]), policy, at(9));
        assert_eq!(seen(&after)[0], "demo 1: 1=MissingStanzaPath/1/0@9 3=MissingStanzaPath/1/0@9");
        // Without an answer it is as it was, and nothing of it is made up.
        let hung = answer(Some("demo"), None, 9, silent(FailureReason::Timeout));
        let after = merge(&standing(), of(vec![listing.clone(), hung.clone()]), policy, at(9));
        assert_eq!(seen(&after)[0], "demo 99: 1=Timeout/-/11@0 2=Timeout/-/12@0");
        let new = merge(&Snapshot::default(), of(vec![listing, hung]), policy, at(9));
        assert_eq!(seen(&new), ["other 0: 1=Ok/0/21@9"]);
        assert!(!new.collection.scopes["demo"].up);
    }
}
