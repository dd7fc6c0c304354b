"""Content of evaluation.json."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latentmd.analysis.features import FeatureSet
from latentmd.analysis.metric import Evaluation
from latentmd.analysis.reference import ReferenceModel
from latentmd.evaluation.settings import EvaluationSettings


def document(
    result: Evaluation, model: ReferenceModel, settings: EvaluationSettings, top: str | Path
) -> dict[str, Any]:
    """Everything about an evaluation, as evaluation.json holds it.

    Args:
        result: of the evaluation.
        model: reference that it was scored against.
        settings: that were used.
        top: topology file, or the name of the model.
    """
    from importlib.metadata import version

    def described(data: FeatureSet) -> dict[str, Any]:
        frames = sum(len(run) for run in data.runs)
        return {
            "files": [str(f) for f in data.files],
            "runs": len(data.runs),
            "frames_compared": frames,
            "frames_checked": data.totals.frames or len(data.kept),
            "interval_ps": data.interval,
            "simulated_ps": frames * model.interval,
        }

    return {
        "format": "latentmd-evaluation-1",
        "latentmd": version("latentmd"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "topology": str(top),
        "settings": {
            "lag_ps": settings.lag,
            "interval_ps": model.interval,
            "temperature_K": model.temperature,
            "seed": settings.seed,
            "features": list(model.spec.names),
            "centres": model.states,
            "macrostates": model.sets,
            "reference_frames_of_distributions": sum(map(len, model.dense)),
            "tica_dimension": model.dimension,
        },
        "generated": described(result.generated),
        "reference": described(result.reference),
        "metrics": result.metrics,
        "baselines": result.baselines,
        "notes": result.notes,
    }
