"""Settings that suit the data, where the user states none: spacing, lags, the encoder's kind and size."""

from __future__ import annotations

import math
from typing import Any

from latentmd.training.config import ConfigSection, TrainingConfig, parse_section
from latentmd.training.data import Source

_STRIDE = 1.0  # ps: shorter spacings are thinned to it
_EMBEDDED, _STEPS = 20, 20  # longest over shortest lag, of joint embedding and of the predictor
_SHORTEST = 10.0  # ps, of the predictor's lags where frames are as close
_SHARE = 0.2  # of the longest run that a lag may take
#: Most epochs of a stage, beyond which it learns single frames by heart, and fewest steps.
_EPOCHS = {"decoder": (200, 300), "fast": (400, 800), "predictor": (400, 800)}
_ALL_PAIRS = 60  # atoms up to which messages between all pairs cost less than neighbour lists
_LARGE: dict[str, dict[str, Any]] = {
    "encoder": {"kind": "graph", "cutoff": 0.5, "width": 32, "depth": 2, "vectors": 4},
    "jepa": {"steps": 1500},
    "latent": {"slow_axes": (4, 24)},
}


def suited(config: TrainingConfig, source: Source) -> TrainingConfig:
    """The settings, with those that were not stated chosen by the spacing and length of the runs and by the atoms.

    Raises:
        ConfigError: settings that were stated do not fit to those chosen.
    """
    stride = config.stride
    if "stride" not in config.model_fields_set and not _divides(source.interval, stride):
        stride = source.interval * math.ceil(_STRIDE / source.interval * (1 - 1e-6))
    longest = _SHARE * max(len(run) for run in source.runs) * source.interval
    found: dict[str, dict[str, Any]] = {
        "jepa": {"lag": _lags(stride, stride, _EMBEDDED, longest)},
        "latent": {"lag": max(stride, config.latent.lag)},
        "predictor": {"lag": _lags(stride, max(stride, _SHORTEST), _STEPS, longest)},
    }
    if source.topology.n_atoms > _ALL_PAIRS:
        found = {name: found.get(name, {}) | _LARGE.get(name, {}) for name in {*found, *_LARGE}}
    frames = sum(len(run) for run in source.runs) * source.interval / stride
    for name, (epochs, fewest) in _EPOCHS.items():
        section = getattr(config, name)
        steps = max(fewest, round(epochs * frames / section.batch))
        found[name] = found.get(name, {}) | {"steps": min(section.steps, steps)}
    update: dict[str, Any] = {name: _filled(getattr(config, name), values) for name, values in found.items()}
    whole = config.model_copy(update={"stride": stride, **update})
    return parse_section(TrainingConfig, whole.model_dump(), "settings")


def _divides(interval: float, stride: float) -> bool:
    every = round(stride / interval)
    return every >= 1 and abs(every * interval - stride) <= 1e-6 * stride


def _lags(stride: float, shortest: float, times: int, longest: float) -> tuple[float, float]:
    """Shortest and longest lag in ps, whole numbers of strides; the longest as far as the runs allow."""
    low = stride * math.ceil(shortest / stride * (1 - 1e-6))
    return low, max(low, min(times * low, stride * math.floor(longest / stride)))


def _filled(section: ConfigSection, values: dict[str, Any]) -> ConfigSection:
    """A section with values for the fields that were not stated."""
    return section.model_copy(update={k: v for k, v in values.items() if k not in section.model_fields_set})
