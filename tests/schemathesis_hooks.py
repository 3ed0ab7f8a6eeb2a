"""What a schema cannot say, for schemathesis (see schemathesis_run.py): each rule stands here with its reason.

Only what was generated as valid is changed, and what is changed stays valid: a negative case goes out as it is.
"""

import atexit
import itertools
import json
import os
import urllib.request
import zlib

import schemathesis
from schemathesis.core.parameters import ParameterLocation as At

URL = os.environ["CHATAPI_URL"]
FIXTURE = json.loads(os.environ["CHATAPI_FIXTURE"])
COUNT_FILE = os.environ["CHATAPI_COUNT_FILE"]

USERS = FIXTURE["users"]
# A URL parser's rules are no regular expression's.
WEBHOOK_URLS = ["http://127.0.0.1:9/hook", "HTTPS://example.invalid:8443/a?b=c"]
CASES = itertools.count()


@atexit.register
def tell_count():
    with open(COUNT_FILE, "w", encoding="ascii") as file:
        file.write(str(next(CASES)))


@schemathesis.hook
def after_call(context, case, response):
    next(CASES)


@schemathesis.hook
def before_call(context, case, kwargs):
    name = f"{case.operation.method.upper()} {case.operation.path}"
    # Half of the cases, and the same half in each run of a seed.
    meets_the_real = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode(errors="replace")) % 2 == 0
    if is_valid(case, At.PATH) and meets_the_real:
        name_real_things(case, name)
    if is_valid(case, At.HEADER) and "X-User-Id" in (case.headers or {}):
        name_the_user(case, meets_the_real)
    if is_valid(case, At.QUERY) and {"after_seq", "before_seq"} <= set(case.query or {}):
        # Two parameters that exclude each other: OpenAPI has no word for it.
        del case.query["before_seq"]
    if is_valid(case, At.QUERY) and "after" in (case.query or {}) and "/rooms/" in name:
        # `after` is opaque to clients; in lists of members a text that is no user's is refused.
        case.query["after"] = USERS[0]
    if is_valid(case, At.BODY) and isinstance(case.body, dict):
        mend_body(case, name, meets_the_real)
    if is_valid(case, At.HEADER) and "Idempotency-Key" in (case.headers or {}):
        # The same key is refused beside another body.
        body = zlib.crc32(repr(case.body).encode(errors="replace"))
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:100]}-{body}"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # A method that HTTP's reader does not know is 501 wherever it comes; schemathesis expects 405 and no 5xx.
    return not (response.status_code == 501 and response.request.method == "QUERY")


def is_valid(case, location):
    """Whether this part of the case was generated to be accepted."""
    meta = case.meta
    return meta is not None and not meta.is_negative_at(location)


def name_real_things(case, name):
    parameters = dict(case.path_parameters or {})
    if not parameters:
        return
    if "tenant_id" in parameters:
        # Never the fixture's own tenant: it would be gone, or have another key, for all that follows.
        parameters["tenant_id"] = new_tenant()["tenant_id"] if name.startswith("DELETE") else FIXTURE["other_tenant_id"]
    if "room_id" in parameters:
        # What is deleted or left is a room of its own, so that the others go on to meet theirs.
        is_lasting = not name.startswith("DELETE")
        parameters["room_id"] = FIXTURE["room_id"] if is_lasting else new_room()["room_id"]
        if "message_id" in parameters:
            parameters["message_id"] = (
                FIXTURE["message_id"] if is_lasting else new_message(parameters["room_id"])["message_id"]
            )
        if "user_id" in parameters:
            parameters["user_id"] = USERS[-1]
    if "id" in parameters and FIXTURE.get("subscription_topic"):
        made = tenant("POST", "/subscriptions", {"topic": FIXTURE["subscription_topic"]})
        parameters["id"] = made["id"]
    case.path_parameters = parameters


def name_the_user(case, meets_the_real):
    given = case.headers["X-User-Id"]
    if not isinstance(given, str):
        return
    # 128 is a limit of bytes, where JSON Schema counts characters.
    if meets_the_real or len(given.encode(errors="replace")) > 128:
        given = USERS[0]
    # Raw UTF-8 in a header: requests would send Latin-1.
    case.headers["X-User-Id"] = given.encode(errors="replace").decode("latin-1")


def mend_body(case, name, meets_the_real):
    body = whole_numbers(dict(case.body))
    for key in ("metadata", "meta"):
        # JSON inside a string.
        if isinstance(body.get(key), str) and body[key] != "":
            text = json.dumps(body[key], ensure_ascii=False)
            body[key] = text if len(text.encode(errors="replace")) <= 16_384 else "{}"
    if isinstance(body.get("config"), dict) and isinstance(body["config"].get("webhook_url"), str):
        url = WEBHOOK_URLS[len(body["config"]["webhook_url"]) % len(WEBHOOK_URLS)]
        body["config"] = {**body["config"], "webhook_url": url}
    if isinstance(body.get("members"), list):
        # How many members a room has depends on its type, and on who calls.
        members = [member for member in dict.fromkeys(body["members"]) if len(member.encode(errors="replace")) <= 128]
        if body.get("type") == "dm":
            # With two others, whoever calls; a user of the fixture may be one of them already.
            members = list(dict.fromkeys([*members[:2], *USERS]))[:2]
        body["members"] = members or USERS[:1]
    if name.startswith("POST /rooms/") and isinstance(body.get("user_id"), str):
        # Again bytes.
        if len(body["user_id"].encode(errors="replace")) > 128:
            body["user_id"] = USERS[0]
    if name == "POST /acks" and isinstance(body.get("seq"), int):
        # What may be acknowledged depends on what was sent: in a room of another case that may be nothing.
        if meets_the_real:
            body["room_id"] = FIXTURE["room_id"]
        body["seq"] %= FIXTURE["last_seq"] + 1 if body.get("room_id") == FIXTURE["room_id"] else 1
    targets = body.get("targets")
    if isinstance(targets, dict):
        targets = dict(targets)
        if isinstance(targets.get("user_ids"), list):
            targets["user_ids"] = [user for user in targets["user_ids"] if len(user.encode(errors="replace")) <= 128]
        if meets_the_real and isinstance(targets.get("room_id"), str):
            targets["room_id"] = FIXTURE["room_id"]
        body["targets"] = targets
    case.body = body


def whole_numbers(value):
    """`1.0` is an integer to JSON Schema; on the wire a field that takes one has it written without a fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    # Inside a payload, which may be any JSON, no schema reaches: integers lie within ±(2^53 − 1) there too.
    if isinstance(value, int) and abs(value) >= 2**53:
        return value % 2**53
    if isinstance(value, dict):
        return {key: whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    return value


def new_tenant():
    return call("POST", "/admin/tenants", {"name": "to go"}, {"X-Master-Key": FIXTURE["master_key"]})


def new_room():
    return tenant("POST", "/rooms", {"type": "group", "members": USERS})


def new_message(room_id):
    return tenant("POST", f"/rooms/{room_id}/messages", {"content": "to go"})


def tenant(method, path, body):
    return call(method, path, body, {"X-API-Key": FIXTURE["api_key"], "X-User-Id": USERS[0]})


def call(method, path, body, headers):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
