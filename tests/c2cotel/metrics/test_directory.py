"""Who shares a run directory, who empties it, and who removes it."""

import fcntl
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from c2cotel.metrics import directory as directories
from c2cotel.metrics import joining, lineage
from c2cotel.metrics.directory import RunDirectoryError
from c2cotel.metrics.joining import join

ANOTHER_PROGRAM = """
import os, sys
from c2cotel.metrics.joining import join
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.store import Store

directory = join(os.environ)
MeterProvider(Store(directory)).get_meter("tests").create_counter("hits").add(float(sys.argv[1]))
print(directory.group.instance)
if len(sys.argv) > 2:
    print(flush=True)
    sys.stdin.read()
directory.leave()
"""


def another_program(path, amount):
    """A process that was not forked from this one: joins, counts and ends; its group."""
    return subprocess.run(
        [sys.executable, "-c", ANOTHER_PROGRAM, str(amount)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"C2C_RUN_DIR": str(path)},
    ).stdout.strip()


def can_lock(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return directories.lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@pytest.fixture
def bases(tmp_path, monkeypatch):
    """Two bases of this test's own instead of /dev/shm and the temporary directory."""
    made = [tmp_path / "first", tmp_path / "second"]
    for path in made:
        path.mkdir()
    monkeypatch.setattr(joining, "_bases", lambda _: iter(made))
    return made


def test_the_first_process_makes_it_and_says_where(bases):
    environ: dict[str, str] = {}
    joined = join(environ)
    assert environ == {"C2C_RUN_DIR": str(joined.path)}
    assert joined.path.parent == bases[0]
    assert stat.S_IMODE(joined.path.stat().st_mode) == 0o700
    again = join(environ)
    assert (again.path, again.group) == (joined.path, joined.group)
    again.leave()
    joined.leave()
    assert list(bases[0].iterdir()) == []


def test_a_base_that_cannot_be_written_is_passed_over(bases):
    bases[0].rmdir()
    bases[0].write_text("no directory")
    joined = join({})
    assert joined.path.parent == bases[1]
    joined.leave()


def test_without_any_base_the_error_says_what_was_tried(bases):
    for base in bases:
        base.rmdir()
        base.write_text("no directory")
    with pytest.raises(RunDirectoryError, match="Not a directory") as no:
        join({})
    assert all(str(base) in str(no.value) for base in bases)


def test_a_named_directory_that_cannot_be_is_an_error_that_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"C2C_RUN_DIR = .*Not a directory"):
        join({"C2C_RUN_DIR": str(tmp_path / "file" / "run")})


def test_a_relative_name_does_not_follow_the_process_around(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joined = join({"C2C_RUN_DIR": "run"})
    monkeypatch.chdir("/")
    joined.renew()
    assert joined.path == tmp_path / "run"
    joined.leave()


def test_a_fresh_start_empties_a_named_directory_of_what_is_ours(tmp_path, host_in):
    run = tmp_path / "run"
    run.mkdir()
    foreign = [run / name for name in ("data.json", "notes.tmp", "my.slab")]
    for path in foreign:
        path.write_text("{}")
    (run / "folded.slab.77.tmp").write_text("")
    groups = {another_program(run, 5), another_program(run, 6)}
    assert len(list(run.glob("*-*.slab"))) == 1
    with host_in(run) as host:
        assert host.merged().get("hits", {}) == {}
        assert len(groups | {host.directory.group.instance}) == 3
    assert not (run / "folded.slab.77.tmp").exists()
    assert all(path.exists() for path in foreign)


def test_a_program_that_is_started_joins_and_its_counts_stay(host):
    host.meter.create_counter("hits").add(1)
    assert another_program(host.path, 20) == host.directory.group.instance
    assert host.merged()["hits"] == {(): 21}
    host.fold()
    assert host.merged()["hits"] == {(): 21}


def test_many_that_start_at_once_are_one_group(tmp_path):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ANOTHER_PROGRAM, "1", "wait"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"C2C_RUN_DIR": str(tmp_path / "run")},
        )
        for _ in range(4)
    ]
    groups = {program.stdout.readline() for program in programs}
    for program in programs:
        program.communicate("", timeout=30)
    assert len(groups) == 1


