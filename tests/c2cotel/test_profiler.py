"""Profiles of functions and blocks, as whoever opens the file with pstats sees them."""

import asyncio
import errno
import inspect
import logging
import pstats
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

from c2cotel.profile import Profile as NamedInTheManual
from c2cotel.profile import Profiler
from c2cotel.profiler import Profile

ALONE_IN_THE_PROCESS = sys.version_info >= (3, 12)


def slow(count=1):
    return [sum(range(100)) for _ in range(count)]


def other():
    return slow()


def calls(path):
    """How often each function of this file has been called, by its name."""
    stats = pstats.Stats(str(path)).stats
    return {key[2]: found[1] for key, found in stats.items() if key[0] == __file__}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my.prof"


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "c2cotel.profiler")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path):
    yield
    assert sys.getprofile() is None
    if ALONE_IN_THE_PROCESS:
        assert sys.monitoring.get_tool(sys.monitoring.PROFILER_ID) is None
    assert not list(tmp_path.glob(".*"))


# --- functions ------------------------------------------------------------------------------------


def test_a_function_is_profiled_until_it_returns(path):
    @Profile(path)
    def my_function(count, *, more=0):
        """What it does."""
        return len(slow(count + more))

    assert my_function(2, more=1) == 3
    other()
    found = calls(path)
    found.pop("<listcomp>", None)  # before Python 3.12
    assert found == {"my_function": 1, "slow": 1}
    assert my_function.__name__ == "my_function"
    assert my_function.__doc__ == "What it does."
    assert str(inspect.signature(my_function)) == "(count, *, more=0)"


def test_the_names_of_the_manual_are_the_same():
    assert Profiler is NamedInTheManual is Profile


def test_each_use_writes_the_file_anew(path):
    profile = Profile(str(path))
    profile(slow)()
    assert "other" not in calls(path)
    profile(other)()
    assert calls(path)["other"] == 1


def test_an_exception_leaves_a_profile_too(path):
    @Profile(path)
    def fails():
        slow()
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        fails()
    assert calls(path)["slow"] == 1


def test_a_function_that_calls_itself_is_one_use(path, said):
    @Profile(path)
    def count_down(number):
        return slow() if number == 0 else count_down(number - 1)

    count_down(3)
    assert calls(path)["count_down"] == 4
    assert said() == []


def test_methods_are_profiled(path):
    class Service:
        @Profile(path)
        def method(self):
            return self, slow()

        @staticmethod
        @Profile(path)
        def static():
            return other()

        @classmethod
        @Profile(path)
        def of_class(cls):
            return cls, other()

    service = Service()
    assert service.method()[0] is service
    assert calls(path)["method"] == 1
    Service.static()
    assert calls(path)["static"] == 1
    assert service.of_class()[0] is Service
    assert calls(path)["of_class"] == 1


def test_a_view_takes_what_it_took(path):
    def with_request(request):
        return Response(request.method)

    class Views:
        def __init__(self, request):
            self.request = request

        @Profile(path)
        def method(self):
            return Response(self.request.path)

    config = Configurator()
    config.add_route("one", "/one")
    config.add_view(Profile(path)(with_request), route_name="one")
    config.add_route("two", "/two")
    config.add_view(Views, attr="method", route_name="two")
    app = config.make_wsgi_app()
    assert Request.blank("/one").get_response(app).text == "GET"
    assert Request.blank("/two").get_response(app).text == "/two"


def test_a_function_in_c_is_profiled(path):
    assert Profile(path)(max)(1, 2) == 2
    assert path.exists()


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_it_says_where_it_belongs(path, kind):
    with pytest.raises(TypeError, match=f"stands above @{kind.__name__}: put it below"):
        Profile(path)(kind(slow))


def test_it_says_that_a_path_lacks():
    with pytest.raises(TypeError, match="needs the path of a file: write for example @Profile"):
        Profile(slow)


def test_functions_are_printed(path, capsys):
    with Profile(path, 1):
        slow()
    printed = capsys.readouterr().out
    assert "Ordered by: cumulative time" in printed
    assert "List reduced from" in printed
    assert "due to restriction <1>" in printed
    assert "(slow)" in printed
    assert "profiler.py:" not in printed.replace("test_profiler.py:", "")


def test_nothing_is_printed_by_default(path, capsys):
    with Profile(path):
        slow()
    assert capsys.readouterr() == ("", "")


