"""What is counted about questions.

======================  =========  =========  =========================================
name                    kind       unit       attributes
======================  =========  =========  =========================================
c2c.broadcast.duration  histogram  s          c2c.broadcast.channel
c2c.broadcast.answers   counter    {answer}   c2c.broadcast.channel
c2c.broadcast.silent    counter    {process}  c2c.broadcast.channel
======================  =========  =========  =========================================

The duration is that of asking, until the last answer has come or the time is up. A channel that
nobody in this process has subscribed to counts as ``other``.
"""

from opentelemetry.metrics import MeterProvider, get_meter

from c2cotel.broadcast.messages import Replies

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Numbers:
    """The instruments, made when the first question has been asked."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = get_meter("c2cotel.broadcast", meter_provider=provider)
        self._duration = meter.create_histogram(
            "c2c.broadcast.duration",
            unit="s",
            description="Time that questions to all processes took.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._answers = meter.create_counter(
            "c2c.broadcast.answers",
            unit="{answer}",
            description="Answers to questions to all processes.",
        )
        self._silent = meter.create_counter(
            "c2c.broadcast.silent",
            unit="{process}",
            description="Processes that did not answer in time.",
        )

    def asked(self, channel: str | None, seconds: float, replies: Replies) -> None:
        attributes = {"c2c.broadcast.channel": channel or "other"}
        self._duration.record(seconds, attributes)
        self._answers.add(len(replies.answers), attributes)
        self._silent.add(len(replies.silent), attributes)
