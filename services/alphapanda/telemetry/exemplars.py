"""Exemplars of histograms: a trace for each bucket, in the OpenMetrics exposition that Prometheus asks for.

OpenTelemetry's exporter for Prometheus writes none, so they are kept here and added to its samples.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Exemplar, Sample
from typing_extensions import override

BUCKET: Final = "_bucket"
"""Ending of the names of a histogram's buckets."""

_INFINITE: Final = "+Inf"
_HEX_DIGITS: Final = 32


class Exemplars:
    """The newest exemplar of each bucket of some histograms that have the same bounds and one label.

    Args:
        label: the label, such as "broker".
        bounds: upper bounds of the buckets, ascending; a last bucket has none.
        wall_clock: wall time in seconds since 1970.
    """

    def __init__(
        self, label: str, bounds: Sequence[float], wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._label = label
        self._bounds = tuple(bounds)
        self._edges = (*(str(bound) for bound in bounds), _INFINITE)
        self._wall_clock = wall_clock
        self._newest: dict[tuple[str, str, str], Exemplar] = {}

    def note(self, histogram: str, value: str, seconds: float, correlation_id: str) -> None:
        """Notes an observation; its trace id is the correlation id's 32 digits. One without a correlation id is no example.

        Args:
            histogram: its name as Prometheus sees it, such as "alphapanda_order_to_fill_seconds".
            value: value of the label.
            seconds: what was observed.
            correlation_id: a UUID as text.
        """
        trace_id = correlation_id.replace("-", "")
        if len(trace_id) == _HEX_DIGITS:
            edge = self._edges[bisect_left(self._bounds, seconds)]
            exemplar = Exemplar({"trace_id": trace_id}, seconds, self._wall_clock())
            self._newest[histogram, value, edge] = exemplar

    def added_to(self, families: Iterable[Metric]) -> Iterable[Metric]:
        """Returns the families with the exemplars of their buckets."""
        for family in families:
            if family.type == "histogram":
                family.samples = [self._with_exemplar(sample) for sample in family.samples]
            yield family

    def _with_exemplar(self, sample: Sample) -> Sample:
        if not sample.name.endswith(BUCKET):
            return sample
        of = sample.name.removesuffix(BUCKET), sample.labels.get(self._label, ""), sample.labels["le"]
        found = self._newest.get(of)
        return sample if found is None else sample._replace(exemplar=found)


class ExemplarRegistry(CollectorRegistry):
    """A registry whose histograms have exemplars.

    Args:
        exemplars: the exemplars.
    """

    def __init__(self, exemplars: Exemplars) -> None:
        super().__init__()
        self._exemplars = exemplars

    @override
    def collect(self) -> Iterable[Metric]:
        return self._exemplars.added_to(super().collect())
