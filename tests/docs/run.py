"""Runs a page as its reader would: what it says in, what does not come true out.

    python tests/docs/run.py PAGE FOLDER [--port 8765=40001]... [--redis URL]

Its blocks run in order, Python in one namespace, commands in the folder. What serves
goes on in the background until the page ends or the next one needs its port.
"""

from __future__ import annotations

import argparse
import ast
import doctest
import io
import logging
import os
import re
import sys
import tokenize
import traceback
import types
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
from commands import Shell, Wrong
from gevent.baseserver import BaseServer
from gevent.event import Event
from pages import Block, blocks_of, is_claimed

import gws


#: Seconds within which a block does what it does.
LONG = 20

#: Seconds within which a page does.
ALL = 40

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Page:
    """A page that is run.

    Args:
        folder: where its files are written and its commands run.
        replace: puts in ports and addresses that are free here.
    """

    def __init__(self, folder: Path, replace: Callable[[str], str]) -> None:
        self._folder = folder
        self._replace = replace
        self._shell = Shell(folder, replace)
        self._servers: list[gevent.Greenlet] = []
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module
        self._names = vars(self._module)
        self._names["print"] = self._print
        #: The prints to come of a block that would go on for ever.
        self._awaited: set[tuple[str, int]] = set()
        #: What the comments behind prints promise, by file and line; and what came.
        self._promised: dict[tuple[str, int], str] = {}
        self._printed: defaultdict[tuple[str, int], list[str]] = defaultdict(list)

    def run(self, block: Block) -> None:
        """Do what a reader would do with a block; raises what does not come true."""
        text = self._replace(block.text)
        if block.language == "python" and block.file is not None:
            path = self._folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif block.language == "python":
            self._run_python(block, text)
        elif block.language == "pycon":
            self._run_session(block, text)
        elif block.language == "console":
            self._shell.run(text)

    def close(self) -> None:
        """End what serves."""
        gevent.killall(self._servers, timeout=LONG)
        self._shell.end()

    def check_prints(self) -> None:
        """See whether all was printed that should have been."""
        for place, promise in self._promised.items():
            came = ", ".join(self._printed[place])
            if not doctest.OutputChecker().check_output(promise, came, FLAGS):
                raise Wrong(f"{place[0]}:{place[1]}: prints {came!r}, not {promise!r}")

    # Python

    def _run_python(self, block: Block, text: str) -> None:
        """Run it to its end, or until it serves, or connects again and again."""
        if "serve_forever" in text:
            gevent.killall(self._servers, timeout=LONG)
        # Its lines have the numbers that they have on the page.
        source = "\n" * (block.line - 1) + text
        new = {(block.page, n): x for n, x in promises(source).items()}
        self._promised |= new
        self._awaited = set(new) if "for ws in connect(" in text else set()
        code = compile(source, block.page, "exec", dont_inherit=True)
        self._serves = Event()
        running = gevent.spawn(self._execute, code)
        if not self._serves.wait(LONG):
            raise Wrong("it does not end")
        # What has ended with its last line needs a turn to be done.
        gevent.sleep(0)
        if not running.ready():
            self._servers.append(running)
        elif running.value is not None:
            raise running.value

    def _execute(self, code: types.CodeType) -> Exception | None:
        """Execute a block; return what it raises."""
        try:
            exec(code, self._names)
        except Exception as exc:
            return exc
        finally:
            self._serves.set()
        return None

    def start_serving(self) -> None:
        """The block that runs has come to `serve_forever`."""
        self._serves.set()

    def _print(self, *values: Any, **options: Any) -> None:
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        self._printed[place].append(str(options.get("sep", " ")).join(map(str, values)))
        print(*values, **options)
        if place in self._awaited:
            self._awaited.remove(place)
            if not self._awaited:
                self._serves.set()

    def _run_session(self, block: Block, text: str) -> None:
        test = doctest.DocTestParser().get_doctest(
            text, self._names, block.page, block.page, block.line - 1
        )
        # The very namespace, not a copy: later blocks use what this one defines.
        test.globs = self._names
        said = io.StringIO()
        # The doctest catches what is written to sys.stdout.
        self._names["print"] = print
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        failed, _ = runner.run(test, out=said.write, clear_globs=False)
        self._names["print"] = self._print
        if failed:
            raise Wrong(said.getvalue())


def promises(source: str) -> dict[int, str]:
    """Return the comments behind calls of `print`, by the lines where these start."""
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        node.lineno: comments[node.end_lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and node.end_lineno in comments
    }


def tell_when_serving(page: Page) -> None:
    """Have the page told when a server has come to its `serve_forever`."""

    def wrap(owner: Any, start: Callable[[Any], object]) -> None:
        serve_forever = owner.serve_forever

        def telling(server: Any, *args: Any, **options: Any) -> Any:
            start(server)
            page.start_serving()
            return serve_forever(server, *args, **options)

        owner.serve_forever = telling

    # One of gws accepts already; one of gevent starts in serve_forever.
    wrap(gws.Server, lambda server: None)
    wrap(BaseServer, lambda server: server.started or server.start())


def given(page: str) -> Path:
    """Return what is run before the page's first block: what it takes as known."""
    return Path(__file__).parent.joinpath("given", page).with_suffix(".py")


def replacer(ports: dict[str, str], redis: str | None) -> Callable[[str], str]:
    def replace(text: str) -> str:
        for shown, free in ports.items():
            text = re.sub(rf"\b{shown}\b", free, text)
        if redis is not None:
            text = re.sub(r"redis://localhost(:6379)?\b", redis, text)
        return text

    return replace


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("page")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", action="append", default=[])
    parser.add_argument("--redis")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    os.chdir(args.folder)
    sys.path[0] = str(args.folder)
    replace = replacer(dict(x.split("=") for x in args.port), args.redis)
    page = Page(args.folder, replace)
    tell_when_serving(page)
    before = given(args.page)
    blocks = blocks_of(args.page)
    if before.exists():
        blocks = [Block(str(before), 1, "python", before.read_text()), *blocks]
    now: object = None
    try:
        with closing(page), gevent.Timeout(ALL):
            for now in blocks:
                if not is_claimed(now) and not now.is_excerpt():
                    page.run(now)
        page.check_prints()
    except Wrong as exc:
        sys.exit(f"{now}: {exc}")
    except BaseException:
        traceback.print_exc()
        sys.exit(f"in {now}")


if __name__ == "__main__":
    main()
