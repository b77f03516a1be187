"""What jobs leave on a host: files that are bounded, and may be anything when they are read."""

import os
import stat
import time
import zlib

import pytest

from c2cotel.debug import parts as module
from c2cotel.debug.gathered import listing
from c2cotel.debug.job_records import Job, Left, Part, Participant
from c2cotel.debug.parts import Parts, compressed, expanded

ME = Participant("web-1", os.getpid(), "0123456789abcdef")
OTHER = Participant("web-1", 1, "fedcba9876543210")


def job(number=1, seconds=10.0, processes=(ME,)):
    return Job(
        kind="profile",
        id=f"{number:016x}",
        order={"hz": 100},
        seconds=seconds,
        at=1_800_000_000.0,
        actor="alice",
        processes=tuple(processes),
    )


@pytest.fixture
def directory(tmp_path):
    return tmp_path


@pytest.fixture(params=["files", "memory"])
def parts(request, directory):
    """In a directory, and without one."""
    return Parts("profile", lambda: directory if request.param == "files" else None)


@pytest.fixture
def files(directory):
    return Parts("profile", lambda: directory)


def leave(parts, ordered, body=b"found", **more):
    parts.note(ordered)
    parts.begin(ordered, ME)
    parts.end(ordered, ME, "done", began=1_800_000_001.0, body=body, **more)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_is_left_is_told_with_its_state_and_its_summary(parts):
    ordered = job()
    parts.note(ordered)
    parts.begin(ordered, ME)
    (left,) = parts.left()
    (part,) = left.parts
    assert (left.job, part.process, part.state) == (ordered, ME, "running")
    assert 9 < part.left <= 10
    parts.end(ordered, ME, "done", began=part.began, body=b"found", summary={"ticks": 7})
    (left,) = parts.left(ordered.id)
    (part,) = left.parts
    assert (part.state, part.size, part.summary, part.note) == ("done", 5, {"ticks": 7}, "")
    ((token, data),) = parts.bodies(ordered.id, [ME.token, OTHER.token])
    assert (token, expanded(data)) == (ME.token, b"found")
    assert list(parts.bodies(ordered.id, [OTHER.token])) == []
    assert parts.left("0" * 16) == []
    parts.drop(ordered.id)
    assert parts.left() == []


def test_a_part_of_a_process_that_is_not_alive_is_lost(files):
    ordered = job()
    files.note(ordered)
    files._life = "1234567-1"
    files.begin(ordered, ME)
    ((part,),) = (left.parts for left in files.left())
    assert part.state == "lost"


def test_a_part_that_is_overdue_is_lost(parts):
    ordered = job(seconds=0.0)
    parts.note(ordered)
    parts.begin(ordered, ME)
    assert parts.left()[0].parts[0].state == "running"
    then = 1.0 + module.OVERDUE + 0.1
    part = module._now(Part(process=ME, began=1.0, life=parts._life), ordered, then)
    assert part.state == "lost"


def test_files_can_be_read_by_nobody_else(files, directory):
    old = os.umask(0)
    try:
        leave(files, job())
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert names(directory) == [
        f"job-profile-{1:016x}.json",
        f"part-profile-{1:016x}-{ME.pid}-{ME.token}.bin",
    ]


def test_other_files_are_left_alone(files, directory):
    kept = ["folded.slab", "job-memory-0000000000000001.json", "job-profile-x.json", "part-.bin"]
    for name in kept:
        (directory / name).write_text("{}")
        os.utime(directory / name, (1, 1))
    leave(files, job())
    files.tidy()
    files.drop(job().id)
    assert names(directory) == sorted(kept)


def test_of_many_jobs_the_newest_are_kept(parts):
    numbers = range(module.MOST_JOBS + 5)
    for number in numbers:
        leave(parts, job(number))
        if parts.directory:
            moment = time.time() - 500 + number
            for path in parts.directory.glob(f"*{number:016x}*"):
                os.utime(path, (moment, moment))
    parts.tidy()
    kept = {left.job.id for left in parts.left()}
    assert kept == {f"{number:016x}" for number in numbers[-module.MOST_JOBS :]}


