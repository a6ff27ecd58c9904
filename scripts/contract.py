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


def differences(case, direct, through):
    """What is not alike, in words."""
    if 429 in (direct.status_code, through.status_code):
        return []  # each of the two counts for itself
    reads = case.method.upper() in ("GET", "HEAD") and case.path not in OF_THE_MOMENT
    if direct.status_code != through.status_code:
        return [f"status {direct.status_code} there, {through.status_code} through the proxy: {through.text[:300]}"]
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
    import schemathesis

    @schemathesis.check
    def same_through_proxy(_context, response, case):
        """The answer through the proxy is like the one that came directly."""
        through = case.call(base_url=os.environ["LARDER_CONTRACT_PROXY"])
        found = differences(case, response, through)
        assert not found, "; ".join(found)