def test_the_last_to_leave_removes_what_was_made_for_the_run(bases, host):
    environ: dict[str, str] = {}
    joined = join(environ)
    program = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROGRAM, "1", "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    )
    assert program.stdout.readline().strip() == joined.group.instance
    joined.leave()
    assert joined.path.exists()
    joined.leave()  # twice does no harm
    again = join(environ)
    assert again.group == joined.group
    program.communicate("", timeout=30)
    assert again.path.exists()
    again.leave()
    assert not again.path.exists()
    del host, bases


def age(path):
    os.utime(path, (0, 0))


def leftover(base, name):
    """What a killed service leaves: nobody holds its locks, and its first process is gone."""
    path = base / f"c2cotel-run-{name}"
    path.mkdir()
    for file in ("presence", "setup", "fold"):
        (path / file).touch()
    age(path)
    return path


def test_a_process_that_has_ended_is_dead_before_its_parent_asks():
    """A master that was killed is a zombie while its workers leave: who else would clean up?"""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = lineage.of(child.pid)
    assert lineage.is_alive(known)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not lineage.is_alive(known)
    child.wait()


def test_what_was_killed_a_moment_ago_is_swept(bases):
    environ = {}
    killed = join(environ)
    group = json.loads((killed.path / "group.json").read_text())
    path = killed.path.with_name("c2cotel-1-1")
    shutil.copytree(killed.path, path)
    (path / "group.json").write_text(json.dumps({**group, "origin": "1-1"}))
    killed.leave()
    join({}).leave()
    assert list(bases[0].iterdir()) == []


def test_what_killed_services_left_is_swept(bases, tmp_path):
    dead, young, alive = (leftover(bases[0], name) for name in ("dead", "young", "alive"))
    os.utime(young)
    half = bases[0] / "c2cotel-99999999-7"
    half.mkdir()
    age(half)
    other = bases[0] / "other"
    other.mkdir()
    age(other)
    (tmp_path / "precious").mkdir()
    # Somebody else's that begins like ours.
    alike = bases[0] / "c2cotel-backup"
    alike.mkdir()
    age(alike)
    link = bases[0] / "c2cotel-run-link"
    link.symlink_to(tmp_path / "precious")
    os.utime(link, (0, 0), follow_symlinks=False)
    (bases[0] / "c2cotel-run-file").write_text("x")
    age(bases[0] / "c2cotel-run-file")
    presence = os.open(alive / "presence", os.O_RDWR)
    fcntl.flock(presence, fcntl.LOCK_SH)
    joined = join({})
    left = {path.name for path in bases[0].iterdir()} - {joined.path.name}
    ours = {f"c2cotel-run-{name}" for name in ("young", "alive", "link", "file")}
    assert left == {*ours, "c2cotel-backup", "other"}
    assert list((tmp_path / "precious").iterdir()) == []
    os.close(presence)
    joined.leave()
    del dead


def test_joining_while_the_last_one_removes_it_makes_it_again(tmp_path):
    """Its directory is gone, or its lock file is not the one in the directory any more."""
    run, stop = tmp_path / "run", threading.Event()

    def remove():
        while not stop.is_set():
            directories.remove_if_deserted(run)
            time.sleep(0.0005)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(50):
            joined = join({"C2C_RUN_DIR": str(run)})
            assert (run / "group.json").exists()
            assert os.path.samestat(os.fstat(joined._presence), (run / "presence").stat())
            joined.leave()
    finally:
        stop.set()
        remover.join()


