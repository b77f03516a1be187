"""Profiles of several real processes: told to all, made by each, read by any."""

import signal
import stat
import threading

import pytest

from c2cotel.debug import parts
from c2cotel.debug.jobs import BusyError, UnknownProcessError
from c2cotel_acceptance.utils import retry_timeout

from .workers import REQUEST, ROUTE, TRACE

CHOSEN = {"seconds": 0.4, "hz": 50.0, "mode": "wall", "route": None}


def test_all_processes_are_profiled_and_any_of_them_tells_what_was_found(worker, ended):
    one, two = worker(), worker()
    job = one.start()
    assert {str(process) for process in job.processes} == {f"here/{one.pid}", f"here/{two.pid}"}
    assert (job.actor, job.address, job.silent) == ("alice", "192.0.2.7", ())
    assert ended(two, job.id) == {one.pid: "done", two.pid: "done"}
    (found,) = two.found().jobs
    assert found.job == job
    samples = two.samples(job.id)
    assert set(samples) == {f"here/{one.pid}", f"here/{two.pid}"}
    for each in samples.values():
        assert each.profile_id == job.id
        (request,) = each.requests
        assert (request.method, request.route, request.trace_id) == ("GET", ROUTE, TRACE)
        assert request.request_id == REQUEST
        (hot, *_) = (stack for stack in each.stacks if stack.route == ROUTE)
        assert [each.frames[frame].function for frame in hot.frames][-1] == "hot"


def test_one_process_is_profiled_and_the_others_are_left_alone(worker, ended):
    one, two = worker(), worker()
    job = one.start(pid=two.pid)
    assert ended(one, job.id) == {two.pid: "done"}
    assert list(one.samples(job.id)) == [f"here/{two.pid}"]


def test_a_process_that_is_not_there_is_named_with_those_that_are(worker):
    one = worker()
    with pytest.raises(UnknownProcessError) as error:
        one.start(pid=1)
    assert str(error.value) == f"1: no such process; there are here/{one.pid}"
    with pytest.raises(UnknownProcessError):
        one.start(pid=one.pid, host="elsewhere")
    assert one.found().jobs == []


def test_a_second_profile_is_refused_with_who_makes_which(worker):
    one, two = worker(), worker()
    first = one.start(seconds=30, pid=two.pid)
    with pytest.raises(BusyError) as error:
        two.start()
    assert str(error.value).startswith(
        f"here/{two.pid}: the profile {first.id} by alice runs there, for another "
    )
    assert [found.job.id for found in two.found().jobs] == [first.id]
    assert one.do("self.sampler.current") is None
    # The other process is free.
    second = two.start(seconds=30, pid=one.pid)
    assert {found.job.id for found in one.found().jobs} == {first.id, second.id}


def at_once(*starts):
    """What came of each of *starts*, which begin at the same moment."""
    together, results = threading.Barrier(len(starts)), {}

    def run(number, start):
        together.wait()
        try:
            results[number] = start()
        except BusyError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(starts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results.values())


@pytest.mark.parametrize("alone", [False, True], ids=["of all", "of all and of one"])
def test_of_several_at_once_exactly_one_begins_and_the_others_name_it(worker, alone):
    one, two, three = worker(), worker(), worker()
    where = {"pid": two.pid} if alone else {}
    for _ in range(8):
        results = at_once(
            lambda: one.start(seconds=30),
            lambda: two.start(seconds=30, **where),
            lambda: three.start(seconds=30),
        )
        (job,) = [each for each in results if not isinstance(each, BusyError)]
        for error in results:
            assert error is job or f"the profile {job.id} by alice runs there" in str(error)
        (found,) = one.found().jobs
        taking_part = {process.pid for process in job.processes}
        assert one.states(job.id) == dict.fromkeys(taking_part, "running")
        one.end(job.id)
        for each in (one, two, three):
            retry_timeout(lambda each=each: each.do("self.sampler.current") is None, 5, 0.02)
        one.do("self.profiles.jobs._parts.drop(id)", id=found.job.id)


