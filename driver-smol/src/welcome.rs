//! What a first run tells on one screen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::fill_random;
use crate::stderr::tell;

/// A random master key for this run, told once on stderr with what to try next. `address` is where the server listens.
pub(crate) fn draw_master_key(address: SocketAddr) -> String {
    let mut random = [0; 24];
    fill_random(&mut random);
    let key = URL_SAFE_NO_PAD.encode(random);
    let host = host(address);
    tell(&format_args!(
        r#"
  ChatAPI {version}

  MASTER_API_KEY is not set. This run's master key, as a line for the shell you go on in:

      MASTER_API_KEY={key}

  Create a tenant:

      curl -X POST {host}/admin/tenants -H "X-Master-Key: $MASTER_API_KEY" \
           -d '{{"name":"demo"}}'

  With the api_key from its answer, create a room and say something:

      curl -X POST {host}/rooms -H "X-API-Key: $KEY" -H 'X-User-Id: alice' \
           -d '{{"type":"dm","members":["alice","bob"]}}'
      curl -X POST {host}/rooms/$ROOM/messages -H "X-API-Key: $KEY" -H 'X-User-Id: alice' \
           -d '{{"content":"Hello, Bob"}}'

  Listen as bob:  ws://{host}/ws  with X-API-Key, and X-User-Id: bob
  The README has the rest of the tour.
"#,
        version = env!("CARGO_PKG_VERSION"),
    ));
    key
}

/// How somebody on this machine reaches the address.
fn host(address: SocketAddr) -> String {
    let ip = address.ip();
    let is_localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&ip);
    if ip.is_unspecified() || is_localhost { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_as_it_is_reached_from_here() {
        for (address, expected) in [
            ("0.0.0.0:8080", "localhost:8080"),
            ("[::]:8080", "localhost:8080"),
            ("127.0.0.1:80", "localhost:80"),
            ("[::1]:80", "localhost:80"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(host(address.parse().unwrap()), expected);
        }
    }
}
