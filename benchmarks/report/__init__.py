"""What was measured in, Markdown and pictures out.

`figures` reads ``results.json``, `tables` and `bars` make its Markdown, `charts` its
pictures, `micro` the table of what pyperf has written. ``tables.py`` and ``plots.py``
beside this folder are their commands.
"""

from .markdown import readable as readable
from .markdown import table as table
from .markdown import write_into as write_into
