"""The HTML page: self-contained, and its 3-D view turns and plays in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.metric import Metric
from latentmd.report import page as report
from latentmd.report import tables as record

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: Drags the molecule, plays it for a while, and leaves what happened in the page's title.
DRIVER = """
<script>
(function () {
  var root = document.querySelector(".viewer"), canvas = root.querySelector("canvas");
  function send(type, x, y) {
    canvas.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y, pointerId: 1, bubbles: true }));
  }
  canvas.setPointerCapture = function () {};
  var before = root.dataset.rotation, pixels = canvas.toDataURL();
  send("pointerdown", 100, 100); send("pointermove", 180, 130); send("pointerup", 180, 130);
  var turned = root.dataset.rotation !== before && canvas.toDataURL() !== pixels;
  root.querySelector("button").click();
  setTimeout(function () {
    root.querySelector("button").click();
    var entries = performance.getEntriesByType("resource");
    var requests = entries.filter(function (r) { return !r.name.startsWith("data:"); });
    document.title = JSON.stringify({ ready: root.dataset.ready, turned: turned, frame: +root.dataset.frame,
      label: root.querySelector("output").textContent, images: document.images.length,
      broken: Array.from(document.images).filter(function (i) { return !i.naturalWidth; }).length,
      requests: requests.length, sets: root.querySelector("select").options.length });
  }, 900);
})();
</script>
"""


@pytest.fixture
def dipeptide_view():
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    rng = np.random.default_rng(0)
    frames = loaded.xyz + rng.normal(0, 0.01, (300, *loaded.xyz.shape[1:]))
    sets = [("generated", frames, 5.0 * np.arange(300)), ("<reference>", frames[:9], np.arange(9.0))]
    return report.View(loaded.topology, sets)


@pytest.fixture
def sample_page(dipeptide_view):
    from latentmd.report import figures

    made, axes = figures.figure(1, 1)
    axes[0].plot([0, 1])
    metrics = [Metric("JS <distance>", "distribution", 0.1, floor=0.09, low=0.05, high=0.15)]
    section = report.Section("Metrics", body=report.metric_table(metrics), figures=[(figures.png(made), "a & b")])
    return report.page("Evaluation of <x>", "lead & more", [section], dipeptide_view)


def test_page_escapes_and_loads_nothing(sample_page):
    assert "<x>" not in sample_page and "JS &lt;distance&gt;" in sample_page and "a &amp; b" in sample_page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", sample_page)
    assert "0.05 to 0.15" in sample_page


def test_view_holds_aligned_coordinates_in_picometres(sample_page, dipeptide_view):
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', sample_page)[1])
    first = data["sets"][0]
    assert first["frames"] == report.VIEW_FRAMES and data["sets"][1]["name"] == "<reference>"
    assert len(data["bonds"]) == 21
    values = np.frombuffer(base64.b64decode(first["coordinates"]), "<i2").reshape(first["frames"], 22, 3) / 1000
    frames = dipeptide_view.sets[0][1]
    distance = np.linalg.norm(values[0, 0] - values[0, 21])
    assert distance == pytest.approx(np.linalg.norm(frames[0, 0] - frames[0, 21]), abs=0.002)
    assert np.abs(values - values[0]).max() < 0.08  # only the noise is left


def test_align_undoes_rotations():
    rng = np.random.default_rng(1)
    frame = rng.normal(size=(12, 3))
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(4)]
    frames = np.stack([frame @ (t * np.sign(np.linalg.det(t))) + rng.normal(size=3) for t in turns])
    aligned = report.align(frames)
    np.testing.assert_allclose(aligned, np.repeat(aligned[:1], 4, axis=0), atol=1e-9)


def test_numbers_and_files(tmp_path):
    assert [record.number(x) for x in (0.12345, 29442.5, 2.4e5, float("inf"), float("nan"), None, 0.0)] == [
        "0.123", "29442", "2.40e+05", "∞", "–", "–", "0",
    ]  # fmt: skip
    record.write_json(tmp_path / "x.json", {"a": float("nan"), "b": np.float32(1.5), "c": np.arange(2), "d": (1,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": 1.5, "c": [0, 1], "d": [1]}
    with pytest.raises(UnicodeEncodeError):
        record.write_text(tmp_path / "x.json", "\udcff")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_seeds_give_a_mean_and_students_interval():
    """Three values 1, 2, 3: mean 2, half width t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321."""
    metric = Metric("JS", "distribution", 1.0, seeds=(1.0, 2.0, 3.0))
    mean, spread, each = record.seed_summary(metric)
    assert (mean, each) == ("2", "1, 2, 3") and spread == record.interval(2 - 2.48414, 2 + 2.48414)
    assert record.seed_summary(Metric("MFPT", "kinetics", 1.0, seeds=(1.0, float("inf"))))[:2] == ("∞", "")
    assert record.seed_summary(Metric("JS", "distribution", 1.0)) == ("", "", "")
    assert len(record.tables("x", [metric], {})) == 2


def test_view_turns_and_plays_in_a_browser(sample_page, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser found; looked for {', '.join(BROWSERS)}")
    path = tmp_path / "page.html"
    path.write_text(sample_page.replace("</body>", DRIVER + "</body>"))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    run = subprocess.run(
        [browser, *FLAGS, profile, "--virtual-time-budget=4000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", run.stdout)
    assert title is not None and title[1].startswith("{"), run.stderr[-500:]
    seen = json.loads(title[1])
    assert seen["ready"] == "yes" and seen["turned"] and seen["frame"] >= 5
    assert seen["sets"] == 2 and seen["images"] == 1 and seen["broken"] == 0 and seen["requests"] == 0
    assert "frame" in seen["label"]
