"""The way a molecule is simulated: chosen by mode and model; settings without a meaning are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentmd.model.file import BundleError
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.run.options import Mode, WalkerOptions
from latentmd.sampling.sample import choose, load, simulate

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests and settings that reach a way of sampling, which is not gone."""
    found: list[Any] = []

    def plan(pdb: Path, settings: WalkerOptions, built: Any) -> Any:
        found.append(settings)
        return SimpleNamespace()

    monkeypatch.setattr("latentmd.sampling.metropolis.run.chains", lambda pdb, request, *others: found.append(request))
    monkeypatch.setattr("latentmd.sampling.walkers.simulate.simulate_plan", plan)
    monkeypatch.setattr("latentmd.sampling.walkers.simulate.execute", lambda plan, report: None)
    return found


def test_load_gives_a_propagator(ou_bundle: Path) -> None:
    assert load(ou_bundle, "cpu").temperature == 350.0
    with pytest.raises(BundleError, match="nothing: no such model file or bundled model"):
        load("nothing")


def test_walkers_have_their_defaults(asked: list[Any]) -> None:
    simulate(ALANINE, model="m.pt")
    (settings,) = asked
    assert isinstance(settings, WalkerOptions)
    assert (settings.mode, settings.time, settings.interval, settings.walkers) == ("model", 10_000.0, 100.0, 16)
    assert settings.out == Path("alanine_dipeptide-latentmd") and settings.model == "m.pt"


def test_times_may_have_units(asked: list[Any]) -> None:
    simulate(ALANINE, mode="md", time="2ns", save_every=5, out="here", walkers=3, seed=7)
    (settings,) = asked
    assert (settings.mode, settings.time, settings.interval) == ("md", 2000.0, 5.0)
    assert (settings.out, settings.walkers, settings.seed) == (Path("here"), 3, 7)


def test_chains_are_asked_for_by_their_mode(asked: list[Any]) -> None:
    simulate(ALANINE, mode="chains", temperature=310.0)
    (request,) = asked
    assert isinstance(request, ChainsRequest) and request.wall is None
    assert request.out == Path("alanine_dipeptide-chains") and request.temperature == 310.0


def test_a_molecule_with_a_bundled_model_alternates_and_another_gets_exact_chains(
    asked: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    simulate(ALANINE)
    simulate(ALANINE.with_name("glycine_dipeptide.pdb"))
    assert not caplog.text
    simulate(ALANINE.with_name("glycine_dipeptide.pdb"), wall=60.0)
    assert "--wall asks for exact statistics of this one; exact chains" in caplog.text
    simulate(ALANINE.with_name("chignolin.pdb"))
    assert "no bundled model covers GLY-TYR" in caplog.text
    assert [settings.mode for settings in asked[:2]] == ["model", "model"]
    assert [request.wall for request in asked[2:]] == [60.0, 600.0]


def test_plain_md_without_a_time_gets_ten_minutes(asked: list[Any]) -> None:
    simulate(ALANINE, mode="md")
    simulate(ALANINE, mode="md", time="1ns", save_every="1ps")
    simulate(ALANINE, mode="md", wall=30.0)
    simulate(ALANINE)
    assert [(s.wall, s.closer) for s in asked] == [(600.0, True), (None, False), (30.0, True), (None, False)]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "warp"}, "--mode is 'warp'; expected one of"),
        ({"mode": "nowhere:X"}, "cannot load the mode 'nowhere:X'"),
        ({"mode": "math:pi"}, "'math:pi' is no mode; expected a latentmd.sampling.run.options.Way"),
        ({"mode": "chains", "walkers": 3}, "--walkers has no meaning with --mode chains"),
        ({"mode": "latent", "scheduler": "tcp://x:1"}, "--scheduler has no meaning with --mode latent"),
        ({"mode": "chains", "time": "1ns"}, "--time has no meaning with --mode chains"),
        ({"mode": "md", "time": "10"}, "has no unit"),
    ],
)
def test_settings_without_a_meaning_are_refused(asked: list[Any], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        simulate(ALANINE, **options)
    assert not asked


NONE = "no bundled model covers it"


@pytest.mark.parametrize(
    ("facts", "way", "words"),
    [
        (("", ""), "model", "a bundled model"),
        (("", "has virtual sites", True), "model", "a bundled model"),
        ((NONE, ""), "chains", "exact chains, beside plain MD"),
        ((NONE, "", True), "md", "trajectories were asked for"),
        ((NONE, "turns bonds"), "md", "exact chains do not suit: the method turns bonds; plain MD"),
    ],
)
def test_the_rule(facts: Any, way: Mode, words: str) -> None:
    found, reason = choose(*facts)
    assert found == way and words in reason
    assert not facts[0] or reason.startswith(NONE)