# --- async functions and generators ---------------------------------------------------------------


@pytest.mark.alone
def test_an_async_function_is_profiled_while_it_runs_itself(path):
    async def neighbour():
        for _ in range(5):
            other()
            await asyncio.sleep(0)

    @Profile(path)
    async def my_coroutine(count):
        slow()
        for _ in range(count):
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        slow()
        return count

    async def main():
        return (await asyncio.gather(my_coroutine(4), neighbour()))[0]

    assert inspect.iscoroutinefunction(my_coroutine)
    assert asyncio.run(main()) == 4
    found = calls(path)
    assert found["slow"] == 2
    assert "other" not in found
    assert "neighbour" not in found
    assert pstats.Stats(str(path)).total_tt < 0.04


def test_async_functions_at_once_have_a_profile_each(path, tmp_path, said):
    second = tmp_path / "second.prof"

    async def work(function):
        for _ in range(3):
            function()
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(Profile(path)(work)(slow), Profile(second)(work)(len_of_nothing))

    asyncio.run(main())
    assert calls(path)["slow"] == 3
    assert "len_of_nothing" not in calls(path)
    assert calls(second)["len_of_nothing"] == 3
    assert "slow" not in calls(second)
    assert said() == []


def len_of_nothing():
    return len("")


def test_what_is_cancelled_is_written(path):
    @Profile(path)
    async def waits():
        slow()
        try:
            await asyncio.sleep(60)
        finally:
            other()

    async def main():
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert calls(path)["other"] == 1


def test_a_generator_is_profiled_while_it_runs(path):
    @Profile(path)
    def numbers(count):
        sent = None
        for number in range(count):
            slow()
            try:
                sent = yield number, sent
            except KeyError:
                sent = "an error"
        return "the end"

    generator = numbers(4)
    assert inspect.isgeneratorfunction(numbers)
    assert next(generator) == (0, None)
    other()
    assert generator.send("a text") == (1, "a text")
    assert generator.throw(KeyError("a")) == (2, "an error")
    assert not path.exists()
    assert next(generator) == (3, None)
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "the end"
    found = calls(path)
    assert found["slow"] == 4
    assert "other" not in found


def test_a_generator_that_is_closed_is_written(path):
    @Profile(path)
    def numbers():
        try:
            yield slow()
        finally:
            other()

    generator = numbers()
    next(generator)
    generator.close()
    assert calls(path)["other"] == 1


def test_an_async_generator_is_profiled_while_it_runs(path):
    @Profile(path)
    async def numbers(count):
        sent = None
        for number in range(count):
            slow()
            await asyncio.sleep(0)
            try:
                sent = yield number, sent
            except KeyError:
                sent = "an error"

    async def main():
        generator = numbers(3)
        seen = [await anext(generator)]
        other()
        seen.append(await generator.asend("a text"))
        seen.append(await generator.athrow(KeyError("a")))
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        return seen

    assert inspect.isasyncgenfunction(numbers)
    assert asyncio.run(main()) == [(0, None), (1, "a text"), (2, "an error")]
    found = calls(path)
    assert found["slow"] == 3
    assert "other" not in found


def test_an_async_generator_that_is_left_is_written(path):
    @Profile(path)
    async def numbers():
        try:
            while True:
                yield slow()
        finally:
            await asyncio.sleep(0)
            other()

    async def main():
        generator = numbers()
        async for _ in generator:
            break
        await generator.aclose()

    asyncio.run(main())
    assert calls(path)["other"] == 1


def test_an_error_of_an_async_generator_arrives(path):
    @Profile(path)
    async def fails():
        yield slow()
        raise ValueError("mine")

    async def main():
        return [each async for each in fails()]

    with pytest.raises(ValueError, match=r"^mine$"):
        asyncio.run(main())
    assert calls(path)["slow"] == 1


# --- blocks, threads, other profilers -------------------------------------------------------------


def test_a_block_within_itself_is_a_part_of_it(path, said):
    profile = Profile(path)
    with profile:
        slow()
        with profile:
            other()
        assert not path.exists()
        slow()
    assert calls(path)["slow"] == 3
    assert said() == []


def test_a_step_within_a_block_is_a_part_of_it(path, said):
    profile = Profile(path)

    @profile
    def numbers():
        yield slow()

    with profile:
        assert len(list(numbers())) == 1
    assert calls(path)["slow"] == 1
    assert said() == []


