"""Figures in the text form that Prometheus reads.

The library takes part of the server's memory, so that it is loaded only where somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from holdfast.services.monitoring import Family

if TYPE_CHECKING:
    from prometheus_client import Metric


def exposed(families: Sequence[Family]) -> tuple[bytes, str]:
    """The text, and its media type."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector

    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return _metrics(families)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _metrics(families: Sequence[Family]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for family in families:
        kind = CounterMetricFamily if family.counts else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=family.labels)
        for labels, value in family.values.items():
            metric.add_metric(labels, float(value))
        yield metric
