//! How the server finds out that nobody is there any more (protocol, section 7).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{UNLIMITED, World};
use crate::support::eventually;

const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A connection whose client says nothing, not even pongs.
fn mute(world: &World, user: &str) -> TcpStream {
    let stream = world.client(user).abandon();
    stream.set_read_timeout(Some(PING_INTERVAL * 2)).unwrap();
    stream
}

fn read_ping(stream: &mut TcpStream) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x89, "{head:?}");
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).unwrap();
}

#[test]
fn a_connection_is_pinged_every_30_s_and_closed_when_it_was_silent_for_60_s() {
    let world = World::new();
    let mut stream = mute(&world, "bob");
    let started = Instant::now();
    read_ping(&mut stream);
    assert!((25..40).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let mut rest = Vec::new();
    // However the connection ends, a close frame or a ping may come before.
    drop(stream.read_to_end(&mut rest));
    assert!((55..75).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn a_connection_that_answers_its_pings_is_still_open_after_60_s() {
    let world = World::new();
    let mut stream = mute(&world, "bob");
    let started = Instant::now();
    for _ in 0..2 {
        read_ping(&mut stream);
        stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).unwrap();
    }
    assert!(started.elapsed() > Duration::from_secs(59), "{:?}", started.elapsed());
    stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0x8a, 0]);
}

#[test]
fn a_connection_that_ignored_its_ping_for_10_s_makes_room_for_another_of_its_user() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "1")], UNLIMITED);
    let mut stream = mute(&world, "bob");
    assert_eq!(world.fresh_client("bob").close_code().0, 1008, "it may answer yet");
    read_ping(&mut stream);
    let pinged = Instant::now();
    eventually("another is let in", || {
        world.fresh_client("bob").try_next().is_some_and(|frame| frame["type"] == "connected")
    });
    assert!(pinged.elapsed() >= Duration::from_secs(9), "{:?}", pinged.elapsed());
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert!(pinged.elapsed() < Duration::from_secs(25), "the old one was closed for it, not by its silence");
}
