"""An application with metrics of prometheus_client, as the predecessor's manual shows it.

==============  =================================================================
``/order``      place an order: a counter, a histogram and a gauge of the process
``/late``       make a counter that did not exist before, and count
``/burn``       use the CPU for 0.3 s
==============  =================================================================

Every answer is the pid of the process that gave it.
"""

import os
import time
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.router import Router

from c2cotel import broadcast, prometheus

ORDERS = Counter("app_orders", "Orders that were placed", ["shop"])
TOOK = Histogram("app_order_seconds", "Time that an order took", buckets=(0.1, 1, 10))
LAST = Gauge("app_last_order", "What was ordered last", multiprocess_mode="liveall")


class QueueCollector:
    """One of each process, collected by broadcast."""

    def collect(self) -> Any:
        yield GaugeMetricFamily("app_queue", "Jobs that wait in this process", value=4)


class BrokenCollector:
    """One of each process that cannot be collected."""

    def describe(self) -> Any:
        return []

    def collect(self) -> Any:
        raise RuntimeError("the queue is away")


prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("app_queue")
broadcast.subscribe("app_queue", lambda: prometheus.serialize_collected_data(QueueCollector()))
REGISTRY.register(BrokenCollector())


def order(_: Request) -> Response:
    ORDERS.labels("zürich").inc()
    TOOK.observe(0.5)
    LAST.set(7)
    return Response(str(os.getpid()))


def late(request: Request) -> Response:
    made = request.registry.__dict__.setdefault("late_counter", None)
    if made is None:
        made = request.registry.late_counter = Counter("app_late", "Made by a request")
    made.inc()
    return Response(str(os.getpid()))


def burn(_: Request) -> Response:
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    return Response(str(os.getpid()))


def main() -> Router:
    config = Configurator()
    config.include("c2cotel")
    for view in (order, late, burn):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__)
    return config.make_wsgi_app()
