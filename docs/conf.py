"""Sphinx's settings for the documentation site: `make docs-site`. The pages stay where they are and link as on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NAVIGATION = {
    "Use it": {
        "Start": "docs/start",
        "Concepts": "docs/concepts",
        "Mapping guide": "docs/mapping",
        "Configuration reference": "docs/configuration",
        "Commands": "docs/commands",
        "CQL to JSON to index types": "docs/field-types",
        "HTTP interface": "docs/http",
        "HTTP API": "docs/http-api",
        "Jobs on whole tables": "docs/jobs",
        "Polling": "docs/polling",
        "Segments": "docs/segments",
    },
    "Run it": {
        "Operations": "docs/operations",
        "Metrics": "docs/metrics",
        "Runbook": "docs/runbook",
        "Troubleshooting": "docs/troubleshooting",
        "Kubernetes": "k8s/README",
        "Helm chart": "k8s/chart/README",
        "Sunbird": "docs/sunbird",
        "Compatibility": "docs/compatibility",
        "Performance": "docs/performance",
        "Scale": "docs/scale",
        "Upgrade notes": "docs/upgrade",
    },
    "Understand it": {
        "Guarantees": "docs/guarantees",
        "Special cases": "docs/behaviour",
        "Torture": "docs/torture",
        "Architecture": "docs/architecture",
        "Comparison": "docs/comparison",
    },
    "Project": {
        "Changelog": "CHANGELOG",
        "Contributing": "CONTRIBUTING",
        "Making a release": "docs/release",
        "Security": "SECURITY",
        "Code of conduct": "CODE_OF_CONDUCT",
        "Pinned packages": "requirements/README",
    },
}
"""The titles and pages of each part of the navigation."""

project = "cdc-daemon"
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", *(f"{page}.md" for part in NAVIGATION.values() for page in part.values())]
exclude_patterns = [".*", "**/.*", "tests", "build", "dist"]  # folders that are not even looked through

myst_heading_anchors = 6
suppress_warnings = ["misc.highlighting_failure"]  # CQL is no SQL

html_theme = "furo"
html_title = "cdc-daemon"
html_copy_source = False
html_use_index = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}


def add_navigation(app: Sphinx, name: str, content: list[str]) -> None:
    """Add the navigation to the README, which has none on disk."""
    if name == app.config.root_doc:
        for part, entries in NAVIGATION.items():
            lines = "\n".join(f"{title} <{page}>" for title, page in entries.items())
            content[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n{lines}\n```\n"


def add_first_page(app: Sphinx, error: Exception | None) -> None:
    """Show the README as the first page."""
    if error is None and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this site does differently."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
