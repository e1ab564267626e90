"""The numbers that /metrics shows. What is known is gathered on the event loop, and rendered in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

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

from reconciler.engine.fleet import Fleet
from reconciler.engine.metrics.gather import Known, gather
from reconciler.engine.metrics.openings import Openings
from reconciler.engine.metrics.phases import Key, Phases
from reconciler.engine.metrics.resources import Resources
from reconciler.engine.metrics.table import METRICS, TABLE, Metric, Sample

Histogram = Mapping[Key, tuple[list[tuple[str, float]], float]]
"""By environment and phase: the cumulated buckets, and the sum."""


class Metrics:
    """Of one daemon, for as long as it runs."""

    def __init__(self, fleet: Fleet, started_at: datetime) -> None:
        self._fleet = fleet
        self._started_at = started_at
        self._phases = Phases()
        self._openings = Openings(fleet)
        self.resources = Resources(fleet)
        self._process = ProcessCollector(registry=None)
        fleet.core.heard.append(self._phases.hear)

    async def exposed(self, accept: str) -> tuple[bytes, str]:
        """The answer to a scrape that accepts this, and its media type."""
        known = Known(self.resources.latest(), await self._openings.current())
        samples = gather(self._fleet, self._started_at, known)
        spreads = {key: (one.buckets(), one.sum_s) for key, one in self._phases.spreads.items()}
        encode, media_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, _Scrape(samples, spreads, self._process)), media_type


class _Scrape(Collector):
    """One answer: nothing in it changes any more."""

    def __init__(self, samples: list[Sample], histogram: Histogram, process: ProcessCollector) -> None:
        self._samples, self._histogram, self._process = samples, histogram, process

    def collect(self) -> Iterable[Family]:
        families = {metric.name: _family(metric) for metric in TABLE if metric.kind != "histogram"}
        for sample in self._samples:
            families[sample.metric].add_metric(sample.labels, float(sample.value))
        yield from (family for family in families.values() if family.samples)
        yield from self._durations()
        yield from self._process.collect()

    def _durations(self) -> Iterator[Family]:
        metric = METRICS["ugs_upgrade_phase_seconds"]
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for key, (buckets, sum_s) in sorted(self._histogram.items()):
            family.add_metric(key, buckets, sum_s)
        yield family


def _family(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return family(metric.name, metric.help, labels=metric.labels)
