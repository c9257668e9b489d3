"""What the benchmarks show: tables and pictures say what the figures say.

The figures are made up, each for the one thing that a line of the report depends on.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest


BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

CONTENDERS = {
    "gws": ("gws", "Python"),
    "c": ("C epoll", "C"),
    "picows": ("picows", "Python"),
    "websockets": ("websockets", "Python"),
    "ws": ("ws", "JavaScript"),
}


def figure(*values: float, failed: str | None = None, **more: Any) -> dict[str, Any]:
    """A figure as it stands in the file; `values` are sorted."""
    return {
        "median": values[len(values) // 2] if values else None,
        "values": list(values),
        "disturbed": False,
        "generator_bound": False,
        "failed": failed,
        "percentiles": None,
        **more,
    }


def row(name: str, group: str, unit: str = "/s", **figures: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": name.replace("-", " "),
        "group": group,
        "unit": unit,
        "better": "higher" if unit == "/s" else "lower",
        "size": 64,
        "in_flight": 1,
        "connections": 50,
        "figures": figures,
        "absent": {"ws": "it was tired"} if name == "connect" else {},
    }


RESULTS: dict[str, Any] = {
    "meta": {
        "date": "2026-01-02",
        "machine": "a processor",
        "processors": 2,
        "kernel": "Linux 6",
        "python": "CPython 3.11",
        "versions": {"gws": "1", "picows": "2"},
        "command": "python benchmarks/run.py",
        "rounds": 3,
        "seconds": 1.0,
        "load_before": 0.1,
    },
    "contenders": {
        key: {"title": title, "language": language, "role": "server"}
        for key, (title, language) in CONTENDERS.items()
    },
    "rows": [
        row(
            "echo-64-1",
            "echo",
            gws=figure(190e3, 200e3, 210e3),
            c=figure(240e3, 250e3, 260e3),
            picows=figure(98e3, 100e3, 102e3),
            websockets=figure(failed="it did not start"),
            ws=figure(140e3, 150e3, 160e3),
        ),
        row(
            "echo-64-8",
            "echo",
            gws=figure(800e3, 900e3, 990e3),
            picows=figure(100e3, 120e3, 140e3, disturbed=True),
        ),
        {
            **row(
                "echo-64k-1",
                "echo",
                gws=figure(40e3, 41e3, 42e3),
                c=figure(49e3, 50e3, 51e3, generator_bound=True),
                picows=figure(41.5e3, 43e3, 44e3),
                websockets=figure(20e3, 21e3, 22e3, disturbed=True),
            ),
            "size": 65536,
        },
        row(
            "connect",
            "connect",
            gws=figure(8e3, 9e3, 9.5e3),
            picows=figure(10e3, 11e3, 12e3),
        ),
        row(
            "idle-15000",
            "idle",
            "KiB",
            gws=figure(8.75, 8.75),
            c=figure(0.25),
            picows=figure(27.0, 28.0),
            websockets=figure(12.25, 12.25),
        ),
        row(
            "latency",
            "latency",
            "ms",
            gws=figure(0.5, percentiles={"50": 0.5, "90": 0.7, "99": 1.5, "99.9": 3}),
            picows=figure(0.8, percentiles={"50": 0.8, "90": 1.1, "99": 2.5}),
        ),
    ],
    "curves": [
        {
            "name": "room",
            "title": "members of a room",
            "x": "members",
            "unit": "deliveries/s",
            "figures": {"gws": [[10, 4e5], [100, 6e5]], "picows": [[10, 1e5]]},
        }
    ],
    "missing": {"aiohttp": ["uvloop"]},
}


def run(script: str, *arguments: object) -> None:
    """Run one of the report's commands."""
    command = [sys.executable, "-B", str(BENCHMARKS / script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert ended.returncode == 0, ended.stderr


def saved(folder: Path, results: dict[str, Any]) -> Path:
    """Return a file with the results."""
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


# Tables

LINES = [
    # Medians with their spread; failures and marks; other languages apart.
    "| echo 64 1 (/s) | 200 k ± 5% | 100 k ± 2% | failed |",
    "| in other languages | gws | C epoll | ws, JavaScript |",
    "| echo 64k 1 (/s) | 41.0 k ± 2% | 50.0 k* ± 2% | - |",
    "| latency (ms) | 0.50 / 0.70 / 1.5 / 3.0 | 0.80 / 1.1 / 2.5 / - |",
    # Above 1 gws is better, whether more or less is; a ratio keeps its marks.
    "| echo 64 1 | 2.00 | 2.00 (picows) | 0.80 | 1.33 |",
    "| echo 64k 1 | 0.95 | 0.95 (picows) | 0.82* | - |",
    "| idle 15000 | 3.20 | 1.40 (websockets) | - | - |",
    # Every row in which another Python library is first, and no other.
    "Of 6 rows, gws is not the first Python library in 2.",
    "| echo 64k 1 (/s) | 41.0 k ± 2% | picows: 43.0 k ± 3% | 1.05 "
    "| within the spread of the rounds |",
    "| connect (/s) | 9.0 k ± 8% | picows: 11.0 k ± 9% | 1.22 |  |",
    # Bars.
    "| echo 64 1 | >= 1.05 x picows | 2.00 x picows | met |",
    "| echo 64k 1 | >= 1 x picows | 0.95 x picows | **missed** |",
    "| echo 64 8 | >= 5 x picows | 7.50? x picows | - |",
    "| idle 15000 | <= 9 KiB | 8.8 KiB | met |",
    # What is not in the tables.
    "- Left out: aiohttp (uvloop).",
    "- Failed: websockets, echo 64 1: it did not start.",
    "- Not in all rows: ws; it was tired.",
]


@pytest.mark.once
def test_the_tables_say_what_the_figures_say(tmp_path: Path) -> None:
    marked = {
        "README.md": ["benchmark"],
        "benchmarks/README.md": ["results"],
        "docs/topics/performance.md": ["losses", "costs"],
    }
    pages = [tmp_path / name for name in marked]
    for page, markers in zip(pages, marked.values(), strict=True):
        page.parent.mkdir(parents=True, exist_ok=True)
        between = "".join(f"<!-- {m} -->\nold\n<!-- end of {m} -->\n" for m in markers)
        page.write_text(f"before\n{between}after\n")

    run("tables.py", "--results", saved(tmp_path, RESULTS), "--into", tmp_path)

    text = pages[0].read_text()
    assert "| gws is better by | than picows | than websockets |" in text.splitlines()
    assert "| echo 64 1 | 2.00 | - |" in text.splitlines()
    text = pages[1].read_text()
    assert [line for line in LINES if line not in text.splitlines()] == []
    assert text.startswith("before\n<!-- results -->\n")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in text
    text = pages[2].read_text()
    assert "Of 6 rows, gws is not the first Python library in 2." in text
    assert "old" not in text


@pytest.mark.once
def test_the_table_of_micro_benchmarks(tmp_path: Path) -> None:
    """A line for what is measured, a column for each library; seconds in words."""
    pyperf = pytest.importorskip("pyperf")
    found = {
        "mask | gws": [40e-9, 50e-9, 60e-9],
        "mask | other": [2e-6, 2e-6, 2e-6],
        "parse | gws": [0.003, 0.004, 0.005],
    }
    file = tmp_path / "micro.json"
    runs = {
        name: pyperf.Run(values, metadata={"name": name}, collect_metadata=False)
        for name, values in found.items()
    }
    suite = pyperf.BenchmarkSuite([pyperf.Benchmark([one]) for one in runs.values()])
    suite.dump(str(file))
    program = (
        "from pathlib import Path; from report.micro import found_in, micro_table\n"
        f"print(micro_table(found_in([Path({str(file)!r})])))"
    )
    command = [sys.executable, "-B", "-c", program]
    ended = subprocess.run(
        command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=50
    )
    assert ended.stdout.splitlines() == [
        "| time | gws | other |",
        "| --- | ---: | ---: |",
        "| mask | 50.0 ns ± 20% | 2.0 us ± 0% |",
        "| parse | 4.0 ms ± 25% | - |",
    ], ended.stderr


# Pictures

#: What must be said in each: the contenders that are drawn, and which way is better.
PICTURES = {
    "echo": [
        "gws",
        "picows",
        "websockets",
        "failed",
        "200 k",
        "C: 250 k",
        "120 k?",
        "longer",
    ],
    "sizes": ["gws", "picows", "C epoll", "64 KiB", "higher", "not drawn: websockets"],
    "memory": ["gws", "picows", "websockets", "8.8", "shorter"],
    "latency": ["gws", "picows", "99.9 %", "lower"],
    "curves": ["gws", "picows", "members of a room"],
}


def draw(folder: Path, results: dict[str, Any]) -> dict[str, ElementTree.Element]:
    """Return the pictures of the results, by name."""
    folder.mkdir()
    run("plots.py", "--results", saved(folder, results), "--folder", folder)
    return {
        name: ElementTree.parse(folder / f"benchmark-{name}.svg").getroot()
        for name in PICTURES
    }


def bars(picture: ElementTree.Element) -> list[str]:
    """Return which bars there are."""
    ids = [element.get("id") or "" for element in picture.iter()]
    return [one.removeprefix("bar-") for one in ids if one.startswith("bar-")]


@pytest.mark.once
def test_the_pictures_say_what_the_figures_say(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = draw(tmp_path / "one", RESULTS)

    for name, picture in pictures.items():
        texts = [(element.text or "").strip() for element in picture.iter()]
        assert [w for w in PICTURES[name] if not any(w in t for t in texts)] == [], name
        assert picture.get("width") == "600pt"  # 800 pixels
    # What failed has no bar.
    drawn = ["echo-64-1-gws", "echo-64-1-picows", "echo-64-8-gws", "echo-64-8-picows"]
    assert bars(pictures["echo"]) == drawn

    results = copy.deepcopy(RESULTS) | {"curves": []}
    results["rows"][0]["figures"]["websockets"] = figure(50e3, 50e3, 50e3)
    others = draw(tmp_path / "two", results)
    assert bars(others["echo"]) == sorted([*drawn, "echo-64-1-websockets"])
    texts = [element.text or "" for element in others["curves"].iter()]
    assert any("Not measured" in text for text in texts)
    # The same figures make the same octets.
    for name in ("memory", "latency"):
        one, two = (tmp_path / run / f"benchmark-{name}.svg" for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
