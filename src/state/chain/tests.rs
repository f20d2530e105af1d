//! What is noticed in a chain, and what is none of its faults.

use super::*;

const KEPT: usize = 5;

fn faults(found: &[Found], head: Result<Option<Head>, ()>, is_full: bool) -> Vec<Fault> {
    super::faults(found, head, Storage { is_full, is_atomic: false })
}

/// Records from a writer, with the head after each of them.
struct Written {
    found: Vec<Found>,
    heads: Vec<Head>,
}

impl Written {
    fn of(count: u64) -> Self {
        let mut written = Self { found: Vec::new(), heads: Vec::new() };
        for _ in 0..count {
            written.write();
        }
        written
    }

    fn write(&mut self) {
        let link = next(&self.found, self.head());
        let digest = Digest::of(&serde_json::to_vec(&link).unwrap());
        self.found.push(Found { digest: Some(digest), link: Some(link), is_record: true, is_moved: false });
        self.heads.push(Head { sequence: link.sequence, digest });
        if self.found.len() > KEPT {
            self.found.remove(0);
        }
    }

    fn head(&self) -> Option<Head> {
        self.heads.last().copied()
    }

    fn faults(&self) -> Vec<Fault> {
        faults(&self.found, Ok(self.head()), self.found.len() >= KEPT)
    }
}

fn unlinked() -> Found {
    Found { digest: Some(Digest::of(b"old")), link: None, is_record: true, is_moved: false }
}

#[test]
fn what_was_written_and_removed_in_order_is_whole() {
    for count in 0..12 {
        assert_eq!(Written::of(count).faults(), [], "{count}");
    }
    let begin = Written::of(1).found[0].link.unwrap();
    assert_eq!(begin, Link { sequence: 1, previous: None });
    let mut upgraded = Written { found: vec![unlinked(), unlinked()], heads: Vec::new() };
    assert_eq!(upgraded.faults(), []);
    for _ in 0..9 {
        upgraded.write();
        assert_eq!(upgraded.faults(), []);
    }
}

#[test]
fn a_writer_that_was_killed_before_it_wrote_the_head_breaks_nothing() {
    for count in 1..8 {
        let mut written = Written::of(count);
        written.heads.pop();
        assert_eq!(written.faults(), [], "{count}");
        written.write();
        assert_eq!(written.faults(), [], "{count}");
    }
}

#[test]
fn each_record_that_is_removed_is_noticed_and_stays_so() {
    for removed in 0..5 {
        let mut written = Written::of(8);
        written.found.remove(removed);
        let sequence = removed as u64 + 4;
        let expected = match removed {
            0 => vec![Fault::MissingBefore { sequence: 5 }],
            _ => {
                vec![Fault::Missing { first: sequence, last: sequence }, Fault::MissingBefore { sequence: 4 }]
            }
        };
        assert_eq!(written.faults(), expected);
        written.write();
        let stays =
            if removed == 0 { vec![] } else { vec![Fault::Missing { first: sequence, last: sequence }] };
        assert_eq!(written.faults(), stays, "as many as are kept");
    }
    let all = Written { found: Vec::new(), ..Written::of(8) };
    assert_eq!(all.faults(), [Fault::Missing { first: 1, last: 8 }]);
}

#[test]
fn each_record_that_is_changed_is_noticed() {
    for changed in 0..5 {
        let mut written = Written::of(8);
        written.found[changed].digest = Some(Digest::of(b"other"));
        let expected = [Fault::Changed { index: changed, sequence: changed as u64 + 4 }];
        assert_eq!(written.faults(), expected);
        written.write();
        let index = changed.checked_sub(1);
        let stays: Vec<Fault> =
            index.map(|index| Fault::Changed { index, sequence: changed as u64 + 4 }).into_iter().collect();
        assert_eq!(written.faults(), stays);
    }
}

#[test]
fn what_was_added_is_noticed() {
    let mut copied = Written::of(3);
    copied.found.push(copied.found[1]);
    assert_eq!(copied.faults(), [Fault::Twice { index: 3, sequence: 2 }]);
    let mut forged = Written::of(3);
    forged.found.push(Found { digest: Some(Digest::of(b"forged")), ..forged.found[1] });
    assert_eq!(forged.faults(), [Fault::Changed { index: 3, sequence: 2 }]);
    let mut late = Written::of(3);
    late.found.push(unlinked());
    assert_eq!(late.faults(), [Fault::Unlinked { index: 3 }]);
    let mut early = Written::of(8);
    early.found.insert(0, unlinked());
    assert_eq!(early.faults(), [Fault::Unlinked { index: 0 }]);
}

