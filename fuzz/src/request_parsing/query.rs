//! The query, read a second time by the rules of HTML forms.

use chatapi_core::api::{AdminCall, ApiError, Call, TenantCall};
use chatapi_core::store::HistoryRange;
use chatapi_core::ws::{BacklogChoice, HandshakeCredentials, HandshakeRequest};
use chatapi_core::{Digest, Seq};
use url::form_urlencoded;

/// What a call took from the query.
pub(super) fn check_call(query: &str, call: &Call) {
    match call {
        Call::Admin(AdminCall::ListTenants { after, limit }) => {
            check_page(query, after.as_ref().map(|id| id.as_str()), *limit, 100, 1_000);
        }
        Call::Tenant(TenantCall::ListRooms { after, limit }) => {
            check_page(query, after.as_ref().map(|id| id.as_str()), *limit, 1_000, 1_000);
        }
        Call::Tenant(
            TenantCall::ListMembers(page) | TenantCall::ListPresence(page) | TenantCall::ListReceipts(page),
        ) => check_page(query, page.after.as_ref().map(|id| id.as_str()), page.limit, 10_000, 10_000),
        Call::Tenant(TenantCall::ReadMessages { range, limit, .. }) => {
            let expected = match (once(query, "after_seq"), once(query, "before_seq")) {
                (None, None) => HistoryRange::After(Seq(0)),
                (Some(seq), None) => HistoryRange::After(Seq(number(&seq))),
                (None, Some(seq)) => HistoryRange::Before(Seq(number(&seq).min(i64::MAX.unsigned_abs()))),
                (Some(_), Some(_)) => panic!("{query} has both ends"),
            };
            assert_eq!(*range, expected, "{query}");
            check_limit(query, *limit, 50, 100);
        }
        Call::Public(_)
        | Call::Admin(
            AdminCall::CreateTenant(_)
            | AdminCall::ReadTenant { .. }
            | AdminCall::ChangeTenant(_)
            | AdminCall::RotateKey(_)
            | AdminCall::DeleteTenant { .. },
        )
        | Call::Tenant(
            TenantCall::CreateRoom(_)
            | TenantCall::ReadRoom { .. }
            | TenantCall::ChangeRoom(_)
            | TenantCall::DeleteRoom { .. }
            | TenantCall::AddMember { .. }
            | TenantCall::RemoveMember { .. }
            | TenantCall::ReadMessage { .. }
            | TenantCall::DeleteMessage { .. }
            | TenantCall::Notify(_),
        )
        | Call::User(_) => {}
    }
}

fn check_page(query: &str, after: Option<&str>, limit: u32, default: u32, max: u32) {
    assert_eq!(after, once(query, "after").as_deref());
    check_limit(query, limit, default, max);
}

/// What a handshake took from the query.
pub(super) fn check_handshake(query: &str, request: &HandshakeRequest) {
    match &request.credentials {
        HandshakeCredentials::Token { token, .. } => {
            let given = once(query, "token").expect("a token comes from the query");
            assert_eq!(*token, Digest::of(given.as_bytes()));
        }
        HandshakeCredentials::ApiKey { .. } => assert_eq!(values(query, "token"), Vec::<String>::new()),
        HandshakeCredentials::Missing => {}
    }
    if let Ok(choice) = &request.backlog {
        let expected = match once(query, "sync").as_deref() {
            None | Some("true") => BacklogChoice::Stream,
            Some("false") => BacklogChoice::Skip,
            Some(other) => panic!("sync={other} was taken"),
        };
        assert_eq!(*choice, expected);
    }
}

/// A parameter is blamed only where it stands.
pub(super) fn check_blame(query: &str, error: &ApiError) {
    // Not `user_id`: that is a field of a body too.
    const PARAMETERS: [&str; 6] = ["after", "limit", "after_seq", "before_seq", "token", "sync"];
    if let Some(name) = PARAMETERS.iter().find(|name| error.field.as_deref() == Some(**name)) {
        assert!(!values(query, name).is_empty(), "{name} is blamed: {}", error.message);
    }
}

fn check_limit(query: &str, limit: u32, default: u32, max: u32) {
    let expected = once(query, "limit").map_or(default, |given| number(&given).min(max.into()) as u32);
    assert_eq!(limit, expected, "{query}");
}

fn number(digits: &str) -> u64 {
    assert!(
        !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()),
        "{digits} was taken for a number"
    );
    digits.trim_start_matches('0').parse().unwrap_or(if digits.bytes().all(|digit| digit == b'0') {
        0
    } else {
        u64::MAX
    })
}

fn once(query: &str, name: &str) -> Option<String> {
    let mut values = values(query, name);
    assert!(values.len() <= 1, "{name} stands twice in {query}, and was taken");
    values.pop()
}

fn values(query: &str, name: &str) -> Vec<String> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
}
