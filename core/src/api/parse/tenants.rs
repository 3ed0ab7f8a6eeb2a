//! Bodies of requests on tenants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::api::call::{CreateTenant, RotateKey};
use crate::api::error::ApiError;
use crate::api::fields;
use crate::id::TenantId;
use crate::json::{ECHO_MAX_BYTES, Object};
use crate::model::{Edit, TenantConfig};
use crate::secret::{Entropy, Secret};
use crate::store::{ConfigChange, TenantChange};

/// Reads the body of `POST /admin/tenants`, and draws the secrets that it does not bring.
pub(super) fn create(mut body: Object<'_>, entropy: &mut dyn Entropy) -> Result<CreateTenant, ApiError> {
    let name = body.required("name", fields::label)?;
    let ConfigChange {
        webhook_url,
        webhook_secret: given_secret,
        rate_limit,
        max_message_size,
        retry_limit,
        durable_notifications,
    } = config(&mut body)?;
    let config = TenantConfig {
        webhook_url: webhook_url.apply(None),
        rate_limit: rate_limit.apply(None),
        max_message_size: max_message_size.apply(None),
        retry_limit: retry_limit.apply(None),
        durable_notifications: durable_notifications.apply(None),
    };
    let webhook_secret = match given_secret.apply(None) {
        None if config.webhook_url.is_some() => Some(Secret::webhook(entropy)),
        given => given,
    };
    Ok(CreateTenant { name, config, webhook_secret, api_key: Secret::api_key(entropy) })
}

/// Reads the body of `PATCH /admin/tenants/{tenant_id}`. Whether the secret that it draws is needed, the store knows.
pub(super) fn change(
    tenant_id: TenantId,
    mut body: Object<'_>,
    entropy: &mut dyn Entropy,
) -> Result<TenantChange, ApiError> {
    let name = match body.edit("name", fields::label)? {
        Edit::Keep => None,
        Edit::Clear => return Err(body.invalid("name", "must be a string: a tenant has a name")),
        Edit::Set(name) => Some(name),
    };
    Ok(TenantChange { tenant_id, name, config: config(&mut body)?, fresh_secret: Secret::webhook(entropy) })
}

/// Longest time for which an old key works on, in seconds.
const GRACE_MAX_SECS: u32 = 86_400;

/// Reads the body of `POST /admin/tenants/{tenant_id}/rotate-key`, and draws the key.
pub(super) fn rotate_key(
    tenant_id: TenantId,
    mut body: Object<'_>,
    entropy: &mut dyn Entropy,
) -> Result<RotateKey, ApiError> {
    let grace_seconds = between(0, GRACE_MAX_SECS, &mut body, "grace_seconds")?.unwrap_or_default();
    let close_sockets = body.boolean("close_sockets")?.unwrap_or_default();
    Ok(RotateKey { tenant_id, api_key: Secret::api_key(entropy), grace_seconds, close_sockets })
}

/// Longest `webhook_url`, in bytes.
const WEBHOOK_URL_MAX_BYTES: usize = 2_048;
const RATE_LIMIT_MAX: u32 = 1_000_000_000;
const MAX_MESSAGE_SIZE_MAX_BYTES: u32 = 262_144;
const RETRY_LIMIT_MAX: u32 = 100;

/// Reads the settings. A key that nobody knows is refused: a typo in a setting must not get lost.
fn config(body: &mut Object<'_>) -> Result<ConfigChange, ApiError> {
    let mut given = body.object("config", "config.")?.unwrap_or_default();
    let change = ConfigChange {
        webhook_url: given.edit("webhook_url", webhook_url)?,
        webhook_secret: given.edit("webhook_secret", webhook_secret)?,
        rate_limit: given.edit("rate_limit", |given, key| between(1, RATE_LIMIT_MAX, given, key))?,
        max_message_size: given
            .edit("max_message_size", |given, key| between(1, MAX_MESSAGE_SIZE_MAX_BYTES, given, key))?,
        retry_limit: given.edit("retry_limit", |given, key| between(1, RETRY_LIMIT_MAX, given, key))?,
        durable_notifications: given.edit("durable_notifications", Object::boolean)?,
    };
    match given.left_over() {
        Some(key) if key.len() <= ECHO_MAX_BYTES => Err(ApiError::invalid(
            format!("config.{key}"),
            format!("there is no setting {key:?}: the settings are {SETTINGS}"),
        )),
        Some(_) => Err(ApiError::invalid("config", format!("the settings are {SETTINGS}"))),
        None => Ok(change),
    }
}

const SETTINGS: &str =
    "webhook_url, webhook_secret, rate_limit, max_message_size, retry_limit and durable_notifications";

fn between(min: u32, max: u32, fields: &mut Object<'_>, key: &'static str) -> Result<Option<u32>, ApiError> {
    let number = fields.integer(key)?;
    number
        .map(|number| {
            u32::try_from(number)
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| fields.invalid(key, &format!("must be between {min} and {max}")))
        })
        .transpose()
}

fn webhook_url(config: &mut Object<'_>, key: &'static str) -> Result<Option<String>, ApiError> {
    let url = config.string(key)?;
    url.as_deref().map_or(Ok(()), check_webhook_url).map_err(|complaint| config.invalid(key, complaint))?;
    Ok(url.map(String::from))
}

fn webhook_secret(config: &mut Object<'_>, key: &'static str) -> Result<Option<Secret>, ApiError> {
    match config.string(key)? {
        Some(text) if !is_webhook_secret(&text) => {
            Err(config.invalid(key, "must be whsec_ and the base64 of 24 to 64 bytes"))
        }
        text => Ok(text.map(|text| Secret::new(text.into_owned()))),
    }
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
    fn a_change_tells_every_setting_that_is_given_and_always_brings_a_fresh_secret() {
        let change = |config: &str| {
            let body = format!(r#"{{"config":{config}}}"#);
            change(TenantId::new("t"), json::parse_object(body.as_bytes()).unwrap(), &mut Sevens).unwrap()
        };
        let given = secret(24);
        let all = change(&format!(
            r#"{{"webhook_url":"http://h","webhook_secret":"{given}","rate_limit":1,"max_message_size":2,"retry_limit":3,
                "durable_notifications":true}}"#
        ));
        let expected = ConfigChange {
            webhook_url: Edit::Set("http://h".to_owned()),
            webhook_secret: Edit::Set(Secret::new(given)),
            rate_limit: Edit::Set(1),
            max_message_size: Edit::Set(2),
            retry_limit: Edit::Set(3),
            durable_notifications: Edit::Set(true),
        };
        assert_eq!(all.config, expected);
        let none = change(
            r#"{"webhook_url":null,"webhook_secret":null,"rate_limit":null,"max_message_size":null,"retry_limit":null,
                "durable_notifications":null}"#,
        );
        let expected = ConfigChange {
            webhook_url: Edit::Clear,
            webhook_secret: Edit::Clear,
            rate_limit: Edit::Clear,
            max_message_size: Edit::Clear,
            retry_limit: Edit::Clear,
            durable_notifications: Edit::Clear,
        };
        assert_eq!(none.config, expected);
        assert!([all, none].iter().all(|change| change.fresh_secret == Secret::webhook(&mut Sevens)));
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
