//! Runs against a world in which an answer takes one tick and a hang a hundred.

use proptest::prelude::*;

use super::*;

mod apart;

const HANG: u64 = 100;

/// What exists, and what of it hangs or fails.
#[derive(Default)]
struct World {
    stanzas: Vec<String>,
    repos: Vec<u32>,
    /// Targets that hang whenever a call touches them; none matches all.
    hanging: Vec<(Option<String>, Option<u32>)>,
    /// Every call fails so.
    broken: Option<CallOutcome>,
    /// What a call for everything does not name, or calls broken …
    missing: Vec<String>,
    doubtful: Vec<String>,
    /// … rightly.
    is_right: bool,
    /// Calls without a stanza are refused.
    needs_stanza: bool,
}

/// What a run did: calls as `stanza/repo`, `*` for all; how long it took; what it settled.
#[derive(Debug, Default)]
struct Course {
    calls: Vec<String>,
    ticks: u64,
    /// When the last call that was answered had its answer.
    last_answer: u64,
    silent: Vec<String>,
    not_configured: Vec<String>,
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, exit_code: None, message: String::new() }
}

fn name(target: &Target) -> String {
    let stanza = target.stanza.as_deref().unwrap_or("*");
    format!("{stanza}/{}", target.repo.map_or("*".to_owned(), |repo| repo.to_string()))
}

impl World {
    fn new(stanzas: usize, repos: &[u32]) -> Self {
        let stanzas = (0..stanzas).map(|number| format!("s{number:03}")).collect();
        Self { stanzas, repos: repos.to_vec(), ..Self::default() }
    }

    fn hang(mut self, stanza: Option<&str>, repo: Option<u32>) -> Self {
        self.hanging.push((stanza.map(str::to_owned), repo));
        self
    }

    fn known(&self) -> KnownTargets {
        KnownTargets {
            stanzas: self.stanzas.iter().map(|name| Arc::from(name.as_str())).collect(),
            repos: self.repos.iter().copied().collect(),
            repo_option: true,
            apart: BTreeSet::new(),
        }
    }

    fn ask(&self, target: &Target) -> CallOutcome {
        if let Some(broken) = &self.broken {
            return broken.clone();
        }
        if target.repo.is_some_and(|repo| !self.repos.contains(&repo)) {
            return CallOutcome::NotConfigured(failure(FailureReason::Exit));
        }
        let touches = |(stanza, repo): &(Option<String>, Option<u32>)| {
            let same_stanza =
                target.stanza.is_none() || stanza.is_none() || stanza.as_deref() == target.stanza.as_deref();
            same_stanza && (target.repo.is_none() || repo.is_none() || *repo == target.repo)
        };
        if self.hanging.iter().any(touches) {
            return CallOutcome::Failed(failure(FailureReason::Timeout));
        }
        if self.needs_stanza && target.stanza.is_none() {
            return CallOutcome::NeedsStanza;
        }
        let names =
            |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect::<BTreeSet<_>>();
        let (missing, doubtful) = (names(&self.missing), names(&self.doubtful));
        CallOutcome::Answered(match &target.stanza {
            None => Named { stanzas: &names(&self.stanzas) - &missing, doubtful },
            Some(stanza) => {
                let is_bad = self.is_right && (missing.contains(stanza) || doubtful.contains(stanza));
                let stanzas = BTreeSet::from([stanza.clone()]);
                Named { doubtful: if is_bad { stanzas.clone() } else { BTreeSet::new() }, stanzas }
            }
        })
    }

    fn run(&self, memory: &mut PlanState) -> Course {
        self.run_with(memory, self.known(), &Filter::default(), u64::MAX)
    }

