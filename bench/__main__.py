"""`python -m bench`: the commands behind the published figures."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack
from typing import Annotated

import structlog
import typer

from bench import bulk
from sandbox import Sandbox

app = typer.Typer(help="Measure cdc-daemon on real servers on this machine.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Measure cdc-daemon on real servers on this machine."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@app.command("bulk")
def measure_bulk(
    documents: Annotated[int, typer.Option(min=1000, help="documents a run")] = 20_000,
    runs: Annotated[int, typer.Option(min=3, help="runs of each side, after the warm-ups")] = 5,
    url: Annotated[str | None, typer.Option(help="an Elasticsearch that is up; by default one is started")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,  # noqa: FBT002  a flag
) -> None:
    """Write documents to Elasticsearch: the bulk writer beside prebuilt bodies over bare connections."""
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(Sandbox(cassandra=None, elasticsearch_heap="1g")).elasticsearch.url
        figures = asyncio.run(bulk.measure(url, documents=documents, runs=runs))
    rows = {
        "bulk writer, documents/s": figures.writer,
        "ceiling, documents/s": figures.ceiling,
        "ratio of neighbouring runs": figures.ratios,
        "bulk writer, CPU us/document": figures.writer_cpu,
        "ceiling, CPU us/document": figures.ceiling_cpu,
        "own code, us/document": figures.own_code,
    }
    if as_json:
        print(json.dumps({name: row.as_dict() for name, row in rows.items()}, indent=2))
        return
    print(f"{documents} documents of {figures.document_bytes:.0f} bytes, {runs} runs, {bulk.CONNECTIONS} connections")
    for name, row in rows.items():
        print(f"{name:32} {row}")


if __name__ == "__main__":
    app()
