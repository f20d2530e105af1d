//! A panic caused by one resource: the others are still reconciled, the panic is counted, and the reconcile is retried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt;
use hyper::Request;
use kube::Client;
use kube::client::Body;
use pgbackrest_keeper::cluster::settings::Settings;
use pgbackrest_keeper::kubernetes::client::{ConnectOptions, connect};
use pgbackrest_keeper::kubernetes::shard::Shard;
use pgbackrest_keeper::metrics::OperatorMetrics;
use pgbackrest_keeper::operator::controller::Controller;
use pgbackrest_keeper::operator::mode::Mode;
use pgbackrest_keeper::operator::progress::OperatorProgress;
use pgbackrest_keeper::operator::reconcile::ReconcileError;
use pgbackrest_keeper::operator::scope::Scope;
use tokio_util::sync::CancellationToken;

use super::{in_bucket, open_namespace, wait_for_object};
use crate::golden::snapshots::operator_exposition;
use crate::support::control_plane::ControlPlane;
use crate::support::exposition::Samples;
use crate::support::operator::Installation;
use crate::support::process::wait_for;

/// A client whose answers about objects of this cluster make whoever reads them panic, as long as `defect` says so.
/// They are read in the reconcile itself.
fn defective(real: Client, cluster: &'static str, defect: Arc<AtomicBool>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (real, defect) = (real.clone(), Arc::clone(&defect));
        async move {
            let meant =
                request.uri().path().contains(&format!("/{cluster}-")) && defect.load(Ordering::SeqCst);
            let answer = real.send(request).await?;
            let in_reconcile = move |frame| {
                assert!(!meant, "a defect that the test has asked for");
                frame
            };
            Ok::<_, kube::Error>(answer.map(|body| body.map_frame(in_reconcile)))
        }
    });
    Client::new(service, "default")
}

#[test]
fn a_defect_of_one_cluster_leaves_the_others_alone_and_is_tried_again() {
    let test = "a_defect_of_one_cluster_leaves_the_others_alone_and_is_tried_again";
    let Some(plane) = ControlPlane::start(test) else { return };
    let kubectl = plane.kubectl().clone();
    Installation::whole(&plane);
    open_namespace(&kubectl, "shop");
    let metrics = Arc::new(OperatorMetrics::new(ReconcileError::CATEGORIES));
    let defect = Arc::new(AtomicBool::new(true));
    let (stop, runtime) = (CancellationToken::new(), tokio::runtime::Runtime::new().unwrap());
    let work = runtime.spawn({
        let (defect, metrics, stop) = (Arc::clone(&defect), Arc::clone(&metrics), stop.clone());
        let options = ConnectOptions { kubeconfig: Some(plane.kubeconfig().to_owned()), context: None };
        async move {
            let client = defective(connect(&options).await.unwrap(), "broken", defect);
            let controller = Controller {
                client,
                settings: Arc::new(Settings::default()),
                scopes: Scope::of(&["shop".to_owned()]),
                // A defect that kept its slot would stop everything.
                concurrency: 1,
                progress: Arc::new(OperatorProgress::new(Arc::clone(&metrics))),
                metrics,
                instance: "test".to_owned(),
                fleet: None,
                mode: Mode::Manage,
                restore_tests: false,
                shard: Shard::default(),
                signing_key: None,
            };
            controller.run(stop).await
        }
    });
    let failed = |reason: &str| {
        let samples = Samples::parse(&operator_exposition(&metrics));
        samples.find("pgbackrest_operator_reconcile_errors_total", &[("reason", reason)]).unwrap()
    };
    kubectl.apply(&in_bucket("shop", "broken").to_string(), &[]);
    wait_for("the defect to be counted", || (failed("panic") >= 1.0).then_some(()));
    kubectl.apply(&in_bucket("shop", "sound").to_string(), &[]);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-sound-repo1-incr");
    // Nothing else changes: it is tried again by itself.
    let before = failed("panic");
    wait_for("the defect to be met again", || (failed("panic") > before).then_some(()));
    let samples = Samples::parse(&operator_exposition(&metrics));
    let ok = |cluster: &str| samples.find("pgbackrest_operator_cluster_ok", &[("pg_cluster", cluster)]);
    assert_eq!(ok("broken"), Some(0.0));
    defect.store(false, Ordering::SeqCst);
    wait_for_object(&kubectl, "shop", "cronjob", "pgbackrest-broken-repo1-incr");
    let others: f64 = ["observe", "certificates", "apply", "job", "deadline"].map(failed).iter().sum();
    assert_eq!(others, 0.0, "nothing else has failed");
    assert!(!work.is_finished(), "the work goes on");
    stop.cancel();
    runtime.block_on(work).unwrap().unwrap();
}
