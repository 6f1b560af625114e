"""report.html: one self-contained page, without scripts, that fetches nothing."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from graft.reporting.sections.summary import lead, tiles, title
from graft.reporting.sections.table import sections_of

if TYPE_CHECKING:
    from graft.reporting.context import ReportContext


def render_html(context: ReportContext) -> str:
    """The whole page as text."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    package = files("graft.reporting")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["a"] = lambda block, kind: type(block).__name__ == kind
    template = environment.from_string((package / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        css=Markup((package / "report.css").read_text(encoding="utf-8")),
        version=version("graft"),
        name=context.artifact.name,
        title=title(context.evaluation),
        lead=lead(context.evaluation),
        tiles=tiles(context.evaluation),
        sections=sections_of(context),
    )
