"""The way a molecule is simulated: chosen by mode, exactness and model; settings without a meaning are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentmd.model.file import BundleError
from latentmd.sampling import sample
from latentmd.sampling.request import HybridBudget, HybridRequest, RolloutSettings
from latentmd.sampling.sample import load, simulate

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests and settings that reach a way of sampling, which is not gone."""
    found: list[Any] = []

    def plan(pdb: Path, settings: RolloutSettings, built: Any) -> Any:
        found.append(settings)
        return SimpleNamespace()

    monkeypatch.setattr(sample, "run_hybrid", lambda pdb, request, *others: found.append(request))
    monkeypatch.setattr("latentmd.sampling.rollout.simulate.simulate_plan", plan)
    monkeypatch.setattr("latentmd.sampling.rollout.run.execute", lambda plan, report: None)
    return found


def test_load_gives_a_propagator(ou_bundle: Path) -> None:
    assert load(ou_bundle, "cpu").temperature == 350.0
    with pytest.raises(BundleError, match="nothing: no such model file or bundled model"):
        load("nothing")


def test_walkers_have_their_defaults(asked: list[Any]) -> None:
    simulate(ALANINE, model="m.pt")
    (settings,) = asked
    assert isinstance(settings, RolloutSettings)
    assert (settings.mode, settings.time, settings.interval, settings.walkers) == ("alternate", 10_000.0, 100.0, 16)
    assert settings.out == Path("alanine_dipeptide-latentmd") and settings.model == "m.pt"


def test_times_may_have_units(asked: list[Any]) -> None:
    simulate(ALANINE, mode="md", time="2ns", save_every=5, out="here", walkers=3, seed=7)
    (settings,) = asked
    assert (settings.mode, settings.time, settings.interval) == ("md", 2000.0, 5.0)
    assert (settings.out, settings.walkers, settings.seed) == (Path("here"), 3, 7)


@pytest.mark.parametrize(("options", "level"), [({"mode": "hybrid"}, "reweighted"), ({"exactness": "raw"}, "raw")])
def test_an_exactness_or_the_mode_ask_for_hybrid_sampling(asked: list[Any], options: Any, level: str) -> None:
    simulate(ALANINE, temperature=310.0, **options)
    (request,) = asked
    assert isinstance(request, HybridRequest)
    assert request.exactness == level and request.budget == HybridBudget(100_000.0, None)
    assert request.out == Path("alanine_dipeptide-hybrid") and request.temperature == 310.0


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
    assert [settings.mode for settings in asked[:2]] == ["alternate", "alternate"]
    assert [request.exactness for request in asked[2:]] == ["metropolised", "metropolised"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "warp"}, "--mode is 'warp'; expected one of"),
        ({"mode": "md", "exactness": "raw"}, "--exactness has no meaning with --mode md"),
        ({"mode": "hybrid", "walkers": 3}, "--walkers has no meaning with --mode hybrid"),
        ({"mode": "md", "wall": 5.0}, "--wall has no meaning with --mode md"),
        ({"mode": "latent", "scheduler": "tcp://x:1"}, "--scheduler has no meaning with --mode latent"),
        ({"exactness": "metropolised", "time": "1ns"}, "--time has no meaning with --mode hybrid --exactness"),
        ({"exactness": "perfect"}, "perfect"),
        ({"mode": "md", "time": "10"}, "has no unit"),
    ],
)
def test_settings_without_a_meaning_are_refused(asked: list[Any], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        simulate(ALANINE, **options)
    assert not asked
