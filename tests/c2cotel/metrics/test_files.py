"""The files of a run directory: foreign ones, broken ones, half-folded ones, and full disks."""

import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from c2cotel.metrics.fold import Folder
from c2cotel.metrics.merge import FOLD, Merge
from c2cotel.metrics.slab import CAPACITY, MEMBERS, Slab, read_header, read_records
from c2cotel.metrics.store import Store

KEY = (("a", "x"),)


def counted(host, merge=None):
    return sum(host.merged(merge).get("hits", {}).values())


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def slab_of(*records):
    """The bytes of a slab with these (key, doubles, instrument)."""
    slab = Slab(None)
    for key, doubles, instrument in records:
        slab.append(key, doubles, instrument)
    image = slab.image
    slab.close()
    return image


def as_directory(path):
    path.mkdir()


def as_pipe(path):
    os.mkfifo(path)


def as_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        # The name of a socket is short, a test's directory is not.
        here = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def as_dangling_link(path):
    path.symlink_to("nowhere")


def as_link(path):
    (path.parent / "elsewhere").write_bytes(slab_of())
    path.symlink_to("elsewhere")


def with_bytes(content):
    return lambda path: path.write_bytes(content)


WHOLE = slab_of()
COUNTER = b'["counter","hits","","",["tests","","",[]],[],"pid"]'
AT = len(WHOLE) // 8


def with_header(used):
    return WHOLE[:16] + struct.pack("=Q", used) + WHOLE[24:]


