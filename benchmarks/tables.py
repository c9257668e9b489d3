"""Writes the tables of what was measured into the pages that show them.

python benchmarks/tables.py
"""

from pathlib import Path

import click
from report.figures import load
from report.markdown import write_into
from report.tables import costs, losses, overview, results_section


HERE = Path(__file__).parent
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--results", type=FILE, default=HERE / "results.json")
@click.option("--into", type=FOLDER, default=HERE.parent, help="A checkout.")
def main(results: Path, into: Path) -> None:
    """Make the tables, and put each between its markers."""
    found = load(results)
    write_into(into / "README.md", "benchmark", overview(found))
    readme = into / "benchmarks" / "README.md"
    performance = into / "docs" / "topics" / "performance.md"
    write_into(readme, "results", results_section(found))
    write_into(performance, "losses", losses(found))
    write_into(performance, "costs", costs(found))


if __name__ == "__main__":
    main()
