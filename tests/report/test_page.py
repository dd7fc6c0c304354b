"""The HTML page: self-contained, and its 3-D view turns and plays in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from markupsafe import Markup

from latentmd.analysis.metric import Metric
from latentmd.report import figures, markup
from latentmd.report import page as report
from latentmd.report.viewer import VIEW_FRAMES, View

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
#: Turns the molecule, chooses the other trajectory, plays it for a while, and leaves what happened in the title.
DRIVER = """
<script>
(function () {
  const root = document.querySelector(".viewer");
  setTimeout(function () {
    const viewer = root.molecule, before = JSON.stringify(viewer.getView());
    const pixels = viewer.pngURI();
    viewer.rotate(40, "y");
    viewer.render();
    const turned = JSON.stringify(viewer.getView()) !== before && viewer.pngURI() !== pixels;
    root.querySelector("button").click();
    setTimeout(function () {
      root.querySelector("button").click();
      const entries = performance.getEntriesByType("resource");
      const requests = entries.filter(function (r) { return !/^(data|blob):/.test(r.name); });
      document.title = JSON.stringify({ ready: root.dataset.ready, turned: turned, frame: +root.dataset.frame,
        atoms: viewer.selectedAtoms({}).length, label: root.querySelector("output").textContent,
        images: document.images.length, requests: requests.map(function (r) { return r.name; }),
        broken: Array.from(document.images).filter(function (i) { return !i.naturalWidth; }).length,
        sets: root.querySelector("select").options.length });
    }, 1500);
  }, 500);
})();
</script>
"""


@pytest.fixture
def dipeptide_view() -> View:
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    rng = np.random.default_rng(0)
    frames = loaded.xyz + rng.normal(0, 0.01, (300, *loaded.xyz.shape[1:]))
    sets = [("generated", frames, 5.0 * np.arange(300)), ("<reference>", frames[:9], np.arange(9.0))]
    return View(loaded.topology, sets)


@pytest.fixture
def sample_page(dipeptide_view: View) -> str:
    made, axes = figures.figure(1, 1)
    axes[0].plot([0, 1])
    metrics = [Metric("JS <distance>", "distribution", 0.1, floor=0.09, low=0.05, high=0.15)]
    section = report.Section("Metrics", body=markup.metric_table(metrics), figures=[(figures.png(made), "a & b")])
    return report.page("Evaluation of <x>", "lead & more", [section], dipeptide_view)


def _without_library(text: str) -> str:
    return re.sub(r'<script id="library">.*?</script>', "", text, flags=re.S)


def test_page_escapes_and_loads_nothing(sample_page: str) -> None:
    own = _without_library(sample_page)
    assert "<x>" not in own and "JS &lt;distance&gt;" in own and "a &amp; b" in own
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", own)
    assert "0.05 to 0.15" in own


def test_a_page_with_a_molecule_holds_the_library_and_its_licence(sample_page: str) -> None:
    assert "$3Dmol" in sample_page and "Copyright (c) 2014, University of Pittsburgh" in sample_page
    assert sample_page.count("</script>") == sample_page.count("<script")
    assert len(sample_page) < 1_000_000
    assert len(report.page("a", "b", [report.Section("c")])) < 5000


def test_a_plain_body_is_escaped_and_markup_is_not() -> None:
    text = report.page("a", "b", [report.Section("c", body="<i>x</i>"), report.Section("d", body=Markup("<b>y</b>"))])
    assert "&lt;i&gt;x&lt;/i&gt;" in text and "<b>y</b>" in text


def test_pages_are_written_whole(tmp_path: Path) -> None:
    report.write_page(tmp_path / "page.html", "title", "lead", [])
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_view_turns_and_plays_in_a_browser(sample_page: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser found; looked for {', '.join(BROWSERS)}")
    path = tmp_path / "page.html"
    path.write_text(sample_page.replace("</body>\n</html>", DRIVER + "</body>\n</html>"))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    run = subprocess.run(
        [browser, *FLAGS, profile, "--virtual-time-budget=6000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", run.stdout)
    assert title is not None and title[1].startswith("{"), run.stderr[-500:]
    seen = json.loads(title[1])
    assert seen["ready"] == "yes" and seen["turned"] and seen["frame"] >= 5 and seen["atoms"] == 22
    assert seen["sets"] == 2 and seen["images"] == 1 and seen["broken"] == 0 and seen["requests"] == []
    assert f"of {VIEW_FRAMES}" in seen["label"]


def test_arrays_become_lists_and_undefined_numbers_null(tmp_path: Path) -> None:
    report.write_json(tmp_path / "x.json", {"a": float("nan"), "b": np.float32(1.5), "c": np.arange(2), "d": (1,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": 1.5, "c": [0, 1], "d": [1]}
    with pytest.raises(UnicodeEncodeError):
        report.write_text(tmp_path / "x.json", "\udcff")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_empty_fields_of_dataclasses_are_left_out() -> None:
    @dataclass
    class Row:
        value: float
        note: str = ""
        low: float | None = None

    assert report.plain(Row(np.float64(2.0))) == {"value": 2.0}
    assert report.plain({Path("a"): [np.bool_(True), Path("b")]}) == {"a": [True, "b"]}
