"""Rounds of hybrid sampling on a double well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.arrays import Bools, Floats
from latentmd.sampling.contracts import Burst, BurstError
from latentmd.sampling.hybrid.convergence import Criteria
from latentmd.sampling.hybrid.rounds import Hybrid, HybridError, RoundProgress
from latentmd.sampling.hybrid.settings import RoundSettings
from latentmd.sampling.hybrid.store import StoreError
from latentmd.worlds.explorer import LatentExplorer, load_explorer
from latentmd.worlds.landscapes import ToyEngine, double_well

LAND = double_well(barrier=2.0)
START = np.array([[-1.0]])
SETTINGS = RoundSettings(seed=4, starts=6, relaxation=2, lag=2, frames=12, cells=8, growth=1.6, refine=None, time=3.6)


def _hybrid(folder: Path, settings: RoundSettings = SETTINGS, engine: ToyEngine | None = None, **others: Any) -> Hybrid:
    explorer = LatentExplorer(1, 2, 0, fixed=settings.refine is None)
    states = others.pop("states", LAND.states)
    return Hybrid(
        engine or ToyEngine(LAND, 5), explorer, load=load_explorer, start=START, states=states, settings=settings,
        folder=folder, **others,
    )  # fmt: skip


def _content(folder: Path) -> dict[str, Any]:
    """All files of a run by name, without the wall times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "round.json":
            found[str(path.relative_to(folder))] = {
                k: v for k, v in json.loads(path.read_text()).items() if k != "wall"
            }
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_a_run_finds_the_other_well_and_its_weight(tmp_path: Path) -> None:
    seen: list[RoundProgress] = []
    criteria = Criteria(precision=0.3)
    settings = replace(
        SETTINGS,
        starts=32,
        relaxation=3,
        lag=5,
        frames=24,
        cells=16,
        growth=1.5,
        time=600.0,
        criteria=criteria,
        agreement=1,
    )
    outcome = _hybrid(tmp_path, settings, watch=seen.append).run()
    assert outcome.status == "converged", outcome.progress.review.missing
    left = seen[-1].review.estimates.populations[0]
    assert abs(left.value - LAND.populations()["left"]) <= 3 * left.deviation
    assert [p.round for p in seen] == list(range(len(seen)))
    assert sum(outcome.progress.decisions.values()) == 32 * (len(seen) - 1)
    assert outcome.progress.simulated == pytest.approx(len(seen) * 32 * 24 * 0.01)


def test_weights_add_up_to_the_populations(tmp_path: Path) -> None:
    outcome = _hybrid(tmp_path).run()
    assert outcome.status == "budget"
    assert outcome.weights is not None
    with np.load(outcome.weights) as file:
        weights = {name: file[name] for name in file.files}
    assert weights["weight"].sum() == pytest.approx(1)
    assert not weights["weight"][weights["frame"] < SETTINGS.relaxation].any()
    assert weights["states"].tolist() == ["left", "right"]
    left = weights["weight"][weights["state"] == 0].sum()
    assert left == pytest.approx(outcome.progress.review.estimates.populations[0].value)
    assert set(weights["origin"]) <= {"given", "surrogate"} | {o for o in weights["origin"] if o.startswith("md: ")}
    keys = {*zip(weights["round"].tolist(), weights["task"].tolist(), weights["frame"].tolist(), strict=True)}
    assert len(keys) == len(weights["weight"]) == outcome.progress.bursts * SETTINGS.frames


@pytest.mark.parametrize("refine", [None, 1e-9])
def test_a_run_stopped_anywhere_and_resumed_equals_the_uninterrupted_one(tmp_path: Path, refine: float | None) -> None:
    """Stopped after every seventh burst; with a surrogate that is refined at each review, or never."""
    settings = replace(SETTINGS, refine=refine, time=8.7 if refine else 3.6)
    whole = _hybrid(tmp_path / "whole", settings).run()
    for _ in range(50):
        calls = iter(range(1000))
        outcome = _hybrid(tmp_path / "parts", settings).run(stop=lambda c=calls: next(c) >= 7)
        if outcome.status != "stopped":
            break
    assert outcome.status == whole.status == "budget"
    assert (whole.progress.refined > 0) == (refine is not None)
    assert _content(tmp_path / "whole") == _content(tmp_path / "parts")
    assert outcome.progress.review.estimates.populations == whole.progress.review.estimates.populations


def test_a_finished_run_says_the_same_again_and_goes_on_with_more_time(tmp_path: Path) -> None:
    first = _hybrid(tmp_path).run()
    before = _content(tmp_path)
    again = _hybrid(tmp_path).run()
    assert again.progress.bursts == first.progress.bursts
    assert _content(tmp_path) == before
    longer = _hybrid(tmp_path, replace(SETTINGS, time=5.0)).run()
    assert longer.progress.bursts > first.progress.bursts