def test_another_profile_within_is_a_part_of_the_outer_one_and_it_is_said_once(
    path, tmp_path, said
):
    inner = tmp_path / "inner.prof"
    within = Profile(inner)
    with Profile(path):
        for _ in range(2):
            with within:
                slow()
    assert calls(path)["slow"] == 2
    assert not inner.exists()
    text = (
        f"Profile {inner}: another profiler is active, and sees this if it is in this thread: it "
        "is not profiled by itself. Further ones there are not logged."
    )
    assert said() == [text]


def test_another_profiler_is_left_alone(path, said):
    seen = []

    def mine(frame, event, _):
        seen.append((frame.f_code.co_name, event))

    sys.setprofile(mine)
    try:
        with Profile(path):
            slow()
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)
    assert ("slow", "call") in seen
    if not ALONE_IN_THE_PROCESS:
        assert not path.exists()
        assert len(said()) == 1


def test_threads_profile_themselves_or_say_that_they_cannot(path, said):
    both = threading.Barrier(2, timeout=10)
    profile = Profile(path)

    @profile
    def in_thread(function):
        both.wait()
        function()
        both.wait()
        return "done"

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(in_thread, each) for each in (slow, len_of_nothing)]
        assert [future.result() for future in futures] == ["done", "done"]
    found = calls(path)
    assert len({"slow", "len_of_nothing"} & set(found)) == 1
    assert found["in_thread"] == 1
    assert len(said()) == (1 if ALONE_IN_THE_PROCESS else 0)


def test_other_threads_are_left_out(path):
    stop, ready = threading.Event(), threading.Event()

    def noise():
        while not stop.is_set():
            len_of_nothing()
            ready.set()

    thread = threading.Thread(target=noise)
    thread.start()
    ready.wait(10)
    with Profile(path):
        for _ in range(200):
            slow(20)
    stop.set()
    thread.join()
    found = calls(path)
    assert found["slow"] == 200
    assert not {"noise", "len_of_nothing"} & set(found)


def test_the_file_is_whole_at_any_moment(path):
    profile, stop = Profile(path), threading.Event()
    with profile:
        slow()

    def writes():
        while not stop.is_set():
            with profile:
                slow()

    threads = [threading.Thread(target=writes) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert calls(path)["slow"] == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_block_that_another_thread_leaves_is_said(path, said):
    profile = Profile(path)
    thread = threading.Thread(target=profile.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    text = "it was left by another thread than it was entered by, nothing is written"
    assert said() == [f"Profile {path}: {text}. Further ones there are not logged."]


# --- files ----------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written_is_said_once_and_the_application_goes_on(tmp_path, said):
    path = tmp_path / "no folder" / "my.prof"
    assert [Profile(path)(slow)() for _ in range(2)] == [[4950], [4950]]
    assert len(said()) == 1
    assert said()[0].startswith(f"Profile {path}: it cannot be written: [Errno 2] ")


def test_a_tilde_is_a_name_like_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    with Profile("~/my.prof"):
        slow()
    assert calls(tmp_path / "~" / "my.prof")["slow"] == 1


def test_a_link_stays_one(tmp_path, path):
    link = tmp_path / "link.prof"
    link.symlink_to(path)
    with Profile(link):
        slow()
    assert link.is_symlink()
    assert calls(path)["slow"] == 1


def test_a_device_stays_one(capsys):
    with Profile("/dev/null", 5):
        slow()
    assert Path("/dev/null").is_char_device()
    assert "(slow)" in capsys.readouterr().out


def test_a_file_in_a_folder_that_cannot_be_written_is_written_in_place(path, monkeypatch):
    """The superuser, who runs tests in containers, may write in any folder."""
    path.touch()
    monkeypatch.setattr(Path, "replace", refuse)
    with Profile(path):
        slow()
    assert calls(path)["slow"] == 1


def refuse(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_full_disk_leaves_the_file_that_there_is(path, monkeypatch, said):
    path.write_bytes(b"the one before")
    monkeypatch.setattr(Path, "write_bytes", fill)
    with Profile(path):
        slow()
    assert path.read_bytes() == b"the one before"
    text = "it cannot be written: [Errno 28] No space left on device"
    assert said() == [f"Profile {path}: {text}. Further ones there are not logged."]


def fill(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_importing_it_is_cheap():
    code = (
        "import sys, c2cotel.profile\n"
        "print(sorted({'cProfile', 'pstats', 'pyramid', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
