"""Fields of indices that were not read yet."""

from __future__ import annotations

import pytest

from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.swap_watch import SwapFields, SwapWatch
from tests.unit.search.fake import FakeElasticsearch


async def test_an_outage_before_the_first_look_is_told_with_the_alias_to_look_at(
    server: FakeElasticsearch, engine: SearchEngine
) -> None:
    await server.stop()
    fields = SwapFields(engine, SwapWatch(engine, ["user", "batch"]))
    with pytest.raises(ElasticsearchUnavailableError, match="look at the aliases") as caught:
        await fields.complete("user", {"name": {"type": "keyword"}}, add=True)
    assert caught.value.where["alias"] == "user"