FOREIGN = {
    "a directory": as_directory,
    "a pipe": as_pipe,
    "a socket": as_socket,
    "a link to nothing": as_dangling_link,
    "a link": as_link,
    "an empty file": with_bytes(b""),
    "half a header": with_bytes(WHOLE[:20]),
    "text": with_bytes(b"hello " * 1000),
    "another magic": with_bytes(b"C2CSLAB9" + WHOLE[8:]),
    "cut short": with_bytes(slab_of((COUNTER, 0, 0))[:-8]),
    "nothing but a header": with_bytes(WHOLE[:64]),
    "says it is huge": with_bytes(with_header(2**62)),
    "says it is one terabyte": with_bytes(with_header(2**40)),
    "says it has no header": with_bytes(with_header(8)),
    "says an odd number of bytes": with_bytes(with_header(len(WHOLE) - 1)),
    "a record of length 0": with_bytes(
        slab_of((COUNTER, 0, 0))[: len(WHOLE)] + bytes(len(slab_of((COUNTER, 0, 0))) - len(WHOLE))
    ),
    "a key that is no JSON": with_bytes(slab_of((b"not json", 0, 0))),
    "an instrument of two words": with_bytes(slab_of((b'["counter","hits"]', 0, 0))),
    "an instrument of another kind": with_bytes(
        slab_of((COUNTER.replace(b'["counter"', b'["miracle"'), 0, 0))
    ),
    "an instrument with a number for a name": with_bytes(
        slab_of((COUNTER.replace(b'"hits"', b"5"), 0, 0))
    ),
    "a series without an instrument": with_bytes(slab_of((b"[]", 1, AT + 1))),
    "a series with two numbers for one": with_bytes(slab_of((COUNTER, 0, 0), (b"[]", 2, AT))),
    "a series with a number for a name": with_bytes(slab_of((COUNTER, 0, 0), (b"[[5,1]]", 1, AT))),
    "a series with an object": with_bytes(slab_of((COUNTER, 0, 0), (b'[["a",{}]]', 1, AT))),
    "a series nested deeply": with_bytes(slab_of((COUNTER, 0, 0), (b"[" * 100_000, 1, AT))),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_no_slab_is_skipped_with_one_warning(host, caplog, make):
    name = f"{0:020d}-1.slab"
    host.meter.create_counter("hits").add(2)
    make(host.path / name)
    host.ended(lambda: host.meter.create_counter("hits").add(3))
    merge = Merge(host.path)
    assert [counted(host, merge), counted(host, merge)] == [5, 5]
    assert len(warned(caplog)) == 1
    assert name in warned(caplog)[0]
    folder = Folder(host.directory)
    assert folder.fold() >= 1
    assert folder.fold() == 0
    assert counted(host) == counted(host, merge) == 5


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_fold_that_is_none_is_skipped(host, caplog, make):
    host.meter.create_counter("hits").add(2)
    make(host.path / FOLD)
    assert counted(host) == 2
    assert any(FOLD in message for message in warned(caplog))


@pytest.mark.parametrize("members", [b"5", b"not json", b'[["nested"]]', b'{"a":1}'])
def test_a_fold_with_a_strange_list_of_members_is_skipped(host, caplog, members):
    host.meter.create_counter("hits").add(2)
    (host.path / FOLD).write_bytes(slab_of((members, 0, MEMBERS)))
    host.ended(lambda: host.meter.create_counter("hits").add(3))
    assert counted(host) == 5
    host.fold()
    assert counted(host) == 5
    del caplog


def test_one_unreadable_series_does_not_hide_the_next(host, caplog):
    good = b'[["a","x"]]'
    image = bytearray(slab_of((COUNTER, 0, 0), (b"broken", 1, AT), (good, 1, AT)))
    *_, last = read_records(bytes(image), read_header(bytes(image)).used)
    struct.pack_into("=d", image, last.first * 8, 7.0)
    (host.path / f"{1:020d}-1.slab").write_bytes(image)
    assert host.merged()["hits"] == {KEY: 7}
    assert len(warned(caplog)) == 1


def test_attributes_in_attributes_are_counted_and_so_is_what_follows(host):
    counter = host.meter.create_counter("hits")
    counter.add(1, {"a": [[1, 2], ["b"]]})
    counter.add(2, {"a": "x"})
    assert host.merged()["hits"] == {(("a", ("[1, 2]", "['b']")),): 1, KEY: 2}


def test_a_slab_that_grows_while_it_is_read_is_read(host):
    """Its length is read before its bytes, and its owner goes on in between."""
    ready = host.fork(lambda channel: grow(host, channel))
    assert ready.hear() == "growing"
    merge, before = Merge(host.path, max_series=100_000), 0.0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        now = counted(host, merge)
        assert now >= before
        assert merge.unreadable == set()
        before = now
    assert before > 0


def grow(host, channel):
    counter = host.meter.create_counter("hits")
    host.store.max_series = 100_000
    counter.add(1, {"a": -1})
    channel.say("growing")
    for number in range(100_000):
        counter.add(1, {"a": number})


# --- the fold ---------------------------------------------------------------------------------


def die_at(number, *events):
    """Be killed at the *number*-th of these audit events."""
    left = [number]

    def count(event, _):
        if event in events:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def crashed_fold(host, number, *events):
    def fold(_):
        die_at(number, *events)
        Folder(host.directory).fold()

    host.fork(fold).join()


def test_the_files_are_those_of_the_living_and_one_more(host):
    host.meter.create_counter("hits").add(1)
    for _ in range(20):
        host.ended(lambda: host.meter.create_counter("hits").add(1))
        host.fold()
    assert len(host.slabs()) == 2
    assert counted(host) == 21


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_folds_that_crash_one_after_the_other_count_once(host, first, second):
    """What the first left behind is not in the list of the second, so it must be gone by then."""
    host.meter.create_counter("hits").add(1)
    merge = Merge(host.path)
    for amount, crash in ((10, first), (100, second)):
        host.ended(lambda amount=amount: host.meter.create_counter("hits").add(amount))
        host.ended(lambda amount=amount: host.meter.create_counter("hits").add(amount))
        crashed_fold(host, crash, "os.rename", "os.remove")
        assert counted(host) == counted(host, merge)
    assert counted(host) == 221
    host.fold()
    assert counted(host) == counted(host, merge) == 221
    assert len(host.slabs()) == 2


def test_scrapes_while_folds_go_on_never_go_backwards(host):
    host.meter.create_counter("hits").add(1)

    def come_and_go(channel):
        for _ in range(20):
            host.ended(lambda: host.meter.create_counter("hits").add(1))
            host.fold()
        channel.say("done")

    child = host.fork(come_and_go)
    before, merge = 0.0, Merge(host.path)
    while child.exited is not None:
        for now in (counted(host, merge), counted(host)):
            assert now >= before
            before = now
        if before == 21:
            break
    assert child.hear() == "done"
    assert counted(host) == 21


def test_a_temporary_file_is_removed_when_nobody_can_be_writing_it(host):
    old, new, foreign = (host.path / n for n in ("slab-1-1.tmp", "slab-1-2.tmp", "notes.tmp"))
    for path in (old, new, foreign):
        path.write_bytes(b"x")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    host.ended(lambda: host.meter.create_counter("hits").add(1))
    host.fold()
    assert [old.exists(), new.exists(), foreign.exists()] == [False, True, True]


def test_a_fold_without_room_leaves_everything_where_it_is(host):
    def fold(channel):
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
        try:
            Folder(host.directory).fold()
        except OSError as error:
            channel.say(error.strerror)

    host.ended(lambda: host.meter.create_counter("hits").add(3))
    assert host.fork(fold).hear() == "File too large"
    assert counted(host) == 3
    assert [p.name for p in host.path.glob("*.tmp")] == []
    host.fold()
    assert counted(host) == 3


def test_overflowing_the_merge_and_the_fold_keeps_the_total(small_host):
    """Each process has series of its own; all together have no more than one may."""
    host = small_host

    def count(process):
        counter = host.meter.create_counter("hits")
        histogram = host.meter.create_histogram("times")
        gauge = host.meter.create_gauge("last", merge="last")
        for number in range(8):
            counter.add(1, {"who": f"{process}-{number}"})
            histogram.record(1, {"who": f"{process}-{number}"})
            gauge.set(1, {"who": f"{process}-{number}"})

    merge = Merge(host.path, 10)
    for process in range(6):
        host.ended(lambda process=process: count(process))
        if process % 2:
            host.fold()
        for now in (host.merged(), host.merged(merge)):
            assert sum(now["hits"].values()) == 8 * (process + 1)
            assert sum(sum(v[:-1]) for v in now["times"].values()) == 8 * (process + 1)
            assert sum(v[-1] for v in now["times"].values()) == 8 * (process + 1)
            for name in ("hits", "times", "last"):
                assert len(now[name]) <= 11
    assert host.merged()["hits"][(("otel.metric.overflow", True),)] == 38


# --- no room ----------------------------------------------------------------------------------

FULL = """
import logging, os, sys
from pathlib import Path
from c2cotel.metrics.directory import RunDirectory
from c2cotel.metrics.joining import _make_in
from c2cotel.metrics.merge import Merge
from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.store import Store

warnings = []
handler = logging.Handler()
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger().addHandler(handler)
path = Path(sys.argv[1]) / "run"
path.mkdir()
directory = RunDirectory(path, temporary=False)
store = Store(directory, 100_000)
meter = MeterProvider(store).get_meter("tests")
counter = meter.create_counter("hits")
histogram = meter.create_histogram("times")
counter.add(1, {"a": 0})
filler = open(path / "filler", "wb")
try:
    while True:
        filler.write(b"x" * 4096)
        filler.flush()
except OSError:
    pass
for number in range(5000):
    counter.add(1, {"a": number})
    histogram.record(0.5, {"a": number})
for _ in range(10):
    counter.add(1, {"a": 0})
families = {f.description.name: {r.key: r.values for r in rows} for f, rows in Merge(path).read()}
hits = families["hits"]
assert hits[(("a", 0),)] == [12.0], hits[(("a", 0),)]
assert 10 < len(hits) < 5000, len(hits)
counted = sum(v[0] for v in hits.values()) + sum(sum(v[:-1]) for v in families["times"].values())
assert counted + families["c2c.metrics.lost"][()][0] == 10_011, (counted, families)
assert [w for w in warnings if "No room" in w] == warnings, warnings
assert 1 <= len(warnings) <= 2, warnings
print("survived")
"""

NEXT_BASE = """
import sys
from pathlib import Path
from c2cotel.metrics import joining

full, free = map(Path, sys.argv[1:])
(full / "filler").write_bytes(b"x" * 1_000_000)
environ = {"XDG_RUNTIME_DIR": str(full), "TMPDIR": str(free)}
joining.tempfile.tempdir = str(free)
bases = list(joining._bases(environ))
assert bases[1:] == [full, free], bases
joining._bases = lambda _: iter(bases[1:])
joined = joining.join(environ)
assert joined.path.parent == free, joined.path
assert environ["C2C_RUN_DIR"] == str(joined.path)
assert [p.name for p in full.iterdir()] == ["filler"], list(full.iterdir())
joined.leave()
print("survived")
"""


def in_small_file_system(program, mount, *arguments):
    """What *program* says that runs with a file system of 1 MB mounted at *mount*."""
    mount.mkdir()
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        reason = "unshare -m is not permitted here, so no small file system can be mounted"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    shell = 'mount -t tmpfs -o size=1m small "$1" && exec "$2" -c "$3" "$1" "${@:4}"'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", shell, "-", mount, sys.executable, program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_file_system_costs_new_series_only(tmp_path):
    assert in_small_file_system(FULL, tmp_path / "mount") == "survived\n"


def test_a_full_base_is_passed_over(tmp_path):
    (tmp_path / "free").mkdir()
    said = in_small_file_system(NEXT_BASE, tmp_path / "mount", tmp_path / "free")
    assert said == "survived\n"


def test_without_room_for_a_slab_a_process_counts_for_itself(host, caplog):
    host.path.rename(host.path.with_name("gone"))
    host.meter.create_counter("hits").add(2)
    host.path.with_name("gone").rename(host.path)
    assert counted(host) == 2
    assert len(warned(caplog)) == 1
    assert "cannot count for all to see" in warned(caplog)[0]


def test_a_slab_has_an_end(host_in, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("c2cotel.metrics.slab.CAPACITY", 128 * 1024)
    with host_in(tmp_path / "run", max_series=10_000) as host:
        counter = host.meter.create_counter("hits")
        for number in range(5000):
            counter.add(1, {"a": number})
        merged = host.merged()
        assert sum(merged["hits"].values()) + merged["c2c.metrics.lost"][()] == 5000
        assert merged["c2c.metrics.lost"][()] > 0
        assert ["at most 131072 bytes" in message for message in warned(caplog)] == [True]


def test_a_store_without_a_directory_counts_in_memory():
    store = Store(None)
    index = store.add_series(COUNTER, b"[]", 1)
    store.doubles[index] += 2
    ((family, (row,)), *_) = Merge(None, own=store.private_image).read()
    assert (family.description.name, row.values) == ("hits", [2.0])
    assert store.slab is not None
    assert len(store.slab.image) < CAPACITY
    store.slab.close()
