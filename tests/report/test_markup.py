"""Tables and lists as HTML."""

from __future__ import annotations

from latentmd.analysis.metric import SHARE, Metric
from latentmd.report import markup


def test_cells_are_escaped() -> None:
    text = markup.table(("a & b",), [("<c>",)])
    assert "a &amp; b" in text and "<td>&lt;c&gt;</td>" in text
    assert markup.table(("outer",), [(text,)]).count("<table>") == 2  # markup is not escaped again


def test_bullets() -> None:
    assert markup.bullets(["a < b"]) == '<ul class="notes"><li>a &lt; b</li></ul>' and markup.bullets([]) == ""
    assert "<li>see <code>a &lt; b</code></li>" in markup.bullets(["see `a < b`"])


def test_commands_stand_on_lines_of_their_own() -> None:
    assert markup.commands(["a <b", "c"]) == '<pre class="commands">a &lt;b\nc</pre>' and markup.commands([]) == ""


def test_empty_columns_are_left_out_and_shares_are_per_cent() -> None:
    text = markup.metric_table([Metric("share", "structure", 0.9993, SHARE, 1.0)])
    assert "99.930 %" in text and "<td>100 %</td>" in text
    assert "floor" not in text and "note" not in text and "95 % interval" not in text
    assert "<th>floor</th>" in markup.metric_table([Metric("JS", "distribution", 0.2, floor=0.1)])
    both = markup.metric_table([Metric("JS", "distribution", 0.2, floor=0.1, floor_effective=0.2)])
    assert "floor (at effective samples)" in both


def test_metrics_are_grouped_and_baselines_beside_them() -> None:
    metrics = [Metric("JS", "distribution", 0.2), Metric("time", "kinetics", 3.0, "ps")]
    text = markup.metric_table(metrics)
    assert text.index("distribution") < text.index("JS") < text.index("kinetics") < text.index("time")
    assert '<td class="value">3 ps</td>' in text and "sampling" not in text
    assert "0.1 =" in markup.baseline_table(metrics, {"msm": [Metric("JS", "distribution", 0.1)]})
