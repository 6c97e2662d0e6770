"""Writes results into a document between two markers."""

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"


class NoMarkers(Exception):
    pass


def require_markers(path):
    """Returns the text before, between and after the markers."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise NoMarkers(f"{path} must hold the line {BEGIN} once and, behind it, the line {END} once")
    before, rest = text.split(BEGIN)
    between, after = rest.split(END)
    return before, between, after


def replace_block(path, block):
    before, _, after = require_markers(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{block.strip()}\n{END}{after}")
