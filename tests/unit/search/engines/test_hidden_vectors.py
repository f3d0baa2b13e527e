from __future__ import annotations

import pytest

from cdc_daemon.search.engine import Product
from cdc_daemon.search.engines.product import ELASTICSEARCH, OPENSEARCH, hides_vectors


@pytest.mark.parametrize(
    ("product", "hidden"),
    [
        (Product(ELASTICSEARCH, "9.2.0"), True),
        (Product(ELASTICSEARCH, "9.10.1"), True),
        (Product(ELASTICSEARCH, "9.1.9"), False),
        (Product(ELASTICSEARCH, "8.19.4"), False),
        (Product(ELASTICSEARCH, ""), False),
        (Product(OPENSEARCH, "3.2.0"), False),
    ],
)
def test_elasticsearch_hides_vectors_from_9_2_on(product: Product, hidden: bool) -> None:
    assert hides_vectors(product) is hidden
