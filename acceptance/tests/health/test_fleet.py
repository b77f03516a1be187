"""Several processes and several applications: who runs what, and what Prometheus sees of it."""

import itertools
import time

from c2cotel_acceptance.utils import retry_timeout

OTHER = "fedcba9876543210fedcba9876543210fedcba98"
STATUS = "c2c_health_check_status"


def test_the_version_check_names_the_odd_ones_out(probe, start, valkey):
    def all_are_there():
        return probe.check(max_level=2).body["successes"]["version"]["result"]["count"] == 4

    retry_timeout(all_are_there, 20, 0.2)
    odd = start(version=OTHER, workers=2, env={"C2C_REDIS_URL": valkey.url})

    def all_are_known():
        report = probe.check(max_level=2, checks="version")
        if not report.failing:
            return None
        # The workers of the second begin to listen one after the other.
        places = report.body["failures"]["version"]["result"].values()
        return report if sum(len(each) for each in places) == 4 + 2 else None

    report = retry_timeout(all_are_known, 20, 0.2)
    failure = report.body["failures"]["version"]
    where = failure["message"].partition(f", but {OTHER} on ")[2].split(", ")
    assert {int(place.rpartition("/")[2]) for place in where} == set(odd.service.workers())
    assert {len(places) for places in failure["result"].values()} == {4, 2}
    # Each of the two sees the same.
    assert odd.check(max_level=2).failing == {"version"}
    # Others are told the versions, not where they run.
    told = probe.anonymous().check(max_level=2).body["failures"]["version"]
    assert told["message"].startswith("Non identical versions: ")
    assert f"{OTHER} (2)" in told["message"]
    assert "/" not in told["message"]
    assert "result" not in told
    assert probe.check().status == 200
    odd.service.process.stop()
    retry_timeout(lambda: not probe.check(max_level=2).failing, 20, 0.1)


def test_prometheus_sees_what_any_worker_has_found_at_the_next_scrape(probe, prometheus):
    watching = prometheus(probe.service)
    query = f'{STATUS}{{c2c_check_name="custom"}}'
    probe.check(max_level=2)
    watching.wait_value(query, 1.0)
    asked = set()
    for happy in itertools.cycle((False, True)):
        probe.be(happy=happy)
        asked.add(probe.check(max_level=2).worker)
        at = time.time()
        found = retry_timeout(lambda at=at: scraped_after(watching, query, at), 5, 0.05)
        assert found == [happy], "one series, of the worker that has looked last"
        if len(asked) >= 3 and happy:
            break
    assert watching.value(f'count({STATUS}{{c2c_check_name="custom"}})') == 1


def scraped_after(watching, query, at):
    """The values of the first scrape after *at*, as booleans; empty as long as there is none."""
    times = watching.query(f"timestamp({query})")
    values = watching.query(query)
    if not times or min(when for _, when in times) <= at:
        return []
    return [bool(value) for _, value in values]
