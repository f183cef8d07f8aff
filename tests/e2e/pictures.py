"""Draws the dashboards from what a real Prometheus holds of the real daemons, without Grafana: `make pictures`.

Two minutes of traffic and rekeyings; then each panel's queries are asked as Grafana asks them and drawn at the panel's
place. It shows the numbers and the layout, not Grafana's own face. Needs matplotlib.
"""

import itertools
import json
import os
import re
import sys
import time

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from gateways import Gateways  # noqa: E402
from host import Lab  # noqa: E402
from test_dashboards import BOARDS, FOLDER, filled_in  # noqa: E402

SECONDS = int(os.environ.get("PICTURES_SECONDS", "120"))
UNITS = {"Bps": "B/s", "pps": "packets/s", "ops": "/s", "reqps": "/s", "s": "s", "percentunit": "%", "bytes": "B"}
COLORS = {"red": "#d44", "green": "#4a4", "orange": "#e90", "purple": "#85c", "gray": "#999"}
ROWS = 7


def run(gateways):
    """Traffic that rises and falls, and a rekeying now and then; gives the beginning and the end."""
    begin = time.time()
    for turn in itertools.count():
        passed = time.time() - begin
        if passed > SECONDS:
            return begin, time.time()
        gateways.traffic(20000 + 15000 * (turn % 8))
        if turn % 10 == 9:
            gateways.rekey()
        time.sleep(1)


def shown(value, unit):
    """A number as a person reads it."""
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
            if abs(value) >= 2 * size:
                return f"{value / size:.0f} {name}"
        return f"{value:.3g} s"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{UNITS.get(unit, '')}"
    return f"{value:.3g} {UNITS.get(unit, '')}".strip()


def legend(target, labels):
    words = re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match.group(1), ""), target.get("legendFormat", ""))
    return words or ", ".join(f"{key}={value}" for key, value in labels.items() if key != "__name__")


def stat(axes, panel, prometheus, _):
    defaults = panel["fieldConfig"]["defaults"]
    rows = prometheus.query(filled_in(panel["targets"][0]["expr"]))
    value = float(rows[0][1])
    reached = [step["color"] for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    texts = {float(number): each["text"] for mapping in defaults.get("mappings", ()) for number, each in mapping["options"].items()}
    text = texts.get(value) or shown(value, defaults["unit"])
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20, color=COLORS[reached[-1]])
    axes.axis("off")


def table(axes, panel, prometheus, _):
    organized = panel["transformations"][0]["options"]
    hidden, renamed = organized["excludeByName"], organized["renameByName"]
    rows = prometheus.query(filled_in(panel["targets"][0]["expr"]))
    names = sorted({name for labels, _ in rows for name in labels if not hidden.get(name)})
    cells = [[labels.get(name, "") for name in names] for labels, _ in rows]
    if not hidden.get("Value"):
        names.append(renamed.get("Value", "Value"))
        cells = [cell + [shown(float(value), panel["fieldConfig"]["defaults"]["unit"])] for cell, (_, value) in zip(cells, rows)]
    axes.axis("off")
    if not cells:
        axes.text(0.5, 0.5, "none", ha="center", va="center", fontsize=12, color="#4a4")
        return
    more = [["…"] + [""] * (len(names) - 1)] if len(cells) > ROWS else []
    drawn = axes.table([[cell[-34:] for cell in row] for row in cells[:ROWS]] + more, colLabels=names, loc="upper center",
                       cellLoc="left", edges="horizontal")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    drawn.auto_set_column_width(list(range(len(names))))


def lines(axes, panel, prometheus, window):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        for labels, samples in prometheus.query_range(filled_in(target["expr"]), *window, 1):
            axes.plot([moment - window[0] for moment, _ in samples], [value for _, value in samples], lw=1, label=legend(target, labels))
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit))
    axes.set_xlim(0, window[1] - window[0])
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=5.5, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncol=3, frameon=False)


def states(axes, panel, prometheus, window):
    looks = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    names = []
    for target in panel["targets"]:
        for labels, samples in prometheus.query_range(filled_in(target["expr"]), *window, 1):
            for moment, value in samples:
                axes.barh(len(names), 1, left=moment - window[0], height=0.7, color=COLORS[looks[f"{value:g}"]["color"]])
            names.append(legend(target, labels)[-40:])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, window[1] - window[0])


KINDS = {"stat": stat, "table": table, "timeseries": lines, "state-timeline": states}


def draw(board, prometheus, window, path):
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    figure = pyplot.figure(figsize=(18, height * 0.36), dpi=80)
    for panel in board["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        if panel["type"] == "row":
            figure.text(0.01, 1 - (y + 0.6) / height, panel["title"], fontsize=11, weight="bold", color="#36c")
            continue
        # Room for the title above, for the legend below and for the numbers to the left.
        above, below = (1.3, 1.9) if panel["type"] in ("timeseries", "state-timeline") else (1, 0.2)
        left = {"timeseries": 1.3, "state-timeline": 3.4}.get(panel["type"], 0.2)
        place = ((x + left) / 24, 1 - (y + h - below) / height, (w - left - 0.4) / 24, (h - above - below) / height)
        axes = figure.add_axes(place)
        axes.tick_params(labelsize=6)
        axes.set_title(panel["title"], fontsize=8.5, loc="left")
        KINDS[panel["type"]](axes, panel, prometheus, window)
    figure.savefig(path, pil_kwargs={"optimize": True})
    pyplot.close(figure)


def main(folder):
    with Lab() as lab:
        gateways = Gateways(lab)
        window = run(gateways)
        for name in BOARDS:
            path = os.path.join(folder, name.replace(".json", ".png"))
            draw(json.loads((FOLDER / name).read_text()), gateways.prometheus, window, path)
            print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
