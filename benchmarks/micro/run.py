"""Runs all micro-benchmarks, and makes one table of what they say.

    python benchmarks/micro/run.py               # on a machine that is quiet
    python benchmarks/micro/run.py --fast        # rough
    python benchmarks/micro/run.py --write       # into ../README.md

Options that are not known here are pyperf's: `--affinity 1`, say. Each may be run
alone, and compared with what it said before by `python -m pyperf compare_to`.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click


HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from report.markdown import write_into  # noqa: E402
from report.micro import micro_section  # noqa: E402


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--fast", is_flag=True, help="Rough figures, in less time.")
@click.option("--write", is_flag=True, help="Write the table into the README.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def main(fast: bool, write: bool, options: tuple[str, ...]) -> None:
    """Time parts of gws, and of its peers, without sockets."""
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gws-benchmark-") as folder:
        files = []
        for script in sorted(HERE.glob("bench_*.py")):
            files.append(Path(folder) / f"{script.stem}.json")
            command = [sys.executable, "-B", str(script), "--quiet", *options]
            command += ["--fast"] if fast else []
            subprocess.run([*command, "-o", str(files[-1])], check=True)
        ours = shlex.join(["python", "benchmarks/micro/run.py", *sys.argv[1:]])
        text = micro_section(files, ours, load_before)
    click.echo(f"\n{text}")
    if write:
        write_into(HERE.parent / "README.md", "micro", text)


if __name__ == "__main__":
    main()
