"""The latents workflow on a surrogate whose latent is known to be its torsions."""

from __future__ import annotations

import json
from importlib.util import find_spec

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner

from latentmd.cli.latents import latents_command
from latentmd.evaluation.latents import LatentSettings, latents

PDB = "systems/molecules/alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def drawn_runs(ou_bundle, tmp_path_factory):
    from latentmd.model.propagator import Propagator

    folder = tmp_path_factory.mktemp("drawn")
    propagator = Propagator(ou_bundle, "cpu")
    (folder / "top.pdb").write_text(propagator.manifest.topology)
    frame = mdtraj.load(str(folder / "top.pdb")).xyz
    rng = np.random.Generator(np.random.Philox(1))
    path = propagator.rollout(propagator.encode(np.repeat(frame, 2, axis=0)), 5.0, 600, rng)
    positions = np.stack([propagator.decode(slow, rng) for slow in path], axis=1)
    for run in range(2):
        np.save(folder / f"run-{run}.npy", positions[run].astype(np.float32))
    return folder


def test_latents_of_a_known_process(ou_bundle, drawn_runs, tmp_path):
    settings = LatentSettings(lag=10.0, interval=5.0, seconds=0.0)
    document = latents([drawn_runs], drawn_runs / "top.pdb", ou_bundle, out=tmp_path, settings=settings)
    values = {m.name: m for m in document["metrics"]}
    vamp = values["VAMP-2, slow axes"]
    assert vamp.value == pytest.approx(1 + 2 * np.exp(-2 * 10 / 50), abs=0.25)
    assert values["effective rank, slow axes"].value == pytest.approx(2, abs=0.1)
    assert document["interval_ps"] == 5.0 and document["lag_ps"] == 10.0
    written = json.loads((tmp_path / "latents.json").read_text())
    assert len(written["metrics"]) == len(document["metrics"])
    page = (tmp_path / "latents.html").read_text()
    assert page.count("data:image/png") >= 2
    umap = find_spec("umap")
    drawn = umap is not None and umap.origin is not None
    assert ("UMAP of all axes" in page) == drawn and bool(written["notes"]) != drawn


def test_command_and_refusals(ou_bundle, drawn_runs, tmp_path):
    runner = CliRunner()
    line = [str(drawn_runs), "--top", str(drawn_runs / "top.pdb"), "--model", str(ou_bundle), "--interval", "5ps"]
    line += ["--vampnet-seconds", "0", "--out", str(tmp_path / "x")]
    short = runner.invoke(latents_command, [*line, "--lag", "2ns"])
    assert short.exit_code == 1 and "needs more than" in short.output
    odd = runner.invoke(latents_command, [*line, "--lag", "7ps"])
    assert odd.exit_code == 1 and "no whole number" in odd.output
    still = tmp_path / "still.npy"
    np.save(still, np.repeat(np.load(drawn_runs / "run-0.npy")[:1], 300, axis=0))
    constant = runner.invoke(latents_command, [str(still), *line[1:], "--lag", "10ps"])
    assert constant.exit_code == 1 and "one structure only" in constant.output
    done = runner.invoke(latents_command, line)
    assert done.exit_code == 0 and "VAMP-2" in done.output, done.output
    assert runner.invoke(latents_command, line).exit_code == 1