def test_what_is_announced_and_never_begins_is_in_the_way_for_some_seconds_only(worker):
    """Whoever was asked for it died in between."""
    one = worker()
    taking_part = "self.profiles.jobs._taking_part"
    job = one.start(seconds=30)
    one.end(job.id)
    retry_timeout(lambda: one.do(f"{taking_part}.share") is None, 5, 0.02)
    one.do(f"{taking_part}.announce(job, job.processes[0])", job=job)
    with pytest.raises(BusyError, match=f"the profile {job.id} by alice runs there"):
        one.start()
    one.do(f"setattr({taking_part}._share, 'began', time.time() - 11)")
    assert one.start().id != job.id


def test_a_process_that_has_begun_begins_nothing_else(worker):
    one, two = worker(), worker()
    first = one.start(seconds=30, pid=one.pid)
    other = two.start(seconds=30, pid=two.pid)
    with pytest.raises(BusyError, match=f"the profile {first.id} by alice runs there"):
        one.do(
            "self.profiles.jobs._taking_part.begin(job, mine)", job=other, mine=first.processes[0]
        )
    assert one.states(first.id) == {one.pid: "running"}


def test_what_begins_in_one_process_only_is_called_off(worker):
    """Somebody else came first, after everybody had said to be free."""
    one, two = worker(), worker()
    two.do(
        "self.sampler.start(order, 'other', lambda _: None)",
        order=one.do("__import__('c2cotel_instrumentation.samples').samples.Order(seconds=30)"),
    )
    with pytest.raises(BusyError, match=rf"Process {two.pid} is being profiled \(profile other\)"):
        one.start(seconds=30)
    assert one.found().jobs == []
    retry_timeout(lambda: one.do("self.sampler.current") is None, 5, 0.02)
    assert (one.mark(), two.mark()) == (None, None)
    assert one.changes() == []


def test_a_profile_ended_early_keeps_what_there_is(worker, ended):
    one, two = worker(), worker()
    job = one.start(seconds=30)
    retry_timeout(lambda: two.do("self.sampler.current and time.sleep(.1) is None"), 5, 0.05)
    assert two.end(job.id) is True
    assert ended(one, job.id, 2) == {one.pid: "early", two.pid: "early"}
    assert all(each.ticks for each in one.samples(job.id).values())
    assert two.end(job.id) is False
    assert two.end("0" * 16) is False


def test_who_starts_and_stops_one_is_in_the_log_and_in_the_list_of_changes(worker):
    one = worker()
    job = one.start(seconds=30)
    told = {"id": job.id, "processes": "all", **CHOSEN, "seconds": 30.0}
    assert one.changes() == [("profile", "set", "alice", "192.0.2.7", told)]
    assert any("by alice from 192.0.2.7" in text and job.id in text for text in one.texts())
    one.end(job.id)
    assert one.changes()[0] == ("profile", "reset", "bob", "192.0.2.8", None)


def test_a_worker_that_is_killed_meanwhile_is_named_and_the_others_are_kept(worker, ended):
    one, two, three = worker(), worker(), worker()
    job = one.start(seconds=1.0)
    killed = two.pid
    two.kill()
    assert one.states(job.id)[killed] == "lost"
    states = ended(one, job.id)
    assert states == {one.pid: "done", killed: "lost", three.pid: "done"}
    assert set(one.samples(job.id)) == {f"here/{one.pid}", f"here/{three.pid}"}
    (found,) = one.found().jobs
    assert [str(part.process) for part in found.missing] == [f"here/{killed}"]


def test_a_worker_that_ends_meanwhile_leaves_what_it_has(worker, program, ended):
    one = worker()
    job = one.start(seconds=30)
    assert {process.pid for process in job.processes} == {one.pid, program.pid}
    retry_timeout(lambda: one.do("self.sampler.current.left < 29.7"), 5, 0.02)
    program.terminate()
    assert program.wait(10) == 0
    assert one.states(job.id) == {one.pid: "running", program.pid: "early"}
    one.end(job.id)
    assert ended(one, job.id) == {one.pid: "early", program.pid: "early"}
    samples = one.samples(job.id)[f"here/{program.pid}"]
    assert samples.ended_early
    assert "hot" in {frame.function for frame in samples.frames}


def test_parts_survive_the_processes_that_made_them(worker, ended):
    one, two = worker(), worker()
    job = one.start()
    ended(one, job.id)
    gone = one.pid
    one.kill()
    assert two.states(job.id) == {gone: "done", two.pid: "done"}
    assert set(two.samples(job.id)) == {f"here/{gone}", f"here/{two.pid}"}
    # Also for a worker that has taken their place.
    assert set(worker().samples(job.id)) == {f"here/{gone}", f"here/{two.pid}"}


