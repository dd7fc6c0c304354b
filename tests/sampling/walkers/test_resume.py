"""A run that was stopped or killed goes on as if it had not been."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentmd
from latentmd.io.atomic import OutputError
from latentmd.sampling.run.stopping import RunInterrupted
from latentmd.sampling.walkers.folder import State, read_states, unfinished, write_state

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"
KILLS = 3
#: Options by mode, short and long; the long ones take several seconds.
SHORT: dict[str, dict[str, Any]] = {
    "md": {"time": "40ps", "save_every": "0.4ps", "walkers": 2},
    "model": {"time": "3ns", "save_every": "50ps", "cycle": "100ps", "burst": "0.4ps", "walkers": 2},
    "latent": {"time": "100ns", "save_every": "100ps", "walkers": 2},
}
LONG = {
    "md": SHORT["md"] | {"time": "1600ps", "save_every": "2ps"},
    "model": SHORT["model"] | {"time": "60ns", "walkers": 1},
    "latent": SHORT["latent"] | {"time": "150ns", "walkers": 12},
}


def test_states_round_trip(tmp_path: Path) -> None:
    assert read_states(tmp_path) == {}
    arrays = {"positions": np.random.default_rng(0).random((4, 3)), "kind": np.array("md")}
    write_state(tmp_path, State((2, 3), 7, (100, 200), arrays, {"minimised": 5}))
    (state,) = read_states(tmp_path).values()
    assert (state.walkers, state.frames, state.sizes[1], state.counts) == ((2, 3), 7, 200, {"minimised": 5})
    assert np.array_equal(state.arrays["positions"], arrays["positions"]) and str(state.arrays["kind"]) == "md"
    assert unfinished([(0, 1), (2, 3)], {2: state}, 7) == [(0, 1)]
    assert unfinished([(2, 3)], {2: state}, 8) == [(2, 3)]
    (tmp_path / "state" / "walker-0002.npz").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"walker-0002.npz cannot be read .* --overwrite"):
        read_states(tmp_path)


def _run(mode: str, options: dict[str, Any], bundle: Path, out: Path, **more: Any) -> Any:
    model = {} if mode == "md" else {"model": bundle}
    return latentmd.simulate(ALANINE, mode=mode, seed=4, processes=1, out=out, **options, **model, **more)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (*folder.glob("walker-*.xtc"), folder / "provenance.csv")}


@pytest.mark.parametrize("mode", SHORT)
def test_a_stopped_run_goes_on_and_no_other_does(mode: str, ou_bundle: Path, tmp_path: Path) -> None:
    whole = _run(mode, SHORT[mode], ou_bundle, tmp_path / "whole")

    def stop(stage: str, done: float, total: float) -> None:
        if stage == "simulating" and done > 0.3 * total:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        _run(mode, SHORT[mode], ou_bundle, tmp_path / "parts", progress=stop)
    for other, name in (({"time": "200ns"}, "time"), ({"walkers": 7}, "walkers")):
        with pytest.raises(OutputError, match=f"another {name}; resume with the options it began with"):
            _run(mode, SHORT[mode] | other, ou_bundle, tmp_path / "parts", resume=True)
    resumed = _run(mode, SHORT[mode], ou_bundle, tmp_path / "parts", resume=True)
    if resumed.summary["platform"] == whole.summary["platform"]:
        assert _contents(tmp_path / "parts") == _contents(tmp_path / "whole")
    assert resumed.summary["frames"] == whole.summary["frames"]
    again = _run(mode, SHORT[mode], ou_bundle, tmp_path / "parts", resume=True)  # complete: nothing to do
    assert again.summary == resumed.summary


def _arguments(mode: str, bundle: Path, out: Path) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in LONG[mode].items()]
    model = [] if mode == "md" else ["--model", str(bundle)]
    return ["simulate", str(ALANINE), "--mode", mode, "--out", str(out), "--seed=4", "--processes=1", "--resume",
            *options, *model]  # fmt: skip


def _kept(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "state").glob("walker-*.npz"))]


@pytest.mark.slow
@pytest.mark.parametrize("mode", LONG)
def test_a_run_killed_again_and_again_has_the_frames_of_one_that_was_not(
    mode: str, ou_bundle: Path, tmp_path: Path, start: Any
) -> None:
    """SIGKILL at random moments, each after the run got further than at the last one."""
    rng, out = random.Random(mode), tmp_path / "killed"
    kills = 0
    while kills < KILLS:
        before, process = _kept(out), start(*_arguments(mode, ou_bundle, out), stderr=subprocess.DEVNULL)
        while _kept(out) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.4))
        if process.poll() is not None:  # a fast machine
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    assert start(*_arguments(mode, ou_bundle, out), stderr=subprocess.DEVNULL).wait() == 0
    platform = latentmd.simulate(ALANINE, **_same(mode, ou_bundle, out)).summary["platform"]
    whole = _run(mode, LONG[mode], ou_bundle, tmp_path / "whole")
    frames = round(len(read(out)) / LONG[mode]["walkers"])
    assert [frames] * LONG[mode]["walkers"] == whole.summary["frames"]
    if whole.summary["platform"] != platform:
        pytest.skip("the two runs chose different platforms, which round differently")
    assert _contents(out) == _contents(tmp_path / "whole")


def _same(mode: str, bundle: Path, out: Path) -> dict[str, Any]:
    model = {} if mode == "md" else {"model": bundle}
    return {"mode": mode, "seed": 4, "out": out, "resume": True, **LONG[mode], **model}


def read(out: Path) -> list[str]:
    return (out / "provenance.csv").read_text().splitlines()[1:]