def test_of_much_the_newest_is_kept(parts, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 5_000)
    for number in range(1, 5):
        leave(parts, job(number), body=os.urandom(2_000))
    assert [left.job.id for left in parts.left() if left.parts] in (
        [f"{4:016x}", f"{3:016x}"],
        [f"{4:016x}"],
    )


def test_what_is_too_much_for_itself_is_said(parts, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 1_000)
    leave(parts, job(), body=b"x" * 1_001)
    part = parts.left()[0].parts[0]
    assert (part.state, part.size) == ("failed", 0)
    assert part.note == "it found 1001 bytes, 1000 at most"
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    leave(parts, job(2), body=os.urandom(900))
    found = {left.job.id: left.parts[0] for left in parts.left()}
    assert found[f"{2:016x}"].note == "the others have left no room for what it found"


def test_what_cannot_be_read_is_left_out_and_said_once(files, directory, caplog):
    leave(files, job())
    whole = set(names(directory))
    (directory / f"job-profile-{2:016x}.json").write_bytes(b"\xff{")
    (directory / f"job-profile-{3:016x}.json").write_text('{"kind": 1}')
    (directory / f"job-profile-{4:016x}.json").mkdir()
    (directory / f"part-profile-{1:016x}-7-ab.bin").write_bytes(b"no JSON")
    (directory / f"part-profile-{5:016x}-7-ab.bin").write_bytes(b"{}\n")
    for _ in range(2):
        (left,) = files.left()
        assert [part.process for part in left.parts] == [ME]
    said = sorted(record.getMessage().partition(" is left out")[0] for record in caplog.records)
    assert said == sorted(str(directory / name) for name in set(names(directory)) - whole)
    (directory / f"part-profile-{1:016x}-{ME.pid}-{ME.token}.bin").write_bytes(b"{}\nnot zlib")
    ((_, data),) = files.bodies(job().id, [ME.token])
    with pytest.raises(ValueError, match="cannot be read"):
        expanded(data)


def test_a_directory_that_has_gone_is_none(tmp_path):
    parts = Parts("profile", lambda: tmp_path / "gone")
    assert (parts.place, parts.left(), parts.tidy()) == ("", [], None)
    leave(parts, job())
    assert parts.has_own
    assert [left.job.id for left in parts.left()] == [job().id]


def test_what_was_left_half_written_is_removed(files, directory):
    aside = directory / f"part-profile-{1:016x}-7-ab.bin.7.tmp"
    aside.touch()
    files.tidy()
    assert aside.exists()
    os.utime(aside, (1, 1))
    files.tidy()
    assert not aside.exists()


def test_a_bomb_is_not_expanded():
    with pytest.raises(ValueError, match="too long"):
        expanded(zlib.compress(b"\0" * (module.LONGEST + 1), 9))
    with pytest.raises(ValueError, match="not whole"):
        expanded(compressed(os.urandom(100))[:-3])


def test_processes_without_a_word_are_lost_when_there_was_time_for_one():
    ordered = job(processes=(ME, OTHER))
    done = Part(process=ME, state="done")
    (found,) = listing([Left(job=ordered, parts=(done,), age=1.0)]).jobs
    assert [part.state for part in found.parts] == ["done", "running"]
    assert (found.state, found.left) == ("running", 9.0)
    (found,) = listing([Left(job=ordered, parts=(done,), age=6.0)]).jobs
    assert [part.state for part in found.parts] == ["done", "lost"]
    assert (found.state, found.left, found.missing) == ("done", 0.0, found.parts[1:])


def test_hosts_are_put_together_with_the_newest_first():
    first, second = job(1, processes=(ME, OTHER)), job(2)
    one = [Left(job=first, parts=(Part(process=ME, state="done"),), age=60.0)]
    two = [
        Left(job=second, parts=(), age=30.0),
        Left(job=first, parts=(Part(process=OTHER, state="early"),), age=61.0),
    ]
    found = listing(one + two, ("web-2/9",))
    assert found.silent == ("web-2/9",)
    assert [each.job for each in found.jobs] == [second, first]
    assert [part.state for part in found.jobs[1].parts] == ["done", "early"]
