"""The interactions of the report in a real browser, where there is one."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from evaluation.report import render
from evaluation.report_curves import training_curves
from evaluation.report_data import Flag, Mark, Metric, Report, Sample, SampleClip, Scatter, SystemRow, SystemTable

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

ACTIONS = """<script>
(() => {
  const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];
  const seen = () => $$(".sample").filter((card) => !card.hidden).map((card) => card.querySelector("h3").textContent);
  const send = (element, value, type) => { element.value = value; element.dispatchEvent(new Event(type)); };
  const out = {};
  out.start = [seen(), $("#count").textContent, $("#toolbar").hidden];
  send($("#search"), "TRIANGLE blue", "input");
  out.search = [seen(), $("#count").textContent, CSS.highlights.get("found").size > 0];
  send($("#search"), "alone", "input");
  out.other = seen();
  const box = $$("#whose input")[1];
  box.click();
  out.toggled = [seen(), $$(".said[data-system='1']").every((said) => said.hidden)];
  box.click();
  send($("#search"), "", "input");
  send($("#order"), "worst", "change");
  out.worst = seen();
  send($("#pick"), [...$("#pick").options].find((o) => o.text.includes("wrong")).value, "change");
  out.pick = seen();
  send($("#pick"), "", "change");
  if ($("#fold").textContent === "Open all") $("#fold").click();
  $("#fold").click();
  out.closed = $$(".sample > details").every((details) => !details.open);
  const svg = $("[data-chart] svg"), press = (key) => svg.dispatchEvent(new KeyboardEvent("keydown", { key }));
  press("Home"); press("ArrowRight");
  out.keys = [$("[data-chart] .at").textContent, $("[data-chart] .key b").textContent];
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: svg.getBoundingClientRect().right }));
  out.pointer = [$("[data-chart] .at").textContent, $("[data-chart] .key b").textContent];
  press("Escape");
  out.escape = $("[data-chart] .at").textContent;
  const plot = $(".scatter > svg"), place = $$(".scatter > svg > .mark")[3].getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent("pointermove", { clientX: place.x + 1, clientY: place.y + 1 }));
  out.mark = [$(".scatter .at").textContent, $$(".picked").map((mark) => mark.textContent)];
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
  out.focus = document.activeElement.id;
  const table = $(".systems").parentElement;
  table.scrollLeft = 150;
  document.documentElement.style.scrollBehavior = "auto";
  table.scrollIntoView();
  const top = $(".systems tbody th").getBoundingClientRect();
  out.column = [table.scrollLeft > 0, [8, 40, top.width - 8].map((dx) =>
    document.elementFromPoint(top.left + dx, top.top + top.height / 2).closest("th, td").tagName)];
  out.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = JSON.stringify(out);
})();
</script>"""


def page() -> str:
    def sample(name, score, words, alone, is_right):
        flags = [Flag("hidden object", is_right, "MART")]
        return Sample(name, [SampleClip(0, 2, (), {"MART": words, "other": alone}, [words], flags)], {"MART": score})

    samples = [
        sample("first", 20.0, "A blue triangle.", "It slides.", True),
        sample("second", 10.0, "A red triangle.", "It is alone.", False),
        sample("third", 30.0, "A blue ring.", "It is blue.", True),
    ]
    records = [{"epoch": i, "train_loss": 4.0 - i, "best": i == 2} for i in range(4)]
    marks = [Mark(i % 2, i // 2, ("video", "paragraph")[i % 2], title=f"mark {i}") for i in range(4)]
    plot = Scatter("Map", marks, links=[(0, 1), (2, 3)])
    curves = training_curves("Encoder", records)
    metrics = [Metric(f"metric {i}") for i in range(12)]
    table = SystemTable("Scores", metrics, [SystemRow("Transformer-XL", [float(i) for i in range(12)])])
    return render(
        Report("Demo", systems=[table], samples=samples, sample_score="CIDEr-D", curves=curves, scatters=[plot])
    )


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_interactions_in_a_browser(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page().replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = html.unescape(re.search(r"<title>(.*?)</title>", result.stdout, re.DOTALL).group(1))
    out = json.loads(title)
    everything = ["first", "second", "third"]
    assert out["start"] == [everything, "3 videos", False]
    assert out["search"] == [["first"], "1 of 3 videos", True]
    assert out["other"] == ["second"]
    assert out["toggled"] == [[], True]
    assert out["worst"] == ["second", "first", "third"]
    assert out["pick"] == ["second"]
    assert out["closed"] is True
    assert out["keys"] == ["epoch 2", "3"]
    assert out["pointer"] == ["epoch 4", "1"]
    assert out["escape"] == "last"
    assert out["mark"] == ["mark 3", ["mark 2", "mark 3"]]
    assert out["focus"] == "search"
    assert out["column"] == [True, ["TH", "TH", "TH"]]  # scores scroll below the names of the systems
    assert out["wide"] <= 0
