"""Tables and lists as HTML."""

from __future__ import annotations

from latentmd.analysis.metric import Metric
from latentmd.report import markup


def test_cells_are_escaped() -> None:
    text = markup.table(("a & b",), [("<c>",)])
    assert "a &amp; b" in text and "<td>&lt;c&gt;</td>" in text
    assert markup.table(("outer",), [(text,)]).count("<table>") == 2  # markup is not escaped again


def test_bullets() -> None:
    assert markup.bullets(["a < b"]) == '<ul class="notes"><li>a &lt; b</li></ul>' and markup.bullets([]) == ""


def test_metrics_are_grouped_and_baselines_beside_them() -> None:
    metrics = [Metric("JS", "distribution", 0.2), Metric("time", "kinetics", 3.0, "ps")]
    text = markup.metric_table(metrics)
    assert text.index("distribution") < text.index("JS") < text.index("kinetics") < text.index("time")
    assert '<td class="value">3 ps</td>' in text and "sampling" not in text
    assert "0.1 =" in markup.baseline_table(metrics, {"msm": [Metric("JS", "distribution", 0.1)]})
