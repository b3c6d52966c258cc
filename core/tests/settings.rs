//! What the `CACHE_` variables say, as data that every language which reads them is held to.

use std::collections::BTreeMap;

use donjon_core::settings::{Backend, Settings};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Cases {
    accepted: Vec<Accepted>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Accepted {
    name: String,
    given: BTreeMap<String, String>,
    says: Value,
    #[serde(default)]
    warns: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Refused {
    given: BTreeMap<String, String>,
    words: Vec<String>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../../tests/cases/settings.json")).expect("the cases are JSON of this shape")
}

/// What the settings say, in the words of the cases.
fn said(settings: &Settings) -> Value {
    let seconds = |ttl: donjon_core::expiry::Ttl| ttl.as_duration().expect("no class lasts for ever").as_secs_f64();
    let classes: BTreeMap<_, _> = settings.ttl_classes.iter().map(|(name, ttl)| (name, seconds(ttl))).collect();
    let (backend, url) = match &settings.backend {
        Backend::Memory => ("memory", None),
        Backend::Redis(target) => ("redis", Some(target.url().expose().to_owned())),
    };
    json!({
        "backend": backend, "redis_url": url, "enabled": settings.enabled, "namespace": settings.namespace.as_str(),
        "max_bytes": settings.max_bytes, "max_entries": settings.max_entries, "near": settings.near, "ttl_classes": classes,
    })
}

/// Whether all these facts are among those; a whole number is the same with a fraction of nothing.
fn tells(said: &Value, facts: &Value) -> bool {
    match facts {
        Value::Object(facts) => facts.iter().all(|(name, fact)| tells(&said[name], fact)),
        Value::Number(number) => said.as_f64() == number.as_f64(),
        fact => said == fact,
    }
}

#[test]
fn settings_say_what_they_say_everywhere() {
    for case in cases().accepted {
        let settings = Settings::parse(&case.given).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let said = said(&settings);
        assert!(tells(&said, &case.says), "{}: {said}", case.name);
        let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), case.warns.len(), "{}: {warnings:?}", case.name);
        for (warning, words) in warnings.iter().zip(&case.warns) {
            assert!(words.iter().all(|word| warning.contains(word)) && !warning.contains("hunter2"), "{warning}");
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused_in_words_that_say_what_can() {
    for Refused { given, words } in cases().refused {
        let said = Settings::parse(&given).expect_err("it is refused").to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert!(said.contains(" must be ") && !said.contains("hunter2"), "{said}");
    }
}
