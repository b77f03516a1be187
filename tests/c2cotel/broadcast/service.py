"""Processes of a service, each with a broadcaster, an agreement and a switch, seen from a test."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import uuid
import warnings

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from c2cotel.broadcast import journal
from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.metrics.joining import join
from c2cotel.metrics.provider import MeterProvider as SharedMeterProvider
from c2cotel.metrics.store import Store
from c2cotel.redis import connect
from c2cotel.settings import Redis
from c2cotel_acceptance.utils import retry_timeout

FORKING = multiprocessing.get_context("fork")
PATIENCE = 60
LEVELS = ("DEBUG", "INFO", "ERROR")


@contextlib.contextmanager
def forking():
    with warnings.catch_warnings():
        # Python 3.12 warns of fork in a process with threads; that this works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def check(_, value):
    if value not in LEVELS:
        raise ValueError(f"{value!r}: not a level")
    return value


class Inside:
    """What runs in a process of a test: a broadcaster, its agreement, and a switch."""

    def __init__(self, directory, url, prefix):
        self.place = directory, url, prefix
        self.applied = []
        self.logged = []
        handler = logging.Handler()
        handler.emit = lambda record: self.logged.append(
            (record.levelname, record.name, record.getMessage())
        )
        logging.getLogger().handlers = [handler]
        logging.getLogger("c2cotel").setLevel(logging.INFO)
        self.broadcaster = Broadcaster()
        self.agreement = Agreement(self.broadcaster)
        self.levels = None
        self.failing = False

    def use(self, **options):
        self.levels = self.agreement.switch("level", check=check, apply=self.apply, **options)

    def apply(self, key, value):
        if self.failing:
            raise RuntimeError("this process cannot")
        self.applied.append((key, value))

    def start(self):
        directory, url, prefix = self.place
        connections = connect(Redis(url=url)) if url else None
        self.broadcaster.start(directory, connections, prefix)

    def set(self, *arguments, **options):
        return self.levels.set(*arguments, **options)

    def set_many(self, keys):
        for key in keys:
            self.set("DEBUG", key=key)

    def reset(self, *arguments, **options):
        return self.levels.reset(*arguments, **options)

    def value(self, key=""):
        state = self.levels.get(key)
        return state and state.value

    def state(self, key=""):
        return self.levels.get(key)

    def effective(self):
        return {key: value for key, value in dict(self.applied).items() if value is not None}

    def changes(self):
        return [(each.action, each.previous, each.value) for each in self.agreement.changes()]

    def whole_changes(self):
        return self.agreement.changes()

    def fail(self):
        self.failing = True

    def reachable(self):
        return self.broadcaster.reachable

    def warned(self, about=""):
        return [text for level, _, text in self.logged if level != "INFO" and about in text]

    def failed(self):
        return [text for level, _, text in self.logged if level == "ERROR"]

    def hang(self, times):
        """As many questions as *times* to a callback that never comes back."""
        self.broadcaster.subscribe("hang", threading.Event().wait)
        for _ in range(times):
            self.broadcaster.tell("hang", timeout=0)

    def reconcile(self):
        self.agreement.reconcile()

    def unsubscribe(self):
        self.broadcaster.unsubscribe("c2c_switch")

    def told(self, *arguments, **options):
        return self.agreement._told(*arguments, **options)

    def in_a_child(self, do):
        """Whether *do* gives something true in a process forked from this one."""
        with forking():
            child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if do(self) else 1
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def ends_in_a_child(self, key, rest):
        return self.in_a_child(
            lambda inside: (
                inside.value(key) and retry_timeout(lambda: inside.effective() == rest, 5, 0.02)
            )
        )

    def fork_while_setting(self, times):
        """Children set something while a thread of their parent does."""
        stopped = threading.Event()

        def work():
            while not stopped.is_set():
                self.set("DEBUG", key="parent")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            return [
                self.in_a_child(lambda inside, key=f"{number}": inside.set("INFO", key=key))
                for number in range(times)
            ]
        finally:
            stopped.set()
            thread.join()

    def measure(self):
        """Have what is emitted in this process; it is the test's own."""
        # An earlier test may have set the providers of the process that this one was forked from.
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
        metrics._internal._METER_PROVIDER = None
        metrics._internal._METER_PROVIDER_SET_ONCE = Once()
        journal._counter.cache_clear()
        self.reader, self.spans = InMemoryMetricReader(), InMemorySpanExporter()
        metrics.set_meter_provider(MeterProvider([self.reader]))
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        trace.set_tracer_provider(provider)

    def share_metrics(self):
        """Count where all processes of the host do."""
        metrics._internal._METER_PROVIDER = None
        metrics._internal._METER_PROVIDER_SET_ONCE = Once()
        # What earlier tests have made without a provider would be made in this one.
        metrics._internal._PROXY_METER_PROVIDER = metrics._internal._ProxyMeterProvider()
        directory = join({"C2C_RUN_DIR": str(self.place[0])})
        metrics.set_meter_provider(SharedMeterProvider(Store(directory)))

    def set_in_a_span(self, *arguments, **options):
        with trace.get_tracer("tests").start_as_current_span("request"):
            self.set(*arguments, **options)

    def measured(self):
        (resource,) = self.reader.get_metrics_data().resource_metrics
        points = {
            (metric.name, metric.unit, *sorted(point.attributes.items())): point.value
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name.startswith("c2c.switch")
            for point in metric.data.data_points
        }
        events = [event for span in self.spans.get_finished_spans() for event in span.events]
        return points, [(event.name, dict(event.attributes)) for event in events]

    def set_together(self, values):
        """As many threads as *values*, at once."""
        barrier = threading.Barrier(len(values))

        def work(value):
            barrier.wait()
            self.set(value, key="shared")

        threads = [threading.Thread(target=work, args=(value,)) for value in values]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def serve(pipe, make):
    inside = make()
    while True:
        try:
            name, arguments, options = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, getattr(inside, name)(*arguments, **options)))
        except Exception as error:  # noqa: BLE001 - it is for the test
            pipe.send((False, error))


