//! The body of `POST /admin/tenants`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::api::call::CreateTenant;
use crate::api::error::ApiError;
use crate::json::{ECHO_MAX_BYTES, Object};
use crate::model::TenantConfig;
use crate::secret::{Entropy, Secret};

/// Longest name of a tenant or a room, in characters.
pub(super) const NAME_MAX_CHARS: usize = 200;

/// Reads the body, and draws the secrets that it does not bring.
pub(super) fn create(mut body: Object<'_>, entropy: &mut dyn Entropy) -> Result<CreateTenant, ApiError> {
    let name = body.required("name", Object::string)?.into_owned();
    if !(1..=NAME_MAX_CHARS).contains(&name.chars().count()) {
        return Err(body.invalid("name", "must be 1 to 200 characters long"));
    }
    let given = body.object("config", "config.")?.unwrap_or_default();
    let (config, given_secret) = config(given)?;
    let webhook_secret = match given_secret {
        None if config.webhook_url.is_some() => Some(Secret::webhook(entropy)),
        given => given,
    };
    Ok(CreateTenant { name, config, webhook_secret, api_key: Secret::api_key(entropy) })
}

/// Longest `webhook_url`, in bytes.
const WEBHOOK_URL_MAX_BYTES: usize = 2_048;
const RATE_LIMIT_MAX: u32 = 1_000_000_000;
const MAX_MESSAGE_SIZE_MAX_BYTES: u32 = 262_144;
const RETRY_LIMIT_MAX: u32 = 100;

/// Reads the settings, and the secret that stands among them. A key that nobody knows is refused: a typo in a setting
/// must not get lost.
fn config(mut given: Object<'_>) -> Result<(TenantConfig, Option<Secret>), ApiError> {
    let webhook_url = given.string("webhook_url")?.map(String::from);
    if let Some(url) = &webhook_url {
        check_webhook_url(url).map_err(|complaint| given.invalid("webhook_url", complaint))?;
    }
    let webhook_secret = given.string("webhook_secret")?;
    if webhook_secret.as_ref().is_some_and(|text| !is_webhook_secret(text)) {
        let complaint = "must be whsec_ and the base64 of 24 to 64 bytes";
        return Err(given.invalid("webhook_secret", complaint));
    }
    let config = TenantConfig {
        webhook_url,
        rate_limit: from_1_to(RATE_LIMIT_MAX, &mut given, "rate_limit")?,
        max_message_size: from_1_to(MAX_MESSAGE_SIZE_MAX_BYTES, &mut given, "max_message_size")?,
        retry_limit: from_1_to(RETRY_LIMIT_MAX, &mut given, "retry_limit")?,
        durable_notifications: given.boolean("durable_notifications")?,
    };
    match given.left_over() {
        Some(key) if key.len() <= ECHO_MAX_BYTES => Err(ApiError::invalid(
            format!("config.{key}"),
            format!("there is no setting {key:?}: the settings are {SETTINGS}"),
        )),
        Some(_) => Err(ApiError::invalid("config", format!("the settings are {SETTINGS}"))),
        None => Ok((config, webhook_secret.map(|text| Secret::new(text.into_owned())))),
    }
}

const SETTINGS: &str =
    "webhook_url, webhook_secret, rate_limit, max_message_size, retry_limit and durable_notifications";

fn from_1_to(max: u32, config: &mut Object<'_>, key: &'static str) -> Result<Option<u32>, ApiError> {
    config
        .integer(key)?
        .map(|number| {
            u32::try_from(number)
                .ok()
                .filter(|number| (1..=max).contains(number))
                .ok_or_else(|| config.invalid(key, &format!("must be between 1 and {max}")))
        })
        .transpose()
}

/// The text is kept as it was given, so that nothing may stand in it that URL parsers read in different ways.
fn check_webhook_url(text: &str) -> Result<(), &'static str> {
    if text.len() > WEBHOOK_URL_MAX_BYTES {
        return Err("must be at most 2048 bytes long");
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("must not hold white space, control characters or backslashes");
    }
    let (scheme, rest) = text.split_once("://").ok_or("must be an absolute http or https URL")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("must be an http or https URL");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must not hold a user name or a password");
    }
    match Url::parse(text) {
        Ok(url) if url.has_host() && !authority.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err("must be a URL with a host, like https://example.com/hook"),
    }
}