    fn run_with(&self, memory: &mut PlanState, known: KnownTargets, filter: &Filter, budget: u64) -> Course {
        let mut plan = Plan::begin(memory, known, filter, 4);
        let mut course = Course::default();
        let mut running: Vec<(u64, Target, CallOutcome)> = Vec::new();
        while !plan.is_done() {
            while let Some(target) = plan.start_next() {
                course.calls.push(name(&target));
                let outcome = self.ask(&target);
                let hangs = matches!(&outcome, CallOutcome::Failed(failure) if failure.reason == FailureReason::Timeout);
                running.push((course.ticks + if hangs { HANG } else { 1 }, target, outcome));
            }
            assert!(running.len() <= 4);
            running.sort_by_key(|(end, target, _)| (*end, target.clone()));
            let (end, target, outcome) = running.remove(0);
            course.ticks = end;
            if matches!(outcome, CallOutcome::Answered(_)) {
                course.last_answer = end;
            }
            plan.finished(&target, outcome);
            if course.ticks >= budget {
                plan.abandon_suspects();
            }
        }
        for (target, reply) in plan.take_unanswered() {
            match reply {
                Reply::NotConfigured => course.not_configured.push(name(&target)),
                Reply::Silent(_) => course.silent.push(name(&target)),
                Reply::Stanzas { .. } => panic!("{target:?} is answered"),
            }
        }
        *memory = plan.into_state();
        course
    }
}

#[test]
fn one_call_is_enough_where_all_is_well() {
    let mut memory = PlanState::default();
    for _ in 0..3 {
        let course = World::new(200, &[1, 2]).run(&mut memory);
        assert_eq!((course.calls, course.ticks), (vec!["*/*".to_owned()], 1));
    }
}

#[test]
fn a_hung_repository_is_isolated_and_found_again() {
    let hung = World::new(3, &[1, 2]).hang(None, Some(2));
    let mut memory = PlanState::default();
    let first = hung.run(&mut memory);
    assert_eq!(first.calls, ["*/*", "*/1", "*/2", "s000/2", "s001/2", "s002/2"]);
    assert_eq!((first.silent.len(), first.ticks), (3, 3 * HANG));
    for _ in 0..5 {
        let standing = hung.run(&mut memory);
        assert_eq!(standing.calls, ["*/1", "s000/2", "s001/2", "s002/2"]);
        assert_eq!((standing.silent.len(), standing.last_answer, standing.ticks), (3, 1, HANG));
    }
    let well = World::new(3, &[1, 2]);
    assert_eq!(well.run(&mut memory).calls, ["*/1", "s000/2", "s001/2", "s002/2"]);
    assert_eq!(well.run(&mut memory).calls, ["*/1", "*/2"]);
    assert_eq!(well.run(&mut memory).calls, ["*/*"]);
}

#[test]
fn one_hung_stanza_of_many_delays_nobody_else() {
    let hung = World::new(200, &[1, 2]).hang(Some("s007"), Some(2));
    let mut memory = PlanState::default();
    let first = hung.run(&mut memory);
    assert_eq!(first.silent, ["s007/2"]);
    assert_eq!(first.calls.len(), 3 + 200);
    for _ in 0..5 {
        let standing = hung.run(&mut memory);
        assert_eq!((standing.calls[0].as_str(), standing.calls.len()), ("*/1", 201));
        assert_eq!(standing.calls.last().map(String::as_str), Some("s007/2"), "those that hung go last");
        assert!(standing.last_answer <= 60, "{}", standing.last_answer);
        assert_eq!((standing.silent.len(), standing.ticks < 60 + HANG), (1, true));
    }
}

#[test]
fn a_dead_repository_with_many_stanzas_costs_one_timeout() {
    let dead = World::new(200, &[1, 2]).hang(None, Some(2));
    let mut memory = PlanState::default();
    dead.run(&mut memory);
    for _ in 0..60 {
        let standing = dead.run(&mut memory);
        assert_eq!((standing.calls.len(), standing.silent.len()), (5, 200));
        assert!(standing.last_answer == 1 && standing.ticks <= HANG + 1, "{}", standing.ticks);
    }
    // Whichever stanzas had been tried: the first that answer bring all others back.
    let well = World::new(200, &[1, 2]);
    assert!(well.run(&mut memory).silent.is_empty());
    well.run(&mut memory);
    assert_eq!(well.run(&mut memory).calls, ["*/*"]);
}

