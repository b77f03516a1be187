"""What is measured about health checks.

=========================  =========  =======  =====================================================
name                       kind       unit     attributes
=========================  =========  =======  =====================================================
c2c.health_check.status    gauge               c2c.check.name; 1 if it passed, 0 if it failed
c2c.health_check.duration  histogram  s        c2c.check.name
=========================  =========  =======  =====================================================

Of the processes of a host the one that has asked last decides about the status, so that a scrape
of any of them tells the same; nobody has to be told. A late check counts as failed when it is
late, and its duration is counted when it has ended.
"""

from opentelemetry.metrics import MeterProvider, get_meter

from c2cotel.metrics.gauges import gauge

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 60.0)


class Numbers:
    """The instruments; made when the first check has been run, after telemetry is set up."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = get_meter("c2cotel.health_check", meter_provider=provider)
        self._status = gauge(
            meter,
            "c2c.health_check.status",
            "last",
            "1 if the health check passed the last time, 0 if it failed.",
        )
        self._duration = meter.create_histogram(
            "c2c.health_check.duration",
            unit="s",
            description="Duration of health checks.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def status(self, name: str, *, ok: bool) -> None:
        self._status.set(int(ok), {"c2c.check.name": name})

    def duration(self, name: str, seconds: float) -> None:
        self._duration.record(seconds, {"c2c.check.name": name})
