"""Draws what was measured: results.json in, docs/images/benchmark-*.svg out.

python benchmarks/plots.py
python benchmarks/plots.py --results FILE --folder FOLDER
"""

from pathlib import Path

import click
from report.charts import draw_all
from report.figures import load


HERE = Path(__file__).parent
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--results", type=FILE, default=HERE / "results.json")
@click.option("--folder", type=FOLDER, default=HERE.parent / "docs" / "images")
def main(results: Path, folder: Path) -> None:
    """Draw a picture of each kind."""
    draw_all(load(results), folder)


if __name__ == "__main__":
    main()
