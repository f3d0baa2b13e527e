"""The configuration: one YAML file, checked as a whole before anything starts."""

from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.config.servers import CassandraSettings, Consistency, ElasticsearchSettings, TlsSettings
from cdc_daemon.config.settings import (
    CommitLogSettings,
    HttpSettings,
    LogSettings,
    PipelineSettings,
    Settings,
    StateSettings,
)
from cdc_daemon.config.template import TemplatePart, parse_template, template_columns

__all__ = [
    "CassandraSettings",
    "CommitLogSettings",
    "Consistency",
    "ElasticsearchSettings",
    "HttpSettings",
    "LogSettings",
    "MappingSettings",
    "PipelineSettings",
    "Settings",
    "StateSettings",
    "TemplatePart",
    "TlsSettings",
    "parse_template",
    "template_columns",
]