#[test]
fn four_hung_stanzas_do_not_make_a_repository_dead_for_long() {
    let mut hung = World::new(20, &[1]);
    for number in 0..4 {
        hung = hung.hang(Some(&format!("s{number:03}")), Some(1));
    }
    let mut memory = PlanState::default();
    assert_eq!(hung.run(&mut memory).silent.len(), 20, "the first four tried all hang");
    let second = hung.run(&mut memory);
    assert_eq!(second.silent, ["s000/1", "s001/1", "s002/1", "s003/1"]);
}

#[test]
fn what_hangs_takes_turns_when_time_is_short() {
    let mut hung = World::new(40, &[1]);
    for number in 0..12 {
        hung = hung.hang(Some(&format!("s{:03}", number * 3)), Some(1));
    }
    let mut memory = PlanState::default();
    hung.run(&mut memory);
    let (filter, mut tried) = (Filter::default(), BTreeSet::new());
    for _ in 0..3 {
        let course = hung.run_with(&mut memory, hung.known(), &filter, HANG / 2);
        assert_eq!(course.silent.len(), 12, "every one is accounted for");
        assert!(course.ticks <= 2 * HANG, "{}", course.ticks);
        tried.extend(course.calls.into_iter().filter(|call| course.silent.contains(call)));
    }
    assert_eq!(tried.len(), 12, "{tried:?}");
}

#[test]
fn what_fails_only_as_a_whole_is_tried_less_and_less_often() {
    struct TooSlow(World);
    let slow = TooSlow(World::new(2, &[1, 2]));
    let mut memory = PlanState::default();
    let mut tries = Vec::new();
    for run in 0..40 {
        let mut plan = Plan::begin(&memory, slow.0.known(), &Filter::default(), 4);
        while !plan.is_done() {
            while let Some(target) = plan.start_next() {
                let outcome = if target.repo.is_none() {
                    tries.push(run);
                    CallOutcome::Failed(failure(FailureReason::Timeout))
                } else {
                    slow.0.ask(&target)
                };
                plan.finished(&target, outcome);
            }
        }
        memory = plan.into_state();
    }
    assert_eq!(tries, [0, 2, 6, 14, 30]);
    assert_eq!(World::new(2, &[1, 2]).run(&mut memory).calls, ["*/1", "*/2"]);
}

#[test]
fn repositories_are_guessed_where_nobody_knows_them() {
    let hung = World::new(2, &[1, 3]).hang(None, Some(3));
    let known = KnownTargets { repo_option: true, ..KnownTargets::default() };
    let course = hung.run_with(&mut PlanState::default(), known, &Filter::default(), u64::MAX);
    assert_eq!(course.calls, ["*/*", "*/1", "*/2", "*/3", "*/4", "s000/3", "s001/3"]);
    assert_eq!(course.not_configured, ["*/2", "*/4"]);
    assert_eq!(course.silent, ["s000/3", "s001/3"], "the names come from the repository that answers");
}

#[test]
fn refusal_of_all_repositories_is_a_failure() {
    let refused = CallOutcome::NotConfigured(failure(FailureReason::Exit));
    let world = World { broken: Some(refused), ..World::new(1, &[1, 2]) };
    let filter = Filter::new(&[], &[], None, None, &[1, 2]).unwrap();
    let course = world.run_with(&mut PlanState::default(), world.known(), &filter, u64::MAX);
    assert_eq!((course.silent, course.not_configured.len()), (vec!["*/1".to_owned(), "*/2".to_owned()], 0));
}

#[test]
fn what_every_call_would_share_is_not_isolated() {
    let world = World {
        broken: Some(CallOutcome::Hopeless(failure(FailureReason::RootRefused))),
        ..World::new(5, &[1, 2])
    };
    let mut memory = PlanState::default();
    for _ in 0..2 {
        let course = world.run(&mut memory);
        assert_eq!((course.calls, course.silent), (vec!["*/*".to_owned()], vec!["*/*".to_owned()]));
    }
}

#[test]
fn chosen_repositories_are_never_asked_all_at_once() {
    let filter = Filter::new(&[], &[], None, None, &[2]).unwrap();
    let world = World::new(2, &[1, 2]).hang(None, Some(1));
    let course = world.run_with(&mut PlanState::default(), world.known(), &filter, u64::MAX);
    assert_eq!((course.calls, course.silent.len()), (vec!["*/2".to_owned()], 0));
}

