"""The search engine: indices behind aliases, bulk writes, version conflicts, and searches for documents."""

from __future__ import annotations

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.search.availability import ProbePauses
from cdc_daemon.search.bulk import BulkWriter
from cdc_daemon.search.bulk_limits import BulkLimits
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engines.client import ElasticsearchOptions
from cdc_daemon.search.engines.detection import make_engine
from cdc_daemon.search.indices import EnsuredIndex, IndexDefinition, IndexManager
from cdc_daemon.search.metrics import BulkObserver, RetryReason, SilentObserver

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
    "SearchEngine",
    "SilentObserver",
    "make_engine",
]
