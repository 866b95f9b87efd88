"""An exact solver of a crossbar whose wires resist: Kirchhoff's current law at every crossing, as one sparse system."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg


def currents(
    voltages: np.ndarray, conductances: np.ndarray, column_wire: float, row_wire: float = 0.0, row_0: str = "nearest"
) -> np.ndarray:
    """Currents that flow out of the columns of a crossbar into converters which hold them at 0 volts.

    Args:
        voltages: The voltage that drives each row, of shape (rows,); NaN where a row is not connected.
        conductances: The conductance of each device, of shape (rows, columns).
        column_wire: The resistance of a column's wire from one row to the next; the converter is at the first one.
        row_wire: The resistance of a row's wire from its driver to the first column, and from each to the next.
        row_0: Whether the converters are at row 0, "nearest", or at the last one, "farthest".
    """
    if row_0 == "farthest":
        return currents(voltages[::-1], conductances[::-1], column_wire, row_wire)
    rows, columns = conductances.shape
    driven = np.isfinite(voltages)
    conductances = np.where(driven[:, None], conductances, 0.0)
    voltages = np.where(driven, voltages, 0.0)
    size = rows * columns
    on_column = np.arange(size).reshape(rows, columns)
    on_row = size + on_column
    first, second, between = [], [], []

    def connect(one: np.ndarray, other: np.ndarray, conductance: np.ndarray | float) -> None:
        first.append(one.ravel())
        second.append(other.ravel())
        between.append(np.broadcast_to(conductance, one.shape).ravel())

    ground, drivers = 2 * size, 2 * size + 1 + np.arange(rows)
    connect(on_column, on_row, conductances)
    connect(on_column[1:], on_column[:-1], 1 / column_wire)
    if row_wire:
        connect(on_row[:, 1:], on_row[:, :-1], 1 / row_wire)
        connect(on_row[:, 0], drivers, 1 / row_wire)
    one, other, conductance = (np.concatenate(held) for held in (first, second, between))
    nodes = 2 * size + 1 + rows
    wires = scipy.sparse.coo_matrix((conductance, (one, other)), (nodes, nodes))
    wires = wires + wires.T
    laplacian = (scipy.sparse.diags(np.asarray(wires.sum(axis=1)).ravel()) - wires).tocsr()

    known = np.zeros(nodes)
    known[drivers] = voltages
    held = np.zeros(nodes, bool)
    held[[ground, *drivers, *on_column[0]]] = True
    if not row_wire:
        known[on_row.ravel()] = np.repeat(voltages, columns)
        held[on_row.ravel()] = True
    free = np.flatnonzero(~held)
    potential = known.copy()
    potential[free] = scipy.sparse.linalg.spsolve(laplacian[free][:, free].tocsc(), -(laplacian[free] @ known))
    return -(laplacian @ potential)[on_column[0]]
