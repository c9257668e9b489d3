"""What pyperf has written in, the table of the micro-benchmarks out."""

from pathlib import Path

import pyperf

from .markdown import table


Found = dict[str, dict[str, pyperf.Benchmark]]  #: by what is measured, and library


def micro_section(files: list[Path], command: str, load_before: float) -> str:
    """Return what the README says of the files of one run."""
    found = found_in(files)
    return f"{how_measured(found, command, load_before)}\n\n{micro_table(found)}"


def found_in(files: list[Path]) -> Found:
    """Return all benchmarks of the files; they are called "measure | library"."""
    found: Found = {}
    for file in files:
        for benchmark in pyperf.BenchmarkSuite.load(str(file)).get_benchmarks():
            measure, _, library = benchmark.get_name().partition(" | ")
            found.setdefault(measure, {})[library] = benchmark
    return found


def how_measured(found: Found, command: str, load_before: float) -> str:
    """Return machine and command, as far as pyperf has noted them."""
    any_one = next(iter(next(iter(found.values())).values()))
    meta = any_one.get_metadata()
    return "\n".join(
        [
            f"- {meta.get('cpu_model_name', 'unknown processor')}, Python "
            f"{meta['python_version']}; load average {load_before:.1f} before it began",
            f"- `{command}`: medians; ± is the median of the deviations from it",
        ]
    )


def micro_table(found: Found) -> str:
    """Return a line for what is measured, a column for each library."""
    libraries = list(dict.fromkeys(name for one in found.values() for name in one))
    body = [
        [measure, *(cell(by_library.get(name)) for name in libraries)]
        for measure, by_library in found.items()
    ]
    return table(["time", *libraries], body)


def cell(benchmark: pyperf.Benchmark | None) -> str:
    """Return a median and its spread, `-` where there is none."""
    if benchmark is None:
        return "-"
    middle = benchmark.median()
    if benchmark.get_nvalue() < 2:
        return duration(middle)
    return f"{duration(middle)} ± {benchmark.median_abs_dev() / middle:.0%}"


def duration(seconds: float) -> str:
    """Return three digits or so: 46 ns, 3.2 us."""
    for unit, scale in [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)]:
        if seconds < 999.5 * scale:
            figure = seconds / scale
            return f"{figure:.0f} {unit}" if figure >= 99.5 else f"{figure:.1f} {unit}"
    return f"{seconds:.2f} s"
