//! `status`: what is tested next, and the results so far.

use serde_json::{Value, json};

use super::{boolean, choice, integer, list, name, object, require, set, text, typed};

/// Results that are kept of each cluster and repo.
pub const MOST_TESTS: u32 = 10;
/// Repos of all clusters.
pub const MOST_RESULTS: u32 = 4000;

/// The columns of `kubectl get`.
pub(super) fn columns() -> Value {
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({"name": name, "type": kind, "jsonPath": path, "description": description});
    json!([
        column("Schedule", "string", ".spec.schedule", "When tests start"),
        column("Clusters", "integer", ".status.clusters", "How many clusters are selected"),
        column(
            "Passed",
            "string",
            ".status.conditions[?(@.type==\"Passed\")].status",
            "Whether the last test of each cluster passed"
        ),
        column("Last test", "date", ".status.lastTest", "Time since the last test started"),
        column("Next", "string", ".status.next.cluster", "The cluster that is tested next"),
        column("Age", "date", ".metadata.creationTimestamp", "Time since it was created"),
    ])
}

pub(super) fn schema() -> Value {
    object(
        "What is tested next, and the results so far.",
        json!({
            "observedGeneration": typed("integer", "The generation of the resource that the status is about.", json!({"format": "int64"})),
            "conditions": conditions(),
            "clusters": integer(0, i64::from(i32::MAX), "How many clusters are selected."),
            "lastTest": time("When the last test started."),
            "next": object("The next test, or the one that runs.", json!({
                "cluster": name("The cluster."),
                "repo": repo(),
            })),
            "testNow": text(0, 128, "The value of the annotation test-now that a test was started for."),
            "results": results(),
        }),
    )
}

fn conditions() -> Value {
    let mut condition = object(
        "",
        json!({
            "type": text(1, 316, "Ready: tests are set up as described. Tested: every selected cluster was tested. Passed: the last test \
                of every repository of every selected cluster passed."),
            "status": choice(&["True", "False", "Unknown"], "Whether it holds."),
            "observedGeneration": typed("integer", "The generation that it is about.", json!({"format": "int64", "minimum": 0})),
            "lastTransitionTime": time("When the status last changed."),
            "reason": text(1, 1024, "Why, in one word."),
            "message": text(0, 32_768, "Why."),
        }),
    );
    require(&mut condition, &["type", "status", "lastTransitionTime", "reason", "message"]);
    keyed(condition, &["type"], 16, "The state of the tests, for kubectl wait.")
}

fn results() -> Value {
    let mut test = object(
        "",
        json!({
            "start": time("When it started."),
            "stop": time("When it ended."),
            "outcome": choice(&["passed", "failed", "inconclusive", "timed_out"], "What came of it."),
            "class": text(0, 64, "The class of the reason, if it did not pass."),
            "phase": text(0, 16, "The phase that the reason is about."),
            "message": text(0, 512, "The reason, if it did not pass."),
            "backup": text(0, 64, "Label of the backup that was restored."),
            "backupStop": time("When that backup ended."),
            "partial": boolean("Whether only some databases were restored."),
            "target": choice(&["latest", "immediate", "time"], "How far it was to be recovered."),
            "targetTime": time("The point in time that was to be reached."),
            "reachedLSN": text(0, 20, "End of the replayed WAL."),
            "lastCommit": time("Time of the last commit that was replayed."),
            "bytes": bytes("Bytes of the restored database."),
            "walBytes": bytes("Bytes of the replayed WAL."),
            "restoreSeconds": integer(0, i64::from(i32::MAX), "Duration of the restore."),
            "replaySeconds": integer(0, i64::from(i32::MAX), "Duration of recovery."),
            "phases": phases(),
            "checks": checks(),
            "chain": object("Its place among the results of this cluster and repository.", json!({
                "sequence": number(),
                "previous": digest("SHA-256 of the result before it."),
            })),
            "signature": object("The signature of the operator.", json!({
                "keyid": text(0, 64, "SHA-256 of the public key."),
                "sig": text(0, 128, "The signature in base64."),
            })),
        }),
    );
    require(&mut test, &["start", "stop", "outcome"]);
    let mut result = object(
        "",
        json!({
            "cluster": name("The cluster."),
            "repo": repo(),
            "lastPassed": time("Start of the last test that passed."),
            "head": object("The result that was added last.", json!({
                "sequence": number(),
                "digest": digest("Its SHA-256."),
            })),
            "tests": list(test, MOST_TESTS, "The last tests, newest first."),
        }),
    );
    require(&mut result, &["cluster", "repo", "tests"]);
    keyed(
        result,
        &["cluster", "repo"],
        MOST_RESULTS,
        "The results of each cluster and repository. All are bounded together, so of many \
        clusters there are fewer than ten of each.",
    )
}

fn number() -> Value {
    typed("integer", "Its number.", json!({"format": "int64", "minimum": 1}))
}

fn digest(description: &str) -> Value {
    text(64, 64, description)
}

fn phases() -> Value {
    typed(
        "object",
        "Duration of each phase in seconds, of the newest test.",
        json!({"additionalProperties": {"type": "integer", "minimum": 0}, "maxProperties": 16}),
    )
}

fn checks() -> Value {
    let mut check = object(
        "",
        json!({
            "check": text(1, 16, "What was checked."),
            "verdict": text(1, 16, "What came of it."),
            "count": integer(1, i64::from(i32::MAX), "How many of them."),
        }),
    );
    require(&mut check, &["check", "verdict", "count"]);
    list(check, 64, "Checks, of the newest test.")
}

fn keyed(items: Value, keys: &[&str], most: u32, description: &str) -> Value {
    let mut schema = list(items, most, description);
    set(&mut schema, "x-kubernetes-list-type", json!("map"));
    set(&mut schema, "x-kubernetes-list-map-keys", json!(keys));
    schema
}

fn time(description: &str) -> Value {
    typed("string", description, json!({"format": "date-time"}))
}

fn bytes(description: &str) -> Value {
    typed("integer", description, json!({"format": "int64", "minimum": 0}))
}

fn repo() -> Value {
    choice(&["repo1", "repo2", "repo3", "repo4"], "Its repository.")
}
