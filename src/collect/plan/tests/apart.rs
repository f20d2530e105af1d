//! Stanzas with options of their own, and what is confirmed by name.

use super::*;

fn apart(world: &World, names: &[&str]) -> KnownTargets {
    KnownTargets { apart: names.iter().map(|name| Arc::from(*name)).collect(), ..world.known() }
}

#[test]
fn stanzas_with_options_of_their_own_are_asked_for_by_name() {
    let well = World::new(3, &[1, 2]);
    let (filter, mut memory) = (Filter::default(), PlanState::default());
    let ask = |world: &World, memory: &mut PlanState| {
        world.run_with(memory, apart(world, &["s001"]), &filter, u64::MAX)
    };
    assert_eq!(ask(&well, &mut memory).calls, ["*/*", "s001/*"]);
    // It is isolated by repository like the rest, and by itself.
    let hung = World::new(3, &[1, 2]).hang(Some("s001"), Some(2));
    let first = ask(&hung, &mut memory);
    assert_eq!(first.calls, ["*/*", "s001/*", "*/1", "*/2", "s001/1", "s001/2", "s000/2", "s002/2"]);
    assert_eq!(first.silent, ["s001/2"]);
    // The call for everything no longer touches it in this world.
    let only = World::new(3, &[1, 2]);
    for _ in 0..4 {
        ask(&only, &mut memory);
    }
    assert_eq!(ask(&only, &mut memory).calls, ["*/*", "s001/*"]);
    let included = Filter::new(&["s000".to_owned()], &[], None, None, &[]).unwrap();
    let course = well.run_with(&mut PlanState::default(), apart(&well, &["s001"]), &included, u64::MAX);
    assert_eq!(course.calls, ["s000/*"], "what is not selected is not asked for");
}

#[test]
fn where_only_sections_of_stanzas_have_the_options_each_stanza_is_asked_for() {
    let world = World { needs_stanza: true, ..World::new(3, &[1]) };
    let mut memory = PlanState::default();
    for _ in 0..3 {
        let course = world.run_with(&mut memory, apart(&world, &["s001"]), &Filter::default(), u64::MAX);
        assert_eq!(course.calls, ["*/*", "s001/*", "s000/*", "s002/*"]);
        assert!(course.silent.is_empty(), "that is no failure: {:?}", course.silent);
    }
}

#[test]
fn what_is_missing_or_broken_is_confirmed_by_name() {
    let names =
        |numbers: std::ops::Range<usize>| numbers.map(|number| format!("s{number:03}")).collect::<Vec<_>>();
    let (missing, doubtful) = (names(0..10), names(20..22));
    let wrong = World { missing, doubtful, ..World::new(30, &[1, 2]) };
    let mut memory = PlanState::default();
    let first = wrong.run(&mut memory);
    assert_eq!(first.calls.len(), 1 + 12, "{:?}", first.calls);
    // From then on only calls for them count, and they are made at once.
    let mut plan = Plan::begin(&memory, wrong.known(), &Filter::default(), 4);
    assert_eq!(plan.apart().len(), 12);
    assert!(!plan.is_in_doubt() && plan.start_next().is_some());
    assert_eq!(wrong.run(&mut memory).calls.len(), 1 + 12);
    // When a stanza is really gone, that is over.
    let right = World { is_right: true, missing: wrong.missing.clone(), ..World::new(30, &[1, 2]) };
    assert_eq!(right.run(&mut memory).calls.len(), 1 + 12);
    let later = right.run(&mut memory);
    assert_eq!(later.calls.iter().filter(|call| *call < &"s010".to_owned()).count(), 1 + 4, "{later:?}");
}

#[test]
fn a_repository_that_is_really_broken_costs_few_calls_more() {
    let doubtful = (0..200).map(|number| format!("s{number:03}")).collect();
    let broken = World { doubtful, is_right: true, ..World::new(200, &[1, 2]) };
    let mut memory = PlanState::default();
    for _ in 0..3 {
        let course = broken.run(&mut memory);
        assert_eq!((course.calls.len(), course.ticks, course.silent.len()), (5, 2, 0));
    }
    // Where even the calls to confirm it hang, what is missing is unknown, and what is broken stays so.
    let missing: Vec<String> = vec!["s000".into()];
    let mut hung = World { missing, doubtful: vec!["s001".into()], ..World::new(3, &[1]) };
    let whole = hung.ask(&Target::default());
    hung = hung.hang(Some("s000"), None).hang(Some("s001"), None);
    let mut plan = Plan::begin(&PlanState::default(), hung.known(), &Filter::default(), 4);
    let all = plan.start_next().unwrap();
    plan.finished(&all, whole);
    let mut doubts = Vec::new();
    while let Some(target) = plan.start_next() {
        doubts.push(target);
    }
    assert!(plan.is_in_doubt());
    for target in &doubts {
        plan.finished(target, hung.ask(target));
    }
    assert!(plan.is_done() && !plan.is_in_doubt());
    let silent: Vec<String> = plan.take_unanswered().iter().map(|(target, _)| name(target)).collect();
    assert_eq!((doubts.len(), silent), (2, vec!["s000/*".to_owned()]));
}
