"""Processes of a service that can be profiled, seen from a test.

As a program, it is one that ends as gunicorn's workers do, when it is told to.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from c2cotel.broadcast.agreement import Agreement
from c2cotel.broadcast.broadcaster import Broadcaster
from c2cotel.broadcast.messages import Process
from c2cotel.debug.profile.core import Profiles
from c2cotel.redis import connect
from c2cotel.settings import Redis
from c2cotel_instrumentation.running import Answering, Running
from c2cotel_instrumentation.samples import Order

ROUTE, TRACE, REQUEST = "/report/{id}", "0af7651916cd43dd8448eb211c80319c", "request-1"


class Answered:
    """A request that is being answered."""

    def __init__(self):
        self.attributes = {}
        self.since = time.perf_counter()

    def answering(self):
        return Answering("GET", ROUTE, TRACE, REQUEST, self.since)

    def set_attribute(self, name, value):
        self.attributes[name] = value


def hot(stop):
    total = 0
    while not stop.is_set():
        total += sum(range(500))
    return total


class Worker:
    """One process: with a thread that answers a request for ever."""

    def __init__(self, directory, url=None, host="here", prefix="p_", pid=None):
        self.logged = []
        handler = logging.Handler()
        handler.emit = lambda record: self.logged.append(record.getMessage())
        logging.getLogger().handlers = [handler]
        self.broadcaster = Broadcaster(host=host)
        if pid is not None:
            known = self.broadcaster.process
            self.broadcaster.process = Process(known.host, pid, known.token)
        self.agreement = Agreement(self.broadcaster)
        self.running = Running()
        self.profiles = Profiles(
            lambda: self.running, broadcaster=self.broadcaster, agreement=self.agreement
        )
        self.sampler = self.profiles.sampler
        self.profiles.jobs.listen()
        connections = connect(Redis(url=url)) if url else None
        self.broadcaster.start(directory and Path(directory), connections, prefix)
        self.request = Answered()
        self.stop = threading.Event()

    def work(self):
        def answer():
            outer = self.running.enter(self.request)
            try:
                hot(self.stop)
            finally:
                self.running.leave(outer)

        threading.Thread(target=answer, name="worker-1", daemon=True).start()

    def process(self):
        return self.broadcaster.process

    def reachable(self):
        return self.broadcaster.reachable

    def start(self, seconds=0.4, mode="wall", hz=50, route=None, **where):
        order = Order(seconds=seconds, mode=mode, hz=hz, route=route)
        return self.profiles.start(order, actor="alice", address="192.0.2.7", **where)

    def end(self, id_):
        return self.profiles.jobs.stop(id_, actor="bob", address="192.0.2.8")

    def found(self):
        return self.profiles.jobs.found()

    def states(self, id_):
        """What is known of the profile: the state of each process that takes part."""
        found = self.profiles.jobs.find(id_)
        return found and {part.process.pid: part.state for part in found.parts}

    def samples(self, id_):
        return self.profiles.samples(self.profiles.jobs.find(id_)).samples

    def mark(self):
        return self.running.profile

    def attributes(self):
        return self.request.attributes

    def changes(self):
        return [
            (each.switch, each.action, each.actor, each.address, each.value)
            for each in self.agreement.changes()
        ]

    def texts(self):
        return self.logged

    def do(self, code, **names):
        """Whatever else a test wants."""
        return eval(code, {"self": self, "os": os, "time": time, **names})  # noqa: S307 - the test's own


if __name__ == "__main__":
    worker = Worker(sys.argv[1])
    worker.work()
    print(worker.process().pid, flush=True)  # noqa: T201
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()