#[test]
fn included_stanzas_are_isolated_by_repository() {
    let names: Vec<String> = ["s000", "s001"].map(str::to_owned).into();
    let filter = Filter::new(&names, &[], None, None, &[]).unwrap();
    let hung = World::new(9, &[1, 2]).hang(Some("s001"), Some(2));
    let mut memory = PlanState::default();
    let first = hung.run_with(&mut memory, hung.known(), &filter, u64::MAX);
    assert_eq!(first.calls, ["s000/*", "s001/*", "s001/1", "s001/2"]);
    assert_eq!(first.silent, ["s001/2"]);
    let second = hung.run_with(&mut memory, hung.known(), &filter, u64::MAX);
    assert_eq!(second.calls, ["s000/*", "s001/1", "s001/2"]);
    let well = World::new(9, &[1, 2]);
    well.run_with(&mut memory, well.known(), &filter, u64::MAX);
    let back = well.run_with(&mut memory, well.known(), &filter, u64::MAX);
    assert_eq!(back.calls, ["s000/*", "s001/*"]);
}

#[test]
fn many_included_stanzas_and_a_dead_repository_cost_one_timeout_a_run() {
    let hung = World::new(100, &[1, 2]).hang(None, Some(2));
    let filter = Filter::new(&hung.stanzas, &[], None, None, &[]).unwrap();
    let mut memory = PlanState::default();
    let first = hung.run_with(&mut memory, hung.known(), &filter, u64::MAX);
    assert_eq!(first.silent.len(), 100);
    assert!(first.ticks <= 3 * HANG, "{}", first.ticks);
    let standing = hung.run_with(&mut memory, hung.known(), &filter, u64::MAX);
    assert_eq!(standing.silent.len(), 100);
    assert!(standing.last_answer < HANG && standing.ticks <= 2 * HANG, "{}", standing.ticks);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_accounts_for_everything(
        stanzas in 0usize..12,
        repos in prop::collection::btree_set(1u32..5, 1..4),
        hanging in prop::collection::vec((prop::option::of(0usize..12), prop::option::of(1u32..5)), 0..6),
        included in 0usize..12,
        repo_option: bool,
    ) {
        let mut world = World::new(stanzas, &repos.into_iter().collect::<Vec<_>>());
        let well = World { stanzas: world.stanzas.clone(), repos: world.repos.clone(), ..World::default() };
        for (stanza, repo) in hanging {
            world = world.hang(stanza.map(|number| format!("s{number:03}")).as_deref(), repo);
        }
        let filter = Filter::new(&world.stanzas[..included.min(stanzas)], &[], None, None, &[]).unwrap();
        let mut memory = PlanState::default();
        for run in 0..12 {
            let world = if run % 4 == 3 { &well } else { &world };
            let known = KnownTargets { repo_option, ..world.known() };
            let course = world.run_with(&mut memory, known, &filter, u64::MAX);
            let calls: BTreeSet<&String> = course.calls.iter().collect();
            prop_assert_eq!(calls.len(), course.calls.len(), "nothing is asked twice in a run");
            if world.hanging.is_empty() {
                prop_assert!(course.silent.is_empty(), "{:?}", course.silent);
            }
        }
        for _ in 0..40 {
            well.run_with(&mut memory, KnownTargets { repo_option, ..well.known() }, &filter, u64::MAX);
        }
        let calls = well.run_with(&mut memory, well.known(), &filter, u64::MAX).calls.len();
        prop_assert_eq!(calls, filter.scopes().len(), "all is well again");
    }
}

#[test]
fn before_repositories_had_numbers_stanzas_are_isolated_directly() {
    let hung = World::new(3, &[1]).hang(Some("s001"), None);
    let known = KnownTargets { repo_option: false, ..hung.known() };
    let course = hung.run_with(&mut PlanState::default(), known, &Filter::default(), u64::MAX);
    assert_eq!(course.calls, ["*/*", "s000/*", "s001/*", "s002/*"]);
    assert_eq!(course.silent, ["s001/*"]);
}
