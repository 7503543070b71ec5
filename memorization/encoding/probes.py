"""Probes: a sample's prefix, which the model is asked to continue, and its suffix, which it may have memorized.

The text file is pandas "split" orientation, one row a distinct sample (design: Terms, Files between the stages):
id (int, the sample's first row in the data), member (bool), prefix, suffix (str), duplicates (int, its copies).
"""

from memorization.cli import UserError
from memorization.files import read_json, write_json

COLUMNS = ["id", "member", "prefix", "suffix", "duplicates"]


def write_probes(path, probes):
    """Write a list of dicts with the keys COLUMNS."""
    data = [[probe[column] for column in COLUMNS] for probe in probes]
    write_json(path, {"columns": COLUMNS, "index": list(range(len(probes))), "data": data})


def read_probes(path):
    """The probes of a file, as a list of dicts with the keys COLUMNS. Raises UserError if it is no probes file."""
    table = read_json(path)
    if not isinstance(table, dict) or "columns" not in table or "data" not in table:
        raise UserError(f'{path}: not in pandas "split" orientation (columns, index, data); write it with stage 1')
    missing = [column for column in COLUMNS if column not in table["columns"]]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table['columns']))}")
    if not table["data"]:
        raise UserError(f"{path}: no probes in it; encode data with samples longer than the prefix")
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
