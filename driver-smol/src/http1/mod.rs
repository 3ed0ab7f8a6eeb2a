//! HTTP/1.x without I/O: bytes to [`Request`]s, the core's responses to bytes.
//!
//! async-h1 is never let near a socket: its `accept` loses pipelined requests, buffers without bound and takes what
//! smuggles. [`RequestReader`] frames strictly on its own, and only the response encoder is async-h1's.
//! async-h1 and http-types stay inside this folder.

mod chunked;
mod head;
#[cfg(test)]
mod hostile;
mod lines;
mod reader;
mod request;
mod response;

pub use http_types::{Method, Version};
pub use reader::{CONTINUE, Phase, RequestReader};
pub use request::{Persistence, Request};
pub use response::encode_response;
