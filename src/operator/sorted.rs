//! Lists in order that most often have one or two entries, in place of sets, which keep room for more.

/// Adds an entry, unless it is there.
pub(super) fn insert<T: Ord>(list: &mut Vec<T>, entry: T) {
    if let Err(place) = list.binary_search(&entry) {
        if list.is_empty() {
            list.reserve_exact(1);
        }
        list.insert(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_once_and_in_order() {
        let mut list = Vec::new();
        for entry in ["b", "c", "a", "b"] {
            insert(&mut list, entry);
        }
        assert_eq!(list, ["a", "b", "c"]);
    }
}
