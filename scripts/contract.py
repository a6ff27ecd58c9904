"""What scripts/contract adds to Schemathesis: the same request through the proxy must be answered alike.

As a program it reads the report of a run and prints the closing line.
"""

import json
import os
import sys

# Fields that must be the same whichever way an answer took; what tells of the way (Age, Via, X-Cache) can't be.
FIELDS = ("content-type", "content-language", "allow", "link", "www-authenticate", "access-control-allow-origin", "vary")
# And of an answer that only reads, these and the body. Not Last-Modified, which says nothing yet of a change of the last seconds.
FIELDS_OF_READS = ("etag", "location")
# Answers with the time in them.
OF_THE_MOMENT = ("/status", "/sources", "/health", "/health/live", "/health/ready")


# What is changed by being asked: the second of the two finds another state.
CHANGE_ONCE = ("PUT", "DELETE")
CHANGE_ONCE_AT = ("/account/delete", "/auth/login", "/auth/register", "/auth/logout", "/me/feeds")


def differences(case, direct, through):
    """What is not alike, in words."""
    if 429 in (direct.status_code, through.status_code):
        return []  # each of the two counts for itself
    method = case.method.upper()
    if direct.status_code < 400 and (method in CHANGE_ONCE or case.path in CHANGE_ONCE_AT):
        broken = through.status_code >= 500
        return [f"status {through.status_code} through the proxy: {through.text[:300]}"] if broken else []
    if direct.status_code != through.status_code:
        return [f"status {direct.status_code} there, {through.status_code} through the proxy: {through.text[:300]}"]
    reads = method in ("GET", "HEAD") and case.path not in OF_THE_MOMENT
    names = FIELDS + (FIELDS_OF_READS if reads else ())
    pairs = [(name, direct.headers.get(name), through.headers.get(name)) for name in names]
    found = [f"{name} is {one!r} there, {other!r} through the proxy" for name, one, other in pairs if one != other]
    if reads and direct.status_code < 400 and direct.content != through.content:
        found.append(f"the body there begins {direct.text[:200]!r}, through the proxy {through.text[:200]!r}")
    return found


def main(path):
    """Counts what the report at `path` holds: each phase of the run has a scenario for each operation."""
    outcomes = {"success": 0, "failure": 0, "error": 0}
    with open(path, encoding="utf-8") as report:
        events = (json.loads(line) for line in report)
        ended = [event["ScenarioFinished"] for event in events if "ScenarioFinished" in event]
    for scenario in ended:
        if scenario["status"] in outcomes:
            outcomes[scenario["status"]] += 1
    requests = sum(len(scenario.get("recorder", {}).get("cases", {})) for scenario in ended)
    if not ended:
        outcomes["error"] += 1
    print(f"contract: {requests} requests, each directly and through the proxy")
    print(f"contract: {outcomes['success']} passed, {outcomes['failure'] + outcomes['error']} failed")


if __name__ == "__main__":
    main(sys.argv[1])
else:
    import ipaddress
    import secrets

    import requests
    import schemathesis

    ORIGIN = os.environ["LARDER_CONTRACT_ORIGIN"]
    PROXY = os.environ["LARDER_CONTRACT_PROXY"]

    def somebody():
        """The token of a new account; each comes from an address of its own, for sign-ups are counted by address."""
        address = str(ipaddress.ip_address(0x0B000000 + secrets.randbelow(1 << 24)))
        account = {"email": f"{secrets.token_hex(8)}@example.org", "password": secrets.token_hex(16)}
        answer = requests.post(f"{ORIGIN}/auth/register", json=account, headers={"X-Forwarded-For": address}, timeout=20)
        answer.raise_for_status()
        return answer.json()["token"]

    @schemathesis.auth(refresh_interval=None)
    class Token:
        """Signs in: as one person for all that leaves the session alone, as another each time for what ends it."""

        person = None

        def get(self, case, _context):
            if (case.method.upper(), case.path) in (("DELETE", "/me"), ("POST", "/auth/logout"), ("POST", "/account/delete")):
                return somebody()
            Token.person = Token.person or somebody()
            return Token.person

        def set(self, case, data, _context):
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"

    @schemathesis.check
    def same_through_proxy(_context, response, case):
        """The answer through the proxy is like the one that came directly."""
        found = differences(case, response, case.call(base_url=PROXY))
        assert not found, "; ".join(found)
