"""A deployment's report as one HTML file, which needs nothing else to be read."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from ..tensorboard._page_files import page_files

if TYPE_CHECKING:
    from ._report import DeploymentReport


def page(report: "DeploymentReport") -> str:
    """The page, as HTML.

    Args:
        report: the report that a deployment by `limpet.dynapse.deploy` has.
    """
    notes = [f"<p>{html.escape(problem)}.</p>" for problem in report.problems]
    outside = "".join(f"<li>{html.escape(warning)}</li>" for warning in report.warnings)
    return Template((files("limpet.dynapse") / "web" / "deployment.html").read_text("utf-8")).substitute(
        style=page_files()["style.css"],
        subtitle=(
            f"Branch currents by {html.escape(report.quantizer)}; written {datetime.now(UTC):%Y-%m-%d %H:%M UTC}"
        ),
        verdict="fits" if report.fits else "misfits",
        result="\n".join([f"<p>{html.escape(report.headline())}.</p>", *notes]),
        stages=_table(*report.stage_table()),
        outside=f'<ul class="outside">{outside}</ul>' if outside else "",
        currents=_table(*report.current_table()),
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(header)}</th>" for header in headers)
    body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
