"""Results of an evaluation: one metric, the comparison of one generated set, and the whole evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from latentmd.analysis.features import FeatureSet
from latentmd.arrays import Floats

#: What a JSON file holds, or a part of it.
Document = dict[str, Any]
SHARE = "share"  # unit of fractions of frames or of populations, which tables give as per cent


@dataclass(frozen=True)
class Metric:
    """One row of an evaluation.

    Attributes:
        unit: of the value; `SHARE` marks a fraction.
        value: of the generated set; nan where it is undefined (the note says why).
        floor: MD against MD at the same number of frames.
        floor_effective: MD against MD at the generated set's effective sample size.
        floor_independent: the same number of frames, drawn independently of each other from MD: the strictest floor.
        low, high: 95 % interval of the value; nan where one block cannot tell. Likewise of the reference's.
        seeds: the value in rollouts of several seeds, the first of them `value` itself.
    """

    name: str
    group: str
    value: float
    unit: str = ""
    reference: float | None = None
    floor: float | None = None
    floor_effective: float | None = None
    floor_independent: float | None = None
    low: float | None = None
    high: float | None = None
    reference_low: float | None = None
    reference_high: float | None = None
    seeds: tuple[float, ...] | None = None
    note: str = ""

    def bounded(self, own: tuple[float, float], reference: tuple[float, float] | None = None) -> Metric:
        """The same with 95 % intervals (low, high) of the value and of the reference's."""
        low, high = reference or (self.reference_low, self.reference_high)
        return replace(self, low=own[0], high=own[1], reference_low=low, reference_high=high)


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
    """Result of an evaluation: metrics of the generated set, the comparable ones of each baseline, what was read,
    notes, the potential energies (kJ/mol) of the reference and the generated set, and everything as evaluation.json
    holds it.
    """

    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    generated: FeatureSet
    reference: FeatureSet
    notes: list[str] = field(default_factory=list)
    energies: tuple[Floats | None, Floats | None] = (None, None)
    document: Document = field(default_factory=dict)