fn is_webhook_secret(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|key| STANDARD.decode(key).ok())
        .is_some_and(|key| (24..=64).contains(&key.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    fn read(body: &str) -> Result<CreateTenant, ApiError> {
        create(json::parse_object(body.as_bytes()).unwrap(), &mut Sevens)
    }

    fn secret(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![1; bytes]))
    }

    #[test]
    fn a_tenant_has_a_name_and_the_settings_it_gave() {
        let plain = read(r#"{"name":"acme","config":null,"unknown":1}"#).unwrap();
        assert_eq!((plain.name.as_str(), plain.config), ("acme", TenantConfig::default()));
        assert_eq!(plain.webhook_secret, None);
        assert!(plain.api_key.reveal().starts_with("sk_"));

        let body = r#"{"name":"a","config":{"webhook_url":"https://a.example/h?x=1","rate_limit":1000000000,
            "max_message_size":262144,"retry_limit":100,"durable_notifications":false,"webhook_secret":null}}"#;
        let full = read(body).unwrap();
        let expected = TenantConfig {
            webhook_url: Some("https://a.example/h?x=1".to_owned()),
            rate_limit: Some(1_000_000_000),
            max_message_size: Some(262_144),
            retry_limit: Some(100),
            durable_notifications: Some(false),
        };
        assert_eq!(full.config, expected);
    }

    #[test]
    fn a_webhook_secret_is_drawn_where_there_is_a_url_and_none_was_given() {
        let drawn = read(r#"{"name":"a","config":{"webhook_url":"http://h"}}"#).unwrap();
        assert!(is_webhook_secret(drawn.webhook_secret.unwrap().reveal()));
        for url in ["null", r#""http://h""#] {
            let body = format!(r#"{{"name":"a","config":{{"webhook_url":{url},"webhook_secret":"{}"}}}}"#, secret(24));
            assert_eq!(read(&body).unwrap().webhook_secret.unwrap().reveal(), secret(24));
        }
    }

    #[test]
    fn a_name_is_1_to_200_characters_not_bytes() {
        let named = |name: &str| read(&format!(r#"{{"name":"{name}"}}"#));
        assert!(named(&"é".repeat(200)).is_ok());
        for bad in ["{}", r#"{"name":null}"#, r#"{"name":1}"#, r#"{"name":""}"#] {
            assert_eq!(read(bad).unwrap_err().field.as_deref(), Some("name"), "{bad}");
        }
        assert_eq!(named(&"é".repeat(201)).unwrap_err().field.as_deref(), Some("name"));
    }

    #[test]
    fn a_setting_that_is_unknown_mistyped_or_out_of_range_is_refused_by_name() {
        let (long, short) = (secret(65), secret(23));
        for (config, field) in [
            (r#"[]"#, "config"),
            (r#""x""#, "config"),
            (r#"{"rate_limt":5}"#, "config.rate_limt"),
            (r#"{"rate_limt":null}"#, "config.rate_limt"),
            (r#"{"rate_limit":0}"#, "config.rate_limit"),
            (r#"{"rate_limit":-1}"#, "config.rate_limit"),
            (r#"{"rate_limit":1000000001}"#, "config.rate_limit"),
            (r#"{"rate_limit":1.0}"#, "config.rate_limit"),
            (r#"{"rate_limit":"5"}"#, "config.rate_limit"),
            (r#"{"max_message_size":0}"#, "config.max_message_size"),
            (r#"{"max_message_size":262145}"#, "config.max_message_size"),
            (r#"{"retry_limit":0}"#, "config.retry_limit"),
            (r#"{"retry_limit":101}"#, "config.retry_limit"),
            (r#"{"durable_notifications":1}"#, "config.durable_notifications"),
            (r#"{"webhook_url":7}"#, "config.webhook_url"),
            (r#"{"webhook_secret":7}"#, "config.webhook_secret"),
            (r#"{"webhook_secret":""}"#, "config.webhook_secret"),
            (r#"{"webhook_secret":"whsec_AAAA"}"#, "config.webhook_secret"),
            (&format!(r#"{{"webhook_secret":"{long}"}}"#), "config.webhook_secret"),
            (&format!(r#"{{"webhook_secret":"{short}"}}"#), "config.webhook_secret"),
            (&format!(r#"{{"webhook_secret":"{}"}}"#, &secret(24)[6..]), "config.webhook_secret"),
            (&format!(r#"{{"webhook_secret":"{}*"}}"#, secret(24)), "config.webhook_secret"),
            (&format!(r#"{{"{}":1}}"#, "k".repeat(65)), "config"),
        ] {
            let error = read(&format!(r#"{{"name":"a","config":{config}}}"#)).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{config}");
            assert!(!error.message.contains("whsec_A"), "{}", error.message);
        }
    }

    #[test]
    fn a_webhook_url_is_http_or_https_with_a_host_and_without_user_info() {
        let longest = format!("http://h/{}", "x".repeat(2_048 - 9));
        for good in ["http://h", "HTTPS://example.com:8443/a?b=c", "http://127.0.0.1:9000/@", "http://[::1]/", &longest]
        {
            assert_eq!(check_webhook_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "example.com/hook",
            "/hook",
            "ftp://example.com",
            "javascript://x",
            "http:example.com",
            "http://",
            "http:///path",
            "http://?x",
            "http://user@h/",
            "http://user:secret@h/",
            "http://@h/",
            "http://h:99999/",
            "http://h h/",
            " http://h",
            "http://h\n",
            "http://h\\@evil/",
            "http://[::1/",
            &format!("{longest}x"),
        ] {
            assert!(check_webhook_url(bad).is_err(), "{bad:?}");
        }
    }
}