@pytest.mark.alone
def test_a_lock_that_is_never_released_is_waited_for_two_seconds(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    descriptor = os.open(run / "setup", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    begun = time.monotonic()
    with pytest.raises(RunDirectoryError, match="another process keeps it locked"):
        join({"C2C_RUN_DIR": str(run)})
    assert 1.9 < time.monotonic() - begun < 4
    os.close(descriptor)


# --- forks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fold", "serve"])
@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without hooks"])
def test_a_child_does_not_keep_a_lock_of_its_parent(host, name, hooks):
    host.meter.create_counter("hits").add(1)
    held = host.directory.hold(name)

    def child(channel):
        host.meter.create_counter("hits").add(1)
        channel.say(host.directory.hold(name))
        channel.hear()

    living = host.fork(child, hooks=hooks)
    assert living.hear() is None
    assert not can_lock(host.path / name)
    host.directory.release(held)
    assert can_lock(host.path / name)
    living.say("end")
    living.join()


def test_a_child_does_not_keep_the_lock_for_joining(host):
    with host.directory._alone():
        living = host.fork(lambda channel: (channel.say(0), channel.hear()))
        living.hear()
        assert not can_lock(host.path / "setup")
    assert can_lock(host.path / "setup")
    join({"C2C_RUN_DIR": str(host.path)}).leave()
    living.say("end")
    living.join()


def test_a_child_that_was_forked_during_a_fold_does_not_stop_later_folds(host):
    """As a worker that gunicorn starts while a scrape folds."""
    host.meter.create_counter("hits").add(1)
    stop = threading.Event()

    def fold():
        while not stop.is_set():
            held = host.directory.hold("fold")
            if held is not None:
                host.directory.release(held)

    folder = threading.Thread(target=fold, daemon=True)
    folder.start()
    living = [host.fork(lambda channel: (channel.say(0), channel.hear())) for _ in range(15)]
    for child in living:
        child.hear()
    stop.set()
    folder.join()
    assert can_lock(host.path / "fold")
    for child in living:
        child.say("end")
        child.join()


def test_a_dead_parent_does_not_look_alive_while_its_child_lives(host):
    counter = host.meter.create_counter("hits")
    active = host.meter.create_up_down_counter("active")

    def parent(channel):
        counter.add(1)
        active.add(1)
        channel.say(host.orphan(lambda: None))
        channel.hear()

    made = host.fork(parent)
    grandchild = made.hear()
    assert host.merged()["active"] == {(): 1}
    made.kill()
    assert host.merged().get("active", {}) == {}
    assert host.fold() == 1
    assert host.merged()["hits"] == {(): 1}
    os.kill(grandchild, signal.SIGKILL)  # it was alive


def test_forking_while_the_first_series_is_made_leaves_no_descriptor(host):
    """The child could not close a slab that is half made; its owner would seem to live on."""
    for _ in range(10):
        start = threading.Barrier(2)
        store = type(host.store)(host.directory)

        def make(start=start, store=store):
            start.wait()
            store.add_series(b'["counter","x","","",["","","",[]],[],"pid"]', b"[]", 1)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        start.wait()
        child = host.fork(
            lambda channel: channel.say(
                [
                    link
                    for fd in Path("/proc/self/fd").iterdir()
                    # Its own it may have: gunicorn's workers open one at once.
                    if "slab" in (link := read_link(fd)) and f"-{os.getpid()}." not in link
                ]
            )
        )
        assert child.hear() == []
        child.join()
        thread.join()
        store.slab.close()


def read_link(path):
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_renewing_fails_softly_when_the_directory_is_gone(host, caplog):
    host.path.rename(host.path.with_name("gone"))
    child = host.fork(lambda channel: channel.say(host.directory._presence))
    assert child.hear() is None
    host.path.with_name("gone").rename(host.path)
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


# --- lineage --------------------------------------------------------------------------------------


def test_the_origin_of_a_forked_process_is_the_one_that_was_started(host):
    mine = lineage.origin()

    def child(channel):
        inner = host.fork(lambda deeper: deeper.say(lineage.origin()))
        channel.say((lineage.origin(), inner.hear()))

    assert host.fork(child).hear() == (mine, mine)
    assert lineage.is_alive(mine)
    assert not lineage.is_alive("1-0")
    assert not lineage.is_alive("999999999-1")


def test_workers_of_a_master_that_knows_nothing_of_us_find_each_other(tmp_path):
    """Without preloading, the application is set up in each worker, after the fork."""
    program = f"""
import os
import shutil
from pathlib import Path
from c2cotel.metrics import joining
joining._bases = lambda _: iter([Path({str(tmp_path)!r})])
for _ in range(2):
    if not (pid := os.fork()):
        joined = joining.join({{}})
        print(joined.group.instance, joined.path.name, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    out = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    ).stdout.splitlines()
    assert len(out) == 2
    assert out[0] == out[1]
