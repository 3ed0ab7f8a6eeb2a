mod lines;
mod redaction;
mod replaying;
mod samples;

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Redactor;

fn redactor() -> Redactor {
    Redactor::new(&[42; 32])
}

/// Everything comes back from its text as it was, and gives the same text again.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&read, value, "{text}");
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[test]
fn every_input_and_effect_comes_back_from_its_text_bit_for_bit() {
    samples::inputs().iter().for_each(comes_back);
    samples::effects().iter().for_each(comes_back);
}

#[test]
fn the_samples_hold_every_variant() {
    fn complete<T>(samples: &[T], variant: impl Fn(&T) -> (&'static str, &'static [&'static str])) {
        let seen: BTreeSet<&str> = samples.iter().map(|sample| variant(sample).0).collect();
        let known: BTreeSet<&str> = variant(&samples[0]).1.iter().copied().collect();
        assert_eq!(seen, known);
    }
    complete(&samples::inputs(), samples::input);
    complete(&samples::effects(), samples::effect);
    complete(&samples::events(), samples::event);
    complete(&samples::REASONS, samples::close_reason);
    complete(&samples::calls(), samples::call);
    complete(&samples::public_calls(), samples::public_call);
    complete(&samples::admin_calls(), samples::admin_call);
    complete(&samples::tenant_calls(), samples::tenant_call);
    complete(&samples::user_calls(), samples::user_call);
    complete(&samples::commands(), samples::command);
    complete(&samples::requests(), samples::store_request);
    complete(&samples::replies(), samples::store_reply);
    complete(&samples::successes(), samples::success);
}
