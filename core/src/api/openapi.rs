//! `GET /openapi.json` (protocol, section 9): the document of the API, written by hand. The tests here hold it against
//! the routes and the error codes, `tests/schemathesis_run.py` against what the server answers.

/// OpenAPI 3.1.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::error::ErrorCode;
    use crate::api::parse;

    /// Every code, where the compiler asks for one that is missing.
    macro_rules! codes {
        ($($code:ident),+ $(,)?) => {
            const CODES: &[ErrorCode] = &[$(ErrorCode::$code),+];

            const fn _all_are_here(code: ErrorCode) {
                match code {
                    $(ErrorCode::$code => ()),+
                }
            }
        };
    }

    codes! {
        Validation, Authentication, Authorization, NotFound, MethodNotAllowed, RequestTimeout, Conflict, PayloadTooLarge,
        IdempotencyKeyReused, UpgradeRequired, RateLimitExceeded, HeadersTooLarge, Internal, NotImplemented, Unavailable,
        HttpVersionNotSupported,
    }

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Method, path and content of each operation.
    fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
        let items = document["paths"].as_object().unwrap().iter();
        items
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
                methods.map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
            })
            .collect()
    }

    #[test]
    fn it_is_of_this_version() {
        assert_eq!(document()["openapi"], "3.1.0");
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn it_has_the_routes_of_the_router_and_no_others() {
        let document = document();
        let told: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (path, method)).collect();
        // `HEAD` and `OPTIONS` are served everywhere, and told of in one place.
        let served = parse::served().into_iter().filter(|(_, method)| !matches!(*method, "HEAD" | "OPTIONS"));
        let known: BTreeSet<_> = served.map(|(path, method)| (path, method.to_owned())).collect();
        assert_eq!(told, known);
    }

    #[test]
    fn every_error_code_stands_under_its_status() {
        let document = document();
        let codes: Vec<&str> = CODES.iter().map(|code| code.as_str()).collect();
        assert_eq!(document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"], {
            Value::from(codes)
        });
        let code_of = |response: &Value| {
            let told = "/content/application~1json/schema/allOf/1/properties/error/properties/code/const";
            response.pointer(told).and_then(|code| CODES.iter().find(|known| code == known.as_str()).copied())
        };
        let responses = document["components"]["responses"].as_object().unwrap();
        let told: Vec<ErrorCode> = responses.values().filter_map(code_of).collect();
        for code in CODES {
            assert_eq!(told.iter().filter(|known| *known == code).count(), 1, "{}", code.as_str());
        }
        for (method, path, operation) in operations(&document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let Some(name) = response["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else {
                    let is_error = status.starts_with(['4', '5']);
                    assert!(!is_error, "{method} {path}: {status} is one of the shared responses");
                    continue;
                };
                // Of the shared ones, only the answers of health tell more than an error.
                if let Some(code) = code_of(&responses[name]) {
                    assert_eq!(*status, code.status().to_string(), "{method} {path}: {name}");
                } else {
                    assert_eq!((path, status.as_str(), name), ("/health", "503", "HealthUnavailable"));
                }
            }
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_tells_what_can_happen_anywhere() {
        let document = document();
        let mut names = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            assert!(operation["summary"].is_string() && operation["security"].is_array(), "{name}");
            for status in ["400", "408", "413", "431", "500", "503", "505"] {
                assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
            }
        }
    }

    #[test]
    fn every_response_has_a_request_id() {
        let document = document();
        let of_operations = operations(&document);
        let responses = of_operations.iter().flat_map(|(_, _, operation)| operation["responses"].as_object().unwrap());
        let shared = document["components"]["responses"].as_object().unwrap();
        for (name, response) in responses.filter(|(_, response)| response["$ref"].is_null()).chain(shared) {
            assert!(response["headers"]["X-Request-Id"].is_object(), "{name}: {response}");
        }
    }
}
