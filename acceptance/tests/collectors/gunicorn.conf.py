"""The hooks of the predecessor's manual, with c2cotel in place of its name."""

from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.core import GaugeMetricFamily


class HostCollector:
    """Related to the host."""

    def collect(self):
        yield GaugeMetricFamily("host_free_bytes", "Free space", value=12)


class BrokenCollector:
    def collect(self):
        raise RuntimeError("the disk is away")


def on_starting(server):
    from c2cotel import prometheus

    del server

    registry = CollectorRegistry()
    registry.register(BrokenCollector())
    registry.register(HostCollector())
    registry.register(prometheus.ResourceCollector())
    prometheus.start(registry)


def post_fork(server, worker):
    from c2cotel import prometheus

    del server, worker

    prometheus.cleanup()


def child_exit(server, worker):
    import os

    del server

    # The manual has a directory in the Dockerfile; one of these tests has none.
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)
