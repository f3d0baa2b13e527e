"""Elasticsearch: indices behind aliases, documents written in bulk, conflicts settled, siblings found."""

from __future__ import annotations

from cdc_daemon.elastic.availability import ProbePauses
from cdc_daemon.elastic.bulk import BulkLimits, BulkWriter
from cdc_daemon.elastic.client import ElasticsearchOptions, make_client
from cdc_daemon.elastic.indices import EnsuredIndex, IndexDefinition, IndexManager
from cdc_daemon.elastic.observer import BulkObserver, RetryReason, SilentObserver
from cdc_daemon.elastic.operation import Operation, Outcome, Result
from cdc_daemon.elastic.siblings import Sibling, find_siblings

__all__ = [
    "BulkLimits",
    "BulkObserver",
    "BulkWriter",
    "ElasticsearchOptions",
    "EnsuredIndex",
    "IndexDefinition",
    "IndexManager",
    "Operation",
    "Outcome",
    "ProbePauses",
    "Result",
    "RetryReason",
    "Sibling",
    "SilentObserver",
    "find_siblings",
    "make_client",
]