class Reversed:
    """A scheduler that does the last task first, as many machines might."""

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterator[Any]:
        done = {i: function(arguments[i]) for i in reversed(range(len(arguments)))}
        return iter([done[i] for i in range(len(arguments))])


def test_results_do_not_depend_on_the_scheduler(tmp_path: Path) -> None:
    _hybrid(tmp_path / "serial").run()
    _hybrid(tmp_path / "reversed", scheduler=Reversed()).run()
    assert _content(tmp_path / "serial") == _content(tmp_path / "reversed")


class Fragile(ToyEngine):
    """Explodes, or returns NaN, in about a third of its bursts each."""

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        burst = super().burst(start, frames, seed)
        if seed % 3 == 0:
            raise BurstError("exploded")
        if seed % 3 == 1:
            burst.positions[-1] = np.nan
        return burst


def test_bursts_that_explode_are_discarded_and_counted(tmp_path: Path) -> None:
    outcome = _hybrid(tmp_path, engine=Fragile(LAND, 5)).run()
    progress = outcome.progress
    assert set(progress.discarded) == {"exploded", "not finite"}
    assert progress.bursts + sum(progress.discarded.values()) == 6 * (progress.round + 1)
    assert progress.review.estimates.cells.sum() == pytest.approx(1.0)
    again = _hybrid(tmp_path, engine=Fragile(LAND, 5)).run().progress
    assert (again.discarded, again.bursts) == (progress.discarded, progress.bursts)


class Broken(ToyEngine):
    """Never works."""

    def burst(self, start: Floats, frames: int, seed: int) -> Burst:
        raise BurstError("exploded")


def test_a_run_whose_bursts_all_fail_ends_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(HybridError, match=r"no burst of the last 3 rounds could be used: exploded \(18 times\)"):
        _hybrid(tmp_path, engine=Broken(LAND, 5)).run()


def test_metastable_sets_stand_in_for_states(tmp_path: Path) -> None:
    outcome = _hybrid(tmp_path, replace(SETTINGS, time=15.0, starts=16, cells=12), states=None).run()
    estimates = outcome.progress.review.estimates
    assert estimates.states[0] == "set 1"
    assert sum(p.value for p in estimates.populations) == pytest.approx(1)


def test_a_state_out_of_reach_is_never_called_converged(tmp_path: Path) -> None:
    def beyond(positions: Floats) -> Bools:
        return np.asarray(positions[:, 0] > 50)

    states: Mapping[str, Any] = {**LAND.states, "beyond": beyond}
    outcome = _hybrid(tmp_path, states=states).run()
    assert outcome.status == "budget"
    assert "state beyond was never visited" in outcome.progress.review.missing


def test_plain_adaptive_sampling_asks_the_surrogate_for_nothing(tmp_path: Path) -> None:
    outcome = _hybrid(tmp_path, replace(SETTINGS, proposals=0.0)).run()
    assert outcome.progress.decisions == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 8}, "bursts of 8 frames are too short"),
        ({"starts": 1}, "starts is 1; expected at least 2"),
        ({"growth": 1.0}, "growth is 1.0; expected a factor above 1"),
        ({"proposals": 1.5}, "proposals is 1.5"),
        ({"time": 0.0}, "time is 0.0; expected a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_another_start_or_other_settings_are_refused(tmp_path: Path) -> None:
    _hybrid(tmp_path)
    with pytest.raises(StoreError, match=r"seed = 4 \(now 5\)"):
        _hybrid(tmp_path, replace(SETTINGS, seed=5))
    explorer = LatentExplorer(1, 2, 0)
    with pytest.raises(StoreError, match="starts from other structures"):
        Hybrid(
            ToyEngine(LAND, 5), explorer, load=load_explorer, start=START + 1, states=LAND.states, settings=SETTINGS,
            folder=tmp_path,
        )  # fmt: skip


def test_cells_are_as_fine_as_the_bursts_connect(tmp_path: Path) -> None:
    settings = replace(SETTINGS, seed=1, starts=32, lag=5, frames=24, relaxation=0, cells=60, time=40.0)
    sampler = _hybrid(tmp_path, settings=settings)
    sampler.run()
    reviewed = [(i, r) for i, r in enumerate(sampler.rounds) if r["review"] is not None]
    finest = [min(settings.cells, r["bursts"] * settings.frames // 20) for _, r in reviewed]
    used = [len(sampler.store.read_cells(i)) for i, _ in reviewed]
    assert used[0] < finest[0] and used[-1] == finest[-1]
    for size, most, (_, record) in zip(used, finest, reviewed, strict=True):
        assert size == most or record["review"]["connected"] >= settings.criteria.connected
