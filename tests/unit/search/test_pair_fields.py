"""Fields of indices that nobody could look at yet."""

from __future__ import annotations

import pytest
from elasticsearch import AsyncElasticsearch

from cdc_daemon.model.errors import ElasticsearchUnavailableError
from cdc_daemon.search.swap_watch import PairFields, PairWatch


async def test_an_outage_before_the_first_look_is_told_with_the_alias_to_look_at() -> None:
    async with AsyncElasticsearch("http://127.0.0.1:9", max_retries=0) as client:
        fields = PairFields(client, PairWatch(client, ["user", "batch"]))
        with pytest.raises(ElasticsearchUnavailableError, match="look at the aliases") as caught:
            await fields.complete("user", {"name": {"type": "keyword"}}, add=True)
    assert caught.value.where["alias"] == "user"
