//! The script of `tests/peers` that needs nothing but Python does what its page says.

use std::path::Path;
use std::process::Command;

use cqrs_tests::python;

fn peer(script: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python-cqrs").join(script))
}

#[test]
fn python_cqrs_publishes_its_outbox_and_tells_how_fast() {
    let installed = peer("install").output().expect("the script runs");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    for store in ["postgres", "mysql"] {
        let output = peer("run").args([store, "120"]).output().expect("the script runs");
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = python::printed(&format!("{store}: {complaints}"), &output);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["peer"], &told[0]["store"]), (&"python-cqrs".into(), &store.into()));
        assert_eq!(told[0]["messages"], 120);
        let rate = |name: &str| told[0][name].as_f64().expect("a number");
        assert!((rate("per_second") * rate("seconds") - 120.0).abs() < 0.01, "{told:?}");
    }
}
