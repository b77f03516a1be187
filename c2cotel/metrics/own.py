"""What this process alone has counted, and which group it belongs to."""

import json
from collections.abc import Iterator

from opentelemetry import metrics

from c2cotel.metrics.provider import MeterProvider
from c2cotel.metrics.slab import MalformedSlabError, Record, read_header, read_records
from c2cotel.metrics.store import Store


def measurements(name: str, provider: metrics.MeterProvider | None = None) -> int | None:
    """How many measurements the histograms called *name* have had in this process.

    A process counts from its fork on. *provider* is the global one by default; None if that does
    not count here: the SDK is disabled, or the application has set another.
    """
    store = _store(provider)
    if store is None:
        return None
    if store.slab is None:
        return 0
    image = store.slab.image
    doubles = memoryview(image[: len(image) // 8 * 8]).cast("d")
    # The last double of a series is its sum, those before it are the buckets.
    return sum(
        int(sum(doubles[series.first : series.first + series.doubles - 1]))
        for series in _series(image, name)
    )


def group_instance(provider: metrics.MeterProvider | None = None) -> str | None:
    """The ``service.instance.id`` of the merged metrics; None without a run directory."""
    store = _store(provider)
    return store.directory.group.instance if store is not None and store.directory else None


def _store(provider: metrics.MeterProvider | None) -> Store | None:
    provider = provider or metrics.get_meter_provider()
    if not isinstance(provider, MeterProvider):
        return None
    provider.store.check_process()
    return provider.store


def _series(image: bytes, name: str) -> Iterator[Record]:
    described: set[int] = set()
    try:
        for record in read_records(image, read_header(image).used):
            if record.instrument in described:
                yield record
            elif not record.instrument and json.loads(record.key)[:2] == ["histogram", name]:
                described.add(record.position)
    except MalformedSlabError:
        # Somebody has written into the file; what stood before that counts.
        return
