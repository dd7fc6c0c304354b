"""The page of a run, from files such as `simulate` writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from latentmd.sampling.walkers.page import pictures, speed_line, write_simulation_page
from latentmd.sampling.walkers.run_frames import read_run
from tests.sampling.walkers.test_run_frames import REFERENCE, run_folder


def _page(folder: Path, reference: Any = None, **options: Any) -> str:
    path = folder / "evaluation.html"
    lines = {"trust": ["one reason"], "next_lines": ["latentmd inspect a"], **options}
    run = read_run(folder, reference, 350.0)
    write_simulation_page(run, path, drawn=pictures(run), **lines)
    return path.read_text()


def test_page_of_a_run_beside_the_models_reference(tmp_path: Path) -> None:
    page = _page(run_folder(tmp_path / "run"), REFERENCE, seconds=2.0)
    for text in ("JS distance, (φ, ψ), ALA2", "population of 0 &lt; φ &lt; 125°, ALA2", "walker 0", "One reason",
                 '<pre class="commands">latentmd inspect a</pre>', "2 md frames", "78 latent frames",
                 "effective samples: a share"):  # fmt: skip
        assert text in page
    assert page.count("data:image/png") == 5


def test_page_of_plain_md_has_no_reference_and_shows_every_residue(tmp_path: Path) -> None:
    page = _page(run_folder(tmp_path / "run", "met_enkephalin"))
    assert "JS distance" not in page and page.count("data:image/png") == 3 + 3  # residues; energies, times, torsions


def test_checks_say_their_limits_and_count_the_frames_that_fail(tmp_path: Path) -> None:
    page = _page(run_folder(tmp_path / "run", failed="bonds new-check"))
    assert "within 7 standard deviations" in page
    rows = [row.split("<td>")[1:] for row in page.split("<tr>")]
    shares = {row[0].split("<")[0]: row[2].split("<")[0] for row in rows if len(row) == 3}
    assert shares["bond lengths"] == shares["new-check"] == shares["all"] == "97.5 %"
    assert shares["bond angles"] == shares["stereocentres"] == "100 %"


def test_page_needs_neither_torch_nor_deeptime(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path;"
        "from latentmd.sampling.walkers.page import pictures, write_simulation_page;"
        "from latentmd.sampling.walkers.run_frames import read_run;"
        f"f = Path({str(folder)!r}); run = read_run(f, None, 350.0);"
        "write_simulation_page(run, f / 'a.html', trust=[], next_lines=[], drawn=pictures(run));"
        "print([m for m in ('torch', 'deeptime', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_smaller_ratio_comes_first_and_the_other_beside_it() -> None:
    openmm = {"over_plain_md": 60.0, "plain_md_ns_per_day": 100.0, "over_plain_md_with_start_up": 6.0}
    engine = {"over_replica_engine": 3.0, "replica_engine_ns_per_day": 2000.0}
    assert speed_line(openmm | engine) == (
        "3.0 times the speed of plain MD on the same cores with the replica engine (2,000 ns/day; 0.3 times with "
        "start-up; 60.0 times that with OpenMM)"
    )
    assert speed_line(openmm).startswith("60.0 times the speed of plain MD on the same cores with OpenMM (100 ns/day;")