class Outside:
    """A process of a test, seen from the test: its methods are those of :class:`Inside`."""

    def __init__(self, make):
        self.pipe, theirs = FORKING.Pipe()
        self.process = FORKING.Process(target=self.run, args=(theirs, make), daemon=True)
        with forking():
            self.process.start()
        theirs.close()

    def run(self, theirs, make):
        self.pipe.close()
        # What pytest does at a signal is not for a child.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        serve(theirs, make)

    def begin(self, name, *arguments, **options):
        self.pipe.send((name, arguments, options))

    def finish(self):
        assert self.pipe.poll(PATIENCE), "the process is silent"
        good, result = self.pipe.recv()
        if not good:
            raise result
        return result

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.begin(name, *arguments, **options)
            return self.finish()

        return call

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


class Service:
    """The processes of one service: those of one host share *directory*."""

    def __init__(self, folder):
        self.folder = folder
        self.prefix = f"test-{uuid.uuid4().hex}_"
        self.processes = []

    def process(self, host="host", url=None, *, start=True, use=True):
        directory = self.folder / host if host else None
        if directory:
            directory.mkdir(exist_ok=True)
        process = Outside(lambda: Inside(directory, url, self.prefix))
        self.processes.append(process)
        if use:
            process.use()
        if start:
            process.start()
        return process

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ValueError):  # killed already
                process.kill()


def connected(*processes):
    for process in processes:
        retry_timeout(process.reachable, 5, 0.02)


def soon(what, expected):
    """Wait until *what* gives *expected*."""

    def reached():
        if (found := what()) != expected:
            raise AssertionError(f"{found} is not {expected}")
        return True

    retry_timeout(reached, 5, 0.02)
