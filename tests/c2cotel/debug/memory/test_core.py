"""What several processes have told, put together, and what a smaps file says."""

from c2cotel.broadcast.messages import Process, Replies
from c2cotel.debug.memory.core import matrix, report
from c2cotel.debug.memory.maps import dump_memory_maps, mappings

SMAPS = b"""\
55d0-55d1 r--p 00000000 08:01 1234                       /usr/bin/a file
Size:                 8 kB
KernelPageSize:        4 kB
Rss:                  4 kB
Pss:                  2 kB
VmFlags: rd mr
55d1-55d2 r-xp 00001000 08:01 1234                       /usr/bin/a file
Size:                 4 kB
Rss:                  4 kB
Pss:                  1 kB
7f00-7f01 rw-p 00000000 00:00 0
Size:               100 kB
Rss:                 90 kB
Pss:                 80 kB
7f02-7f03 rw-p 00000000 00:00 0                          [stack]
Size:               100 kB
Rss:                  0 kB
Pss:                  0 kB
"""


def answer(pid, **counts):
    listed = [[name, number] for name, number in counts.items()]
    return {"most_common_types": listed, "hostname": "web", "pid": pid}


def test_processes_stand_side_by_side():
    found = report(
        Replies([answer(1, dict=5, list=3), answer(2, dict=1, set=9)], (Process("web", 3, ""),), ())
    )
    assert (found.names, found.silent) == (["web/1", "web/2"], ("web/3",))
    assert matrix(found.processes, "most_common_types", 2) == [
        {"name": "set", "total": 9, "numbers": [None, 9]},
        {"name": "dict", "total": 6, "numbers": [5, 1]},
    ]


def test_what_is_no_answer_is_left_out():
    refusal = {"status": 409, "message": "busy", "hostname": "web", "pid": 2}
    found = report(Replies([None, 1, [], refusal, answer(1)], (), ()))
    assert found.names == ["web/1"]
    assert found.failed == [("web/2", "busy")]


def test_a_type_is_unknown_if_no_process_knows_it():
    unknown, known = answer(1) | {"unknown_type": True}, answer(2)
    assert report(Replies([dict(unknown), dict(unknown)], (), ())).unknown_type
    found = report(Replies([dict(unknown), known], (), ()))
    assert not found.unknown_type
    assert "unknown_type" not in found.processes[0]
    assert not report(Replies([], (), ())).unknown_type


def test_regions_of_one_file_are_one():
    assert mappings(SMAPS) == [
        {"name": "[anonymous]", "size_kb": 100, "rss_kb": 90, "pss_kb": 80},
        {"name": "/usr/bin/a file", "size_kb": 12, "rss_kb": 8, "pss_kb": 3},
    ]
    assert mappings(b"") == []


def test_of_no_process_there_are_none():
    assert dump_memory_maps("no such process") == []
    assert dump_memory_maps()