def test_parts_can_be_read_by_nobody_else_and_are_removed_when_they_are_old(
    worker, ended, directory
):
    one = worker()
    job = one.start()
    ended(one, job.id)
    files = sorted(path for path in directory.iterdir() if path.suffix in (".json", ".bin"))
    mine = [path for path in files if job.id in path.name]
    assert [path.name.partition("-")[0] for path in mine] == ["job", "part"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in mine} == {0o600}
    for path in mine:
        one.do("os.utime(path, (then, then))", path=path, then=path.stat().st_mtime - parts.KEPT)
    assert one.found().jobs == []
    assert not any(path.exists() for path in mine)


def test_without_a_run_directory_a_process_keeps_its_own(worker, ended):
    one = worker(None)
    job = one.start()
    assert ended(one, job.id) == {one.pid: "done"}
    assert list(one.samples(job.id)) == [f"here/{one.pid}"]


def test_a_run_directory_without_room_is_said_and_the_memory_used(worker, ended, directory):
    one, two = worker(), worker()
    one.do("__import__('resource').setrlimit(1, (0, -1))")  # no file can have a byte
    one.do("__import__('signal').signal(25, __import__('signal').SIG_IGN)")
    job = two.start()
    assert ended(two, job.id) == {one.pid: "done", two.pid: "done"}
    assert set(two.samples(job.id)) == {f"here/{one.pid}", f"here/{two.pid}"}
    assert any("kept in its memory" in text for text in one.texts())
    assert not any(".tmp" in path.name for path in directory.iterdir())


def test_hosts_are_profiled_together_and_asked_for_their_parts_once_each(
    worker, ended, tmp_path, redis_server
):
    folders = {host: tmp_path / host for host in ("one", "two")}
    for folder in folders.values():
        folder.mkdir()
    made = [
        worker(folders[host], host=host, url=redis_server.url) for host in ("one", "two", "two")
    ]
    one, two, three = made
    for each in made:
        retry_timeout(each.reachable, 5, 0.02)
    job = one.start()
    expected = {f"one/{one.pid}", f"two/{two.pid}", f"two/{three.pid}"}
    assert {str(process) for process in job.processes} == expected
    assert set(ended(one, job.id).values()) == {"done"}
    assert set(one.samples(job.id)) == expected
    # The parts of a host come from any process of it, also for one that has gone.
    three.kill()
    assert set(one.samples(job.id)) == expected
    assert set(two.samples(job.id)) == expected


def test_the_same_number_on_two_hosts_needs_the_name_of_the_host(worker, tmp_path, redis_server):
    made = []
    for host in ("one", "two"):
        (tmp_path / host).mkdir()
        # As in two containers.
        made.append(worker(tmp_path / host, host=host, url=redis_server.url, pid=17))
        retry_timeout(made[-1].reachable, 5, 0.02)
    with pytest.raises(UnknownProcessError) as error:
        made[0].start(pid=17)
    assert str(error.value) == "17: several processes; write one of one/17, two/17"
    job = made[0].start(pid=17, host="two")
    assert [str(process) for process in job.processes] == ["two/17"]


def test_a_stopped_process_is_named_as_silent_and_nobody_waits_for_it(worker, ended):
    one, two = worker(), worker()
    two.signal(signal.SIGSTOP)
    try:
        job = one.start()
        assert job.silent == (f"here/{two.pid}",)
        assert ended(one, job.id, 30) == {one.pid: "done"}
    finally:
        two.signal(signal.SIGCONT)


def test_requests_that_run_meanwhile_say_so_in_their_spans(worker, ended):
    one = worker()
    job = one.start()
    assert one.mark() == job.id
    assert one.attributes() == {"c2c.profile.id": job.id}
    ended(one, job.id)
    assert one.mark() is None


def test_a_process_forked_meanwhile_has_no_profile_of_its_own(worker, ended):
    one = worker()
    job = one.start(seconds=1)
    code = "os.fork() or os._exit(1 if self.profiles.jobs._taking_part.share is None else 2)"
    child = one.do(code)
    assert one.do("os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])", child=child) == 1
    assert ended(one, job.id) == {one.pid: "done"}
