"""``python -m gws`` is the command ``gws``."""

from .cli import main


main(prog_name="python -m gws")
