"""Threads with planted functions, and what a profile says of them."""

import contextlib
import queue
import sys
import threading
import time
from dataclasses import dataclass

from c2cotel_instrumentation.running import Answering, Running
from c2cotel_instrumentation.sampler import Order, Sampler

HOT = "/report/{id}"
COLD = "/hello"


@dataclass
class Visit:
    """A request, as a thread writes it down."""

    route: str | None
    trace_id: str | None = "0af7651916cd43dd8448eb211c80319c"
    request_id: str = "0af76519-16cd-43dd-8448-eb211c80319c"

    def __post_init__(self):
        self.since = time.perf_counter()

    def answering(self):
        return Answering("GET", self.route, self.trace_id, self.request_id, self.since)

    def set_attribute(self, name, value):
        pass


def strangers():
    """Threads of this process that ``threading`` does not know: pytest-xdist has one."""
    known = {thread.ident for thread in threading.enumerate()}
    return len(sys._current_frames().keys() - known)


def hot_function(seconds):
    until = time.thread_time() + seconds
    number = 0
    while time.thread_time() < until:
        for _ in range(1000):
            number += 1
    return number


def sleeping_function(stop):
    stop.wait()


class Service:
    """A sampler, and threads for it that end with the test."""

    def __init__(self):
        self.running = Running()
        self.sampler = Sampler(self.running)
        self.stop = threading.Event()
        self.threads = []

    def thread(self, target, *args, name=None, visit=None):
        """Run *target* again and again, in a request if there is a *visit*."""
        begun = threading.Event()

        def work():
            outer = self.running.enter(visit) if visit else None
            begun.set()
            while not self.stop.is_set():
                target(*args)
            if visit:
                self.running.leave(outer)

        thread = threading.Thread(target=work, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        begun.wait(10)
        return thread

    def begin(self, order, profile_id="f3a1"):
        """Start, and return where the samples will be."""
        samples = queue.SimpleQueue()
        self.sampler.start(order, profile_id, samples.put)
        return samples

    def profile(self, seconds=0.5, hz=100.0, **order):
        samples = self.begin(Order(seconds, hz, **order)).get(timeout=30)
        assert samples.problem is None
        return samples

    def close(self):
        self.stop.set()
        assert self.sampler.stop()
        for thread in self.threads:
            thread.join(10)


@contextlib.contextmanager
def service():
    made = Service()
    try:
        yield made
    finally:
        made.close()


def functions(samples, stack):
    """The names in a stack without those of what they are in, the outermost first."""
    return [samples.frames[index].function.rpartition(".")[2] for index in stack.frames]


def seconds(samples, function=None, *, thread=None, **stack):
    """Of all stacks in which *function* is, from this thread and with these attributes."""
    return sum(
        each.seconds
        for each in samples.stacks
        if (function is None or function in functions(samples, each))
        and (thread is None or each.thread == thread)
        and all(getattr(each, name) == value for name, value in stack.items())
    )
