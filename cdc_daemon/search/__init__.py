"""Elasticsearch: indices behind aliases, bulk writes, version conflicts, and searches for siblings."""

from __future__ import annotations

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.search.availability import ProbePauses
from cdc_daemon.search.bulk import BulkLimits, BulkWriter
from cdc_daemon.search.bulk_observer import BulkObserver, RetryReason, SilentObserver
from cdc_daemon.search.client import ElasticsearchOptions, make_client
from cdc_daemon.search.find_documents import Sibling, find_siblings
from cdc_daemon.search.indices import EnsuredIndex, IndexDefinition, IndexManager

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
