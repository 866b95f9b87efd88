"""Where pictures are drawn: on pyplot's axes, which `plt.savefig` saves, and so that nothing is cut."""

from typing import Any


def axes_for(ax: Any, size: tuple[float, float]) -> Any:
    """The axes to draw on.

    Args:
        ax: the user's own argument; None for the current ones where nothing is drawn on them, else for a new figure.
        size: the width and height of a new figure in inches.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        current = plt.gcf() if plt.get_fignums() else None
        if current is not None and not any(axes.has_data() for axes in current.axes):
            ax = plt.gca()
        else:
            ax = plt.figure(figsize=size, dpi=120, layout="constrained").add_subplot()
    figure = ax.get_figure(root=True)
    if figure.get_layout_engine() is None:  # else titles of axes are cut where the figure is small
        figure.set_layout_engine("constrained")
    return ax
