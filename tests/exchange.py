"""Two users exchange 1,000 messages both ways, one of them reconnecting every 50: nothing lost, repeated or swapped."""
import asyncio, json, os, urllib.request
from websockets.asyncio.client import connect

URL, MASTER_KEY = os.environ["CHATAPI_URL"], os.environ["MASTER_API_KEY"]
MESSAGES, RECONNECT_EVERY = 1_000, 50

def post(path, body, headers):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))

tenant = post("/admin/tenants", {"name": "exchange", "config": {"rate_limit": 100_000}}, {"X-Master-Key": MASTER_KEY})
key = {"X-API-Key": tenant["api_key"]}
room = post("/rooms", {"type": "dm", "members": ["alice", "bob"]}, key)["room_id"]

def open_socket(user):
    return connect(URL.replace("http", "ws") + "/ws", additional_headers=key | {"X-User-Id": user})

async def talk(user, sends_per_connection):
    """Sends messages, each after the last came back, and collects all there are, by number."""
    seen, sent = {}, 0
    while len(seen) < 2 * MESSAGES:
        last, left, echoed = None, sends_per_connection, True  # the newest number on this connection, sends left on it
        async with open_socket(user) as socket:
            async for text in socket:
                frame = json.loads(text)
                assert frame["type"] != "error", frame
                if frame["type"] == "message":
                    seq, content = frame["seq"], (frame["sender_id"], frame["content"])
                    assert last is None or seq == last + 1, f"{user} got {seq} after {last}"
                    assert seen.setdefault(seq, content) == content, f"{seq} changed"
                    last, echoed = seq, echoed or content == (user, f"message {sent}")
                if len(seen) == 2 * MESSAGES or (left == 0 and echoed):
                    await socket.send(json.dumps({"type": "ack", "room_id": room, "seq": last}))
                    break
                if frame["type"] in ("sync.complete", "message") and echoed and sent < MESSAGES:
                    sent, left, echoed = sent + 1, left - 1, False
                    await socket.send(json.dumps({"type": "send_message", "room_id": room, "content": f"message {sent}"}))
    return seen

async def main():
    alice, bob = await asyncio.wait_for(asyncio.gather(talk("alice", MESSAGES + 1), talk("bob", RECONNECT_EVERY)), 120)
    assert alice == bob and sorted(alice) == list(range(1, 2 * MESSAGES + 1))
    for user in ("alice", "bob"):
        assert [c for _, (s, c) in sorted(alice.items()) if s == user] == [f"message {n}" for n in range(1, MESSAGES + 1)]
    print(f"ok: {len(alice)} messages, in order, none lost, none twice")

asyncio.run(main())
