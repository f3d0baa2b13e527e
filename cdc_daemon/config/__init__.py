"""The configuration: one YAML file, which is checked as a whole before the daemon starts."""

from cdc_daemon.config.http import AuthSettings, HttpSettings, HttpTlsSettings, JwtSettings, TokenSettings
from cdc_daemon.config.loading import load, parse
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.config.mapping_names import TemplatePart, parse_template, template_columns
from cdc_daemon.config.mistakes import Mistake, SettingsError
from cdc_daemon.config.peers import PeerSettings
from cdc_daemon.config.schema import json_schema
from cdc_daemon.config.servers import CassandraSettings, Consistency, ElasticsearchSettings, TlsSettings
from cdc_daemon.config.settings import CommitLogSettings, LogSettings, PipelineSettings, Settings, StateSettings

__all__ = [
    "AuthSettings",
    "CassandraSettings",
    "CommitLogSettings",
    "Consistency",
    "ElasticsearchSettings",
    "HttpSettings",
    "HttpTlsSettings",
    "JwtSettings",
    "LogSettings",
    "MappingSettings",
    "Mistake",
    "PeerSettings",
    "PipelineSettings",
    "Settings",
    "SettingsError",
    "StateSettings",
    "TemplatePart",
    "TlsSettings",
    "TokenSettings",
    "json_schema",
    "load",
    "parse",
    "parse_template",
    "template_columns",
]
