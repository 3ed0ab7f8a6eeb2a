#!/usr/bin/env python3
"""Holds the server against its own document: tests/schemathesis_run.py [--binary FILE] [--cases N] [--only-built] …

Validates `/openapi.json`, then has schemathesis call every operation of it, with what the schemas allow and with what
they forbid, against a server of its own on a new database. Ends with 0 if at least N cases ran and none failed. What
it needs, it installs into a venv under `target/`, or under --venv. All options that it does not know go to schemathesis.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"]
MASTER_KEY = "the-master-key-of-schemathesis"
USERS = ["alice", "bob", "zoë"]

# What schemathesis expects is changed in these places only.
CONFIG = """
[generation]
allow-x00 = true

[auth.openapi.ApiKey]
api_key = "${CHATAPI_KEY}"

[auth.openapi.MasterKey]
api_key = "${CHATAPI_MASTER_KEY}"

# A text of more bytes than allowed is 413, and a header that is too long 431.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 431]
"""

# What cannot be called like this, with the reason.
LEFT_OUT = {
    "GET /ws": "after the 101 frames follow, which no HTTP client reads; tests/websocket.rs and sim/tests do",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/chatapi")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target/schemathesis-venv")
    parser.add_argument("--cases", type=int, default=10_000, help="fewer is a failure")
    parser.add_argument("--examples", type=int, default=320, help="of each operation and phase")
    parser.add_argument("--only-built", action="store_true", help="leave out what this server answers with 404 or 405")
    options, others = parser.parse_known_args()
    options.binary, options.venv = options.binary.resolve(), options.venv.resolve()
    binaries = install(options.venv)
    with tempfile.TemporaryDirectory(prefix="chatapi-schemathesis-") as directory:
        directory = pathlib.Path(directory)
        server, url = start(options.binary, directory)
        try:
            sys.exit(check(options, others, binaries, directory, url))
        finally:
            server.terminate()
            if server.wait(timeout=30) != 0:
                sys.exit(f"the server ended with {server.returncode}:\n{(directory / 'log').read_text()[-4000:]}")


def install(directory):
    """The directory of the programs that were installed."""
    binaries = directory / "bin"
    marker = directory / "packages.txt"
    wanted = "\n".join(PACKAGES)
    if not marker.exists() or marker.read_text() != wanted:
        venv.create(directory, with_pip=True)
        subprocess.run([binaries / "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        marker.write_text(wanted)
    return binaries


def start(binary, directory):
    environment = {
        "PATH": os.environ["PATH"],
        "MASTER_API_KEY": MASTER_KEY,
        "DATA_DIR": str(directory),
        "LISTEN_ADDR": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "info",
        # What is written is thrown away: it need not reach the disk.
        "DATABASE_SYNCHRONOUS": "normal",
    }
    log = directory / "log"
    with log.open("wb") as file:
        server = subprocess.Popen([binary, "serve"], env=environment, cwd=directory, stdout=file, stderr=file)
    for _ in range(200):
        listening = re.search(r'"message":"listening".*"address":"([^"]*)"', log.read_text())
        if listening:
            return server, f"http://{listening[1]}"
        time.sleep(0.05)
    server.kill()
    sys.exit(f"the server does not listen:\n{log.read_text()}")


def check(options, others, binaries, directory, url):
    document = call(url, "GET", "/openapi.json")
    document_file = directory / "openapi.json"
    document_file.write_text(json.dumps(document))
    subprocess.run([binaries / "openapi-spec-validator", document_file], check=True)

    left_out = dict(LEFT_OUT)
    if options.only_built:
        left_out |= {name: "not built" for name in operations(document) if not is_built(url, name)}
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
        method, path = name.split(" ")
        del document["paths"][path][method.lower()]
    document_file.write_text(json.dumps(document))

    fixture = furnish(url, set(operations(document)))
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG)
    count_file = directory / "count"
    environment = {
        **os.environ,
        "CHATAPI_URL": url,
        "CHATAPI_FIXTURE": json.dumps(fixture),
        "CHATAPI_COUNT_FILE": str(count_file),
        "CHATAPI_KEY": fixture["api_key"],
        "CHATAPI_MASTER_KEY": MASTER_KEY,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [binaries / "schemathesis", "--config-file", config, "run", document_file, "--url", url]
    command += ["--checks", "all", "--mode", "all", "--max-examples", str(options.examples), "--continue-on-failure"]
    command += ["--request-timeout", "30", "--generation-database", "none", *others]
    failed = subprocess.run(command, env=environment, cwd=directory).returncode
    count = int(count_file.read_text()) if count_file.exists() else 0
    print(f"{count} cases")
    if failed:
        return failed
    if count < options.cases:
        return f"{count} cases are fewer than {options.cases}: raise --examples"
    return 0


def operations(document):
    for path, item in document["paths"].items():
        yield from (f"{method.upper()} {path}" for method in item if method != "parameters")


def is_built(url, name):
    method, path = name.split(" ")
    allowed = urllib.request.Request(url + re.sub(r"\{\w+\}", "1", path), method="OPTIONS")
    try:
        with urllib.request.urlopen(allowed, timeout=30) as response:
            return method in response.headers["Allow"].split(", ")
    except urllib.error.HTTPError:
        return False


def furnish(url, called):
    """Things that examples then meet."""
    master = {"X-Master-Key": MASTER_KEY}
    # The limits of a tenant are tested elsewhere, and would make answers depend on the pace of the calls.
    config = {"rate_limit": 1_000_000_000, "max_message_size": 262_144}
    tenant = call(url, "POST", "/admin/tenants", {"name": "schemathesis", "config": config}, master)
    other = call(url, "POST", "/admin/tenants", {"name": "another"}, master)
    user = {"X-API-Key": tenant["api_key"], "X-User-Id": USERS[0]}
    room = call(url, "POST", "/rooms", {"type": "group", "members": USERS, "metadata": '{"a":1}'}, user)
    path = f"/rooms/{room['room_id']}/messages"
    messages = [call(url, "POST", path, {"content": f"message {n}", "meta": "[]"}, user) for n in range(150)]
    return {
        "master_key": MASTER_KEY,
        "api_key": tenant["api_key"],
        "other_tenant_id": other["tenant_id"],
        "users": USERS,
        "room_id": room["room_id"],
        "message_id": messages[0]["message_id"],
        "last_seq": len(messages),
        "subscription_topic": "topic" if "POST /subscriptions" in called else None,
    }


def call(url, method, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
