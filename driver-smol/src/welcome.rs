//! What a first run tells on one screen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::fill_random;
use crate::settings::Settings;
use crate::stderr::tell;

/// The master key: the operator's, else a random one for this run, told once on stderr with what to try next.
pub(crate) fn master_key(settings: &Settings) -> String {
    if let Some(key) = &settings.master_key {
        return key.clone();
    }
    let mut random = [0; 24];
    fill_random(&mut random);
    let key = URL_SAFE_NO_PAD.encode(random);
    let port = settings.listen_addrs.first().map_or(8080, std::net::SocketAddr::port);
    tell(&format_args!(
        r#"
  ChatAPI {version}

  MASTER_API_KEY is not set. This run's master key is

      {key}

  Create a tenant:

      curl -X POST localhost:{port}/admin/tenants -H 'X-Master-Key: {key}' -d '{{"name":"demo"}}'

  With the api_key from its answer, create a room and say something:

      curl -X POST localhost:{port}/rooms -H "X-API-Key: $KEY" -H 'X-User-Id: alice' \
           -d '{{"type":"dm","members":["alice","bob"]}}'
      curl -X POST localhost:{port}/rooms/$ROOM/messages -H "X-API-Key: $KEY" -H 'X-User-Id: alice' \
           -d '{{"content":"Hello, Bob"}}'

  Listen as bob:  ws://localhost:{port}/ws  with X-API-Key, and X-User-Id: bob
  The README has the rest of the tour.
"#,
        version = env!("CARGO_PKG_VERSION"),
    ));
    key
}
