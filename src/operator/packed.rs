//! Resources as they are kept between reconciles: what is not metadata as text, which takes a fraction of the memory.

use kube::core::DynamicObject;
use serde_json::Value;

/// Before it is kept.
pub(super) fn pack(object: &mut DynamicObject) {
    let mut text = object.data.to_string();
    text.shrink_to_fit();
    object.data = Value::String(text);
}

/// As the API server sent it.
pub(super) fn unpack(packed: &DynamicObject) -> Option<DynamicObject> {
    let data = serde_json::from_str(packed.data.as_str()?).ok()?;
    Some(DynamicObject { types: packed.types.clone(), metadata: packed.metadata.clone(), data })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scope::postgresql;
    use super::*;

    #[test]
    fn a_resource_is_the_same_after_it_was_kept() {
        let deep = (0..100).fold(json!(0.1), |inner, _| json!([inner]));
        for data in [json!({"spec": {"backup": {}, "deep": deep, "large": u64::MAX}}), json!({}), json!(null)]
        {
            let mut object = DynamicObject::new("ledger", &postgresql()).within("shop");
            object.data = data;
            let mut packed = object.clone();
            pack(&mut packed);
            assert!(packed.data.is_string());
            assert_eq!(unpack(&packed), Some(object.clone()));
            assert_eq!(unpack(&object), None);
        }
    }
}
