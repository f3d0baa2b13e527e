"""How to reach Cassandra and Elasticsearch, and how hard to work them."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.units import ByteSize, Duration, DurationOrZero

Consistency = Literal["LOCAL_QUORUM", "QUORUM", "ALL", "LOCAL_ONE", "ONE", "TWO", "THREE"]
"""A consistency level that Cassandra takes for reads, by the name CQL gives it."""


class TlsSettings(SettingsSection):
    """Transport encryption between the daemon and Cassandra."""

    enabled: bool = False
    """Whether to encrypt."""
    ca_file: ConfigPath | None = None
    """Certificates (PEM) that sign the server's; the system's own when absent."""
    certificate_file: ConfigPath | None = None
    """The client's certificate (PEM), where the server wants one."""
    key_file: ConfigPath | None = Field(default=None, validate_default=True)
    """The key of the client's certificate (PEM, without passphrase)."""
    verify_hostname: bool = True
    """Whether each node's certificate must name the IP address it is connected to: the driver resolves names
    first, and nodes tell each other's addresses."""

    @field_validator("key_file")
    @classmethod
    def _key_goes_with_certificate(cls, key: ConfigPath | None, info: ValidationInfo) -> ConfigPath | None:
        if "certificate_file" in info.data and (info.data["certificate_file"] is None) != (key is None):
            raise wrong("expected certificate_file and key_file together, or neither")
        return key


class CassandraSettings(SettingsSection):
    """The Cassandra cluster whose rows are read back."""

    contact_points: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=("127.0.0.1",), min_length=1)
    """Host names or addresses to connect to first; the node the daemon runs beside is the natural one."""
    port: int = Field(default=9042, ge=1, le=65535)
    """The native transport's port."""
    local_datacenter: str | None = Field(default=None, min_length=1)
    """The datacenter to read from; that of the first contact point when absent."""
    username: str | None = Field(default=None, min_length=1)
    """The role to log in with; no login when absent."""
    password: SecretStr | None = Field(default=None, validate_default=True)
    """The role's password. Better given as `password_file` or `${VARIABLE}`."""
    password_file: ConfigPath | None = None
    """A file that holds the password."""
    tls: TlsSettings = TlsSettings()
    """Transport encryption."""
    consistency: Consistency = "LOCAL_QUORUM"
    """The level rows are read at. Below a quorum a fresh write may be missed (docs/guarantees.md, promise 2)."""
    request_timeout: Duration = 10.0
    """How long a query may take."""
    keys_per_query: int = Field(default=100, ge=1, le=1000)
    """How many keys one multi-key read asks for."""
    concurrent_queries: int = Field(default=16, ge=1, le=1024)
    """How many reads are in flight at once."""
    second_read_pause: DurationOrZero = 0.05
    """How long to wait before a row that does not show its change yet is read once more."""

    @field_validator("password")
    @classmethod
    def _password_goes_with_username(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return _with_username(password, info)


def _check_host(host: str) -> str:
    example = "expected a URL with scheme, host and port, such as https://elasticsearch.example.org:9200"
    try:
        parts = urlsplit(host)
        port = parts.port
    except ValueError:
        raise wrong(example) from None
    if parts.username is not None or parts.password is not None:
        raise wrong("expected a URL without a login", hint="use username and password_file, or api_key_file")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise wrong(example)
    if port is None:
        usual = 443 if parts.scheme == "https" else 80
        raise wrong(example, hint=f"write the port: usually 9200, or {usual} behind a proxy")
    return host.rstrip("/")


class ElasticsearchSettings(SettingsSection):
    """The Elasticsearch cluster that documents are written to."""

    hosts: tuple[Annotated[str, AfterValidator(_check_host)], ...] = Field(
        default=("http://127.0.0.1:9200",), min_length=1
    )
    """URLs with scheme, host and port; requests are spread over them."""
    username: str | None = Field(default=None, min_length=1)
    """The user to log in with."""
    password: SecretStr | None = Field(default=None, validate_default=True)
    """The user's password. Better given as `password_file` or `${VARIABLE}`."""
    password_file: ConfigPath | None = None
    """A file that holds the password."""
    api_key: SecretStr | None = None
    """An API key in its encoded form, instead of a user. Better given as `api_key_file`."""
    api_key_file: ConfigPath | None = None
    """A file that holds the API key."""
    ca_file: ConfigPath | None = None
    """Certificates (PEM) that sign the server's; the system's own when absent."""
    verify_certificates: bool = True
    """Whether the server's certificate must be valid. Off only for tries: anybody can then listen in."""
    connections: int = Field(default=4, ge=1, le=64)
    """How many bulk requests are in flight at once."""
    bulk_documents: int = Field(default=1000, ge=1, le=100_000)
    """The most documents in one bulk request."""
    bulk_bytes: ByteSize = 4 * 1024**2
    """The most bytes in one bulk request; one larger document still goes, alone."""
    request_timeout: Duration = 30.0
    """How long a request may take."""
    late_request_limit: Duration = 960.0
    """How long a bulk request without an answer may still take to arrive. Until then its documents are looked at again,
    because it may bring a deleted one back. The default is what TCP takes to give up on Linux (15 retransmissions,
    924 s), and a margin."""
    allowed_clock_difference: DurationOrZero = 2.0
    """How far the clocks of two daemons may be apart (docs/guarantees.md, promise 4)."""

    @field_validator("password")
    @classmethod
    def _password_goes_with_username(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return _with_username(password, info)

    @field_validator("api_key")
    @classmethod
    def _one_way_to_log_in(cls, api_key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if api_key is not None and info.data.get("username") is not None:
            raise wrong("expected either username and password or api_key, not both")
        return api_key


def _with_username(password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if "username" in info.data and (info.data["username"] is None) != (password is None):
        missing = "username" if password is not None else "password"
        raise wrong(f"expected username and password together; {missing} is missing")
    return password
