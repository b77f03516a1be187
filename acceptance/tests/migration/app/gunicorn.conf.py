import os

from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.core import GaugeMetricFamily

from c2cwsgiutils import get_config_defaults, get_logconfig_dict, get_paste_config

bind = os.environ["BIND"]
workers = int(os.environ.get("GUNICORN_WORKERS", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "10"))
accesslog = "-"
control_socket_disable = True

paste = get_paste_config()
raw_paste_global_conf = ["=".join(e) for e in get_config_defaults().items()]
logconfig_dict = get_logconfig_dict(paste)


class HostCollector:
    """Of the whole host: the master asks it."""

    def collect(self):
        yield GaugeMetricFamily("hello_host", "Of the host", value=42)


def on_starting(server):
    from c2cwsgiutils import prometheus

    del server

    registry = CollectorRegistry()
    registry.register(HostCollector())
    prometheus.start(registry)


def post_fork(server, worker):
    from c2cwsgiutils import prometheus

    del server, worker

    prometheus.cleanup()


def child_exit(server, worker):
    del server

    multiprocess.mark_process_dead(worker.pid)