#[test]
fn a_file_that_is_no_record_is_not_taken_for_one() {
    let mut written = Written::of(3);
    written.found.push(Found { digest: None, link: None, is_record: false, is_moved: false });
    assert_eq!(written.faults(), []);
    written.found[1] = Found { link: None, is_record: false, ..written.found[1] };
    assert_eq!(written.faults(), [Fault::Missing { first: 2, last: 2 }]);
}

#[test]
fn the_head_is_that_of_the_newest_record() {
    let Written { found, heads } = Written::of(4);
    let of = |head| faults(&found, head, false);
    assert_eq!(of(Ok(None)), [Fault::HeadMissing]);
    assert_eq!(of(Err(())), [Fault::HeadUnreadable]);
    assert_eq!(of(Ok(Some(heads[1]))), [Fault::HeadOutdated]);
    assert_eq!(of(Ok(Some(Head { digest: Digest::of(b"other"), ..heads[2] }))), [Fault::HeadOutdated]);
    assert_eq!(of(Ok(Some(heads[2]))), []);
    let at_once = |found, head| super::faults(found, head, Storage { is_full: false, is_atomic: true });
    assert_eq!(at_once(&found, Ok(Some(heads[2]))), [Fault::HeadOutdated]);
    assert_eq!(at_once(&found[..1], Ok(None)), [Fault::HeadMissing]);
    assert_eq!(at_once(&found, Ok(Some(heads[3]))), []);
}

#[test]
fn numbers_that_leave_no_others_are_refused() {
    let read = |number: u64| serde_json::from_value::<Link>(serde_json::json!({"sequence": number})).is_ok();
    for (number, is_number) in
        [(0, false), (1, true), (MAX_SEQUENCE, true), (MAX_SEQUENCE + 1, false), (u64::MAX, false)]
    {
        assert_eq!(read(number), is_number, "{number}");
        let head = serde_json::json!({"sequence": number, "digest": Digest::of(b"")});
        assert_eq!(serde_json::from_value::<Head>(head).is_ok(), is_number, "{number}");
    }
}

/// What the records that can be used say of their numbers.
fn usable(found: &[Found], head: Option<Head>) -> Vec<usize> {
    let faults = faults(found, Ok(head), false);
    (0..found.len()).filter(|index| !faults.iter().any(|fault| fault.contradicts(*index))).collect()
}

#[test]
fn of_records_with_the_same_number_only_the_one_that_was_written_is_used() {
    let Written { found, heads } = Written::of(3);
    let forged = |at: usize, text: &[u8]| Found { digest: Some(Digest::of(text)), ..found[at] };
    let with = |more: &[Found]| [&found, more].concat();
    // A copy; one that is where another was written is the copy.
    let copy = Found { is_moved: true, ..found[1] };
    assert_eq!(usable(&with(&[copy]), heads.last().copied()), [0, 1, 2]);
    assert_eq!(usable(&[&[copy], &*found].concat(), heads.last().copied()), [1, 2, 3]);
    // A forged one, and one that only another forged one names.
    assert_eq!(usable(&with(&[forged(1, b"a")]), heads.last().copied()), [0, 1, 2]);
    let link = Link { sequence: 3, previous: Some(Digest::of(b"a")) };
    let after = Found { link: Some(link), ..forged(2, b"b") };
    assert_eq!(usable(&with(&[forged(1, b"a"), after]), heads.last().copied()), [0, 1, 2]);
    // Nobody knows which of two was the newest one.
    assert_eq!(usable(&with(&[forged(2, b"c")]), Some(heads[1])), [0, 1]);
}

#[test]
fn a_record_in_another_place_is_noticed_and_used_only_if_it_has_a_number() {
    let mut swapped = Written::of(3);
    swapped.found[1].is_moved = true;
    assert_eq!(swapped.faults(), [Fault::Moved { index: 1, is_linked: true }]);
    assert_eq!(usable(&swapped.found, swapped.head()), [0, 1, 2]);
    let moved = Found { is_moved: true, ..unlinked() };
    assert_eq!(faults(&[unlinked(), moved], Ok(None), false), [Fault::Moved { index: 1, is_linked: false }]);
    assert_eq!(usable(&[unlinked(), moved], None), [0]);
}

#[test]
fn a_digest_is_that_of_sha256sum() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"").to_string(), empty);
    let read: Digest = serde_json::from_str(&format!("\"{empty}\"")).unwrap();
    assert_eq!(read, Digest::of(b""));
    for wrong in ["\"\"", "1", "\"zz\"", &format!("\"{empty}00\"")] {
        assert!(serde_json::from_str::<Digest>(wrong).is_err(), "{wrong}");
    }
}
