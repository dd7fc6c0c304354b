"""Settings as the training data have it: conditions that records state, spacing, lags and sizes that suit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentmd.analysis.features import molecules_of
from latentmd.systems.own_force_field import identity, inputs_beside, is_own, read_system, solvent_of
from latentmd.systems.protocol import DEFAULT_FORCE_FIELDS
from latentmd.training.config import ConfigError, TrainingConfig, parse_section
from latentmd.training.data import Source

_NUMBERS = ("temperature", "friction", "timestep", "hydrogen_mass")
_SAME = 1e-6  # relative


def with_own_force_field(config: TrainingConfig, top: Path, given: str | None = None) -> TrainingConfig:
    """Settings with the force field and solvent of an OpenMM System: the one given, or system.xml beside the topology.

    Raises:
        ConfigError: the settings name another force field or solvent, or the System given is of a periodic box.
    """
    path = given or inputs_beside(top).system
    if path is None:
        if is_own(config.force_field):
            raise ConfigError(f"{top}: the force field {config.force_field[0]} needs the run's system.xml beside it")
        return config
    system = read_system(Path(path))
    found: dict[str, Any] = {"force_field": (identity(system),), "solvent": solvent_of(system)}
    if given and found["solvent"] == "explicit":
        raise ConfigError(f"{given} describes a periodic box; give a System of the solute alone, or leave out --system")
    for name, value in found.items():
        if name in config.model_fields_set and getattr(config, name) != value and getattr(config, name) != ():
            raise ConfigError(f"{path}: is the force field of the run; leave {name} out of the configuration")
    return config.model_copy(update=found)


def check_conditions(config: TrainingConfig, trajectories: Sequence[str | Path]) -> None:
    """Refuse trajectories that `latentmd md` or `simulate` made under other conditions than the settings state.

    Trajectories of other programs carry no record; their conditions are the settings' word.

    Raises:
        ConfigError: which condition it is, with both values.
    """
    for folder in dict.fromkeys(Path(path).parent for path in trajectories):
        protocol = recorded_protocol(folder)
        for name in config.model_fields_set.intersection((*_NUMBERS, "solvent", "force_field")):
            asked, found = getattr(config, name), protocol.get(name)
            if name == "force_field" and found is not None:
                asked, found = (list(names or DEFAULT_FORCE_FIELDS[config.solvent]) for names in (asked, found))
            same = found is None or asked == found
            if isinstance(asked, float) and isinstance(found, int | float):
                same = math.isclose(asked, found, rel_tol=_SAME)
            if not same:
                raise ConfigError(
                    f"{folder}: simulated with {name} {_shown(found)}, the settings say {_shown(asked)}; put "
                    f"`{name} = {json.dumps(found)}` into the file for --config"
                )


_ROOM_TEMPERATURE = 300.0  # K, of trajectories of which nothing is said


def with_conditions(config: TrainingConfig, trajectories: Sequence[str | Path], water: bool) -> TrainingConfig:
    """Settings with conditions of trajectories as their record or, without one, what is around the solute tells.

    A solute in explicit water, and one of whose force field nothing is known, is learnt without energies.

    Raises:
        ConfigError: the settings state another condition than the record.
    """
    check_conditions(config, trajectories)
    stated = config.model_fields_set
    record = recorded_protocol(Path(trajectories[0]).parent)
    found: dict[str, Any] = {name: record[name] for name in (*_NUMBERS, "solvent") if record.get(name) is not None}
    if record.get("force_field"):
        found["force_field"] = tuple(record["force_field"])
    if not record and not stated & {"solvent", "force_field"}:
        found = {"solvent": "explicit" if water else "unknown", "temperature": _ROOM_TEMPERATURE}
    settled = config.model_copy(update={name: value for name, value in found.items() if name not in stated})
    check_conditions(settled, trajectories)  # runs of several folders must agree
    return settled


def recorded_protocol(folder: Path) -> dict[str, Any]:
    """Protocol in the record of a run in a folder; empty where there is none."""
    try:
        protocol = json.loads((folder / "request.json").read_text(encoding="utf-8")).get("protocol", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return protocol if isinstance(protocol, dict) else {}


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


_STRIDE = 1.0  # ps: shorter spacings are thinned to it
_EMBEDDED, _STEPS = 20, 20  # longest over shortest lag, of joint embedding and of the predictor
_SHORTEST = 10.0  # ps, of the predictor's lags where frames are as close
_SHARE = 0.2  # of the longest run that a lag may take
#: Most epochs of a stage, beyond which it learns single frames by heart, and fewest steps.
_EPOCHS = {"decoder": (200, 300), "fast": (400, 800), "predictor": (400, 800)}
_LARGE_EPOCHS = {"predictor": (800, 800)}  # whose slow axes are many: chignolin's torsions gain a quarter
_HELD_OUT = 10  # runs of which one is held out
_ALL_PAIRS = 60  # atoms up to which messages between all pairs cost less than neighbour lists
_FAR = 1.2  # nm, cutoff of several molecules, which sees them parted
_LARGE: dict[str, dict[str, Any]] = {
    "encoder": {"kind": "graph", "cutoff": 0.5, "width": 32, "depth": 2, "vectors": 4, "token_dim": 24},
    "jepa": {"steps": 600},
    "decoder": {"width": 0},
    "predictor": {"width": 256},
    "latent": {"slow_axes": (4, 24)},
}


def suited(config: TrainingConfig, source: Source) -> TrainingConfig:
    """The settings, with those that were not stated chosen by the spacing and length of the runs and by the atoms.

    Raises:
        ConfigError: settings that were stated do not fit to those chosen.
    """
    stride = config.stride
    every = max(1, round(stride / source.interval))
    if "stride" not in config.model_fields_set and not math.isclose(every * source.interval, stride, rel_tol=1e-6):
        stride = source.interval * math.ceil(_STRIDE / source.interval * (1 - 1e-6))
    longest = _SHARE * max(len(run) for run in source.runs) * source.interval
    found: dict[str, dict[str, Any]] = {
        "jepa": {"lag": _lags(stride, stride, _EMBEDDED, longest)},
        "latent": {"lag": max(stride, config.latent.lag)},
        "predictor": {"lag": _lags(stride, max(stride, _SHORTEST), _STEPS, longest)},
    }
    several = len(molecules_of(source.topology)) > 1
    large = several or source.topology.n_atoms > _ALL_PAIRS
    if large:
        found = {name: found.get(name, {}) | _LARGE.get(name, {}) for name in {*found, *_LARGE}}
        found["encoder"] |= {"cutoff": _FAR} if several else {}
    frames = sum(len(run) for run in source.runs) * source.interval / stride
    for name, (epochs, fewest) in (_EPOCHS | (_LARGE_EPOCHS if large else {})).items():
        part = getattr(config, name)
        steps = max(fewest, round(epochs * frames / part.batch))
        found[name] = found.get(name, {}) | {"steps": min(part.steps, steps)}
    holdout = config.holdout if "holdout" in config.model_fields_set else max(1, len(source.runs) // _HELD_OUT)
    update: dict[str, Any] = {}
    for name, values in found.items():
        section = getattr(config, name)
        update[name] = section.model_copy(update={k: v for k, v in values.items() if k not in section.model_fields_set})
    whole = config.model_copy(update={"stride": stride, "holdout": holdout, **update})
    return parse_section(TrainingConfig, whole.model_dump(), "settings")


def _lags(stride: float, shortest: float, times: int, longest: float) -> tuple[float, float]:
    """Shortest and longest lag in ps, whole numbers of strides; the longest as far as the runs allow."""
    low = stride * math.ceil(shortest / stride * (1 - 1e-6))
    return low, max(low, min(times * low, stride * math.floor(longest / stride)))
