"""What one scrape is answered with, in the formats of Prometheus. Its library is loaded with this module, by the first
scrape and in its thread: a daemon that nobody scrapes does without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from reconciler.engine.metrics.phases import Key
from reconciler.engine.metrics.table import METRICS, TABLE, Metric, Sample

Histogram = Mapping[Key, tuple[list[tuple[str, float]], float]]
"""By environment and phase: the cumulated buckets, and the sum."""
PROCESS = ProcessCollector(registry=None)


def rendered(accept: str, samples: list[Sample], histogram: Histogram) -> tuple[bytes, str]:
    """The answer to a scrape that accepts this, and its media type."""
    encode, media_type = choose_encoder(accept)
    return encode(_Scrape(samples, histogram)), media_type


class _Scrape(Collector):
    """One answer: nothing in it changes any more."""

    def __init__(self, samples: list[Sample], histogram: Histogram) -> None:
        self._samples, self._histogram = samples, histogram

    def collect(self) -> Iterable[Family]:
        families = {metric.name: _family(metric) for metric in TABLE if metric.kind != "histogram"}
        for sample in self._samples:
            families[sample.metric].add_metric(sample.labels, float(sample.value))
        yield from (family for family in families.values() if family.samples)
        yield from self._durations()
        yield from PROCESS.collect()

    def _durations(self) -> Iterator[Family]:
        metric = METRICS["ugs_upgrade_phase_seconds"]
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for key, (buckets, sum_s) in sorted(self._histogram.items()):
            family.add_metric(key, buckets, sum_s)
        yield family


def _family(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return family(metric.name, metric.help, labels=metric.labels)
