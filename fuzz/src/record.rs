//! A record that was read and is written again reads the same, in an envelope or not, and only what was signed is verified.

use pgbackrest_keeper::state::proofs::envelope::{self, PublicKey};
use pgbackrest_keeper::state::proofs::{Record, RestoreTest, record, signed};
use pgbackrest_keeper::state::verification::Verification;

pub(crate) fn check(bytes: &[u8]) {
    let keys = PublicKey::all(bytes).unwrap_or_default();
    again::<RestoreTest>(bytes, &keys);
    again::<Verification>(bytes, &keys);
}

fn again<R: Record>(bytes: &[u8], keys: &[PublicKey]) {
    let Ok(mut read) = R::parse(bytes) else { return };
    let opened = envelope::open(bytes).expect("it was read");
    assert!(opened.signatures.len() <= 16);
    let link = *read.chain();
    // Another version may write links that this one cannot read.
    assert!(link.is_none() || link == record::link(&opened.payload));
    let document = read.document().expect("what was read can be written");
    assert_eq!(R::parse(document.as_bytes()).map(|read| read.document().ok()), Ok(Some(document.clone())));
    let sealed = envelope::seal(&document, "key", b"signature").expect("it can be sealed");
    let sealed = envelope::open(sealed.as_bytes()).expect("it was sealed");
    assert_eq!(*sealed.payload, *document.as_bytes());
    let (state, _) = signed::check(&sealed.payload, &sealed.signatures, keys);
    assert_ne!(state, signed::SignatureState::Valid);
}
