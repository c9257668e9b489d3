"""Cells and lines in, Markdown out; and where in a page it goes."""

from pathlib import Path


def table(header: list[str], body: list[list[str]]) -> str:
    """Return a table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def readable(figure: float) -> str:
    """Return three digits or so: 0.42, 8.9, 171 k, 1.19 M."""
    if figure >= 1e6:
        return f"{figure / 1e6:.2f} M"
    if figure >= 1e5:
        return f"{figure / 1e3:.0f} k"
    if figure >= 1e3:
        return f"{figure / 1e3:.1f} k"
    return f"{figure:.1f}" if figure >= 1 else f"{figure:.2f}"


def write_into(page: Path, marker: str, text: str) -> None:
    """Replace what stands between the lines ``<!-- marker -->`` and its end.

    Raises:
        ValueError: if the page does not have both, in this order.
    """
    begin, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    before, begun, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{page} does not have the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
