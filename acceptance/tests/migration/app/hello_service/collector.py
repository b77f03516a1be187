from c2cwsgiutils import broadcast, prometheus
from prometheus_client.core import GaugeMetricFamily


class MyCustomCollector:
    """Of each process: all are asked by the broadcast."""

    def collect(self):
        gauge = GaugeMetricFamily("hello_custom", "Of a worker", labels=["kind"])
        gauge.add_metric(["custom"], 7)
        yield gauge


my_custom_collector_instance = MyCustomCollector()


def _broadcast_collector_custom():
    """Get the collected gauges."""
    return prometheus.serialize_collected_data(my_custom_collector_instance)


def subscribe():
    prometheus.MULTI_PROCESS_COLLECTOR_BROADCAST_CHANNELS.append("prometheus_collector_custom")
    broadcast.subscribe("prometheus_collector_custom", _broadcast_collector_custom)
