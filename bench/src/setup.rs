//! What every load needs before it starts and after it ends: a tenant, rooms, and the history read back.

use serde_json::{Value, json};

use crate::error::{Error, Result, excerpt, fail};
use crate::http::{self, Client};
use crate::json;
use crate::server::Server;

/// The most a page of history may be asked for.
const PAGE: usize = 100;

/// A tenant, and a blocking connection to set things up with.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its API key.
    pub(crate) api_key: String,
    client: Client,
}

impl Tenant {
    /// Makes a tenant whose rate limit is out of the way.
    pub(crate) fn create(server: &Server) -> Result<Self> {
        let mut client = Client::connect(server.address)?;
        let body = json!({"name": "bench", "config": {"rate_limit": 1_000_000_000}}).to_string();
        let headers = [("X-Master-Key", server.master_key.as_str())];
        let answer = client.ask(&http::request("POST", "/admin/tenants", &headers, &body))?;
        if answer.status != 201 {
            return fail(format!("POST /admin/tenants: {} {}", answer.status, excerpt(&answer.body)));
        }
        let made = serde_json::from_slice(&answer.body)?;
        Ok(Self { api_key: text_field(&made, "api_key")?, client })
    }

    /// A tenant that is in the database already.
    pub(crate) fn existing(server: &Server, api_key: &str) -> Result<Self> {
        Ok(Self { api_key: api_key.to_owned(), client: Client::connect(server.address)? })
    }

    /// The bytes of a request of a user.
    pub(crate) fn request(&self, method: &str, path: &str, user: &str, body: &str) -> Vec<u8> {
        http::request(method, path, &[("X-API-Key", self.api_key.as_str()), ("X-User-Id", user)], body)
    }

    /// Makes a room, asked for by its first member; its id.
    pub(crate) fn create_room(&mut self, kind: &str, members: &[&str]) -> Result<String> {
        let body = json!({"type": kind, "members": members}).to_string();
        let answer = self.ask("POST", "/rooms", members.first().copied().unwrap_or_default(), &body)?;
        text_field(&serde_json::from_slice(&answer)?, "room_id")
    }

    /// Sends one message and waits for its answer.
    pub(crate) fn send(&mut self, room: &str, user: &str, content: &str) -> Result<()> {
        let body = json!({"content": content}).to_string();
        self.ask("POST", &format!("/rooms/{room}/messages"), user, &body).map(drop)
    }

    /// Reads the whole history of a room and counts it; fails when its seqs are not exactly 1, 2, 3 and so on.
    pub(crate) fn check_history(&mut self, room: &str, user: &str, at_most: u64) -> Result<u64> {
        let mut last = 0;
        // One page more than there can be, so that a server that repeats itself does not keep us here for ever.
        for _ in 0..at_most + 2 {
            let path = format!("/rooms/{room}/messages?after_seq={last}&limit={PAGE}");
            let page = self.ask("GET", &path, user, "")?;
            let Some(messages) = json::field(&page, "messages") else {
                return fail(format!("no messages in {}", excerpt(&page)));
            };
            let before = last;
            for message in json::elements(messages) {
                let seq = json::field(message, "seq").and_then(json::number);
                if seq != Some(last + 1) {
                    return fail(format!("{room}: seq {seq:?} stands after {last} in the history"));
                }
                last += 1;
            }
            if last == before {
                return Ok(last);
            }
        }
        fail(format!("{room}: the history does not end"))
    }

    /// Asks as a user and waits for the answer, which must be a success.
    pub(crate) fn ask(&mut self, method: &str, path: &str, user: &str, body: &str) -> Result<Vec<u8>> {
        let request = self.request(method, path, user, body);
        let answer = self.client.ask(&request)?;
        if !(200..300).contains(&answer.status) {
            return fail(format!("{method} {path}: {} {}", answer.status, excerpt(&answer.body)));
        }
        Ok(answer.body)
    }

    /// Connects anew: the server closes a connection that was idle for a minute.
    pub(crate) fn reconnect(&mut self, server: &Server) -> Result<()> {
        self.client = Client::connect(server.address)?;
        Ok(())
    }
}

fn text_field(object: &Value, name: &str) -> Result<String> {
    let text = object.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| Error::Failed(format!("no {name} in {object}")))
}

/// Content of so many bytes.
pub(crate) fn content(size: usize) -> String {
    "x".repeat(size)
}
