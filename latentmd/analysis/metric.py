"""Results of an evaluation: one metric, the comparison of one generated set, and the whole evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from latentmd.analysis.features import FeatureSet
from latentmd.analysis.statistics import Estimate
from latentmd.arrays import Floats

#: What a JSON file holds, or a part of it.
Document = dict[str, Any]
SHARE = "share"  # unit of fractions of frames or of populations, which tables give as per cent


@dataclass(frozen=True)
class Metric:
    """One row of an evaluation."""

    name: str
    group: str
    value: float  #: of the generated set; nan where it is undefined (the note says why)
    unit: str = ""  #: of the value; `SHARE` marks a fraction
    reference: float | None = None
    floor: float | None = None  #: MD against MD at the same number of frames
    floor_effective: float | None = None  #: MD against MD at the generated set's effective sample size
    floor_independent: float | None = None  #: as many frames drawn independently of each other: the strictest floor
    low: float | None = None  #: of the value's 95 % interval; nan where one block cannot tell
    high: float | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    seeds: tuple[float, ...] | None = None  #: the value in rollouts of several seeds, the first of them `value` itself
    note: str = ""

    @classmethod
    def of(cls, name: str, group: str, own: Estimate, reference: Estimate, unit: str = "", note: str = "") -> Metric:
        """A metric of two estimates, of the generated set and of the reference."""
        return cls(
            name, group, own.value, unit, reference.value, low=own.low, high=own.high, reference_low=reference.low,
            reference_high=reference.high, note=note,
        )  # fmt: skip


@dataclass
class Comparison:
    """Metrics of one generated set and the curves that the figures draw."""

    metrics: list[Metric]
    curves: Document = field(default_factory=dict)

    def value(self, name: str) -> float:
        """Value of a metric by name; nan where the comparison has none of that name."""
        return next((m.value for m in self.metrics if m.name == name), float("nan"))


@dataclass
class Evaluation:
    """Result of an evaluation, baselines' metrics, potential energies (kJ/mol) where known, and its evaluation.json."""

    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    generated: FeatureSet
    reference: FeatureSet
    notes: list[str] = field(default_factory=list)
    energies: tuple[Floats | None, Floats | None] = (None, None)
    document: Document = field(default_factory=dict)
