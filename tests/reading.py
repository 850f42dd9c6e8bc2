"""Read data as the data stage does, in one process."""

from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Problem, Record
from tinsmith.data.repair import repair


def items(path, kind, fields=None):
    """Everything of one kind in a file or folder, in order."""
    found = find_pieces(str(path), fields)
    pieces = [item for piece in found.pieces for item in read_piece(piece, fields)]
    return [item for item in (*found.unused, *found.problems, *found.notes, *pieces) if isinstance(item, kind)]


def conversations(path, fields=None):
    assert items(path, Problem, fields) == []
    return [repair(record, fields).conversation for record in items(path, Record, fields)]
