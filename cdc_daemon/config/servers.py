"""The settings of Cassandra and the search engine: how to connect, and the limits of requests."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.units import ByteSize, Duration, DurationOrZero

Consistency = Literal["LOCAL_QUORUM", "QUORUM", "ALL", "LOCAL_ONE", "ONE", "TWO", "THREE"]
"""A consistency level that Cassandra takes for reads, by the name CQL gives it."""


class TlsSettings(SettingsSection):
    """Transport encryption between the daemon and Cassandra."""

    enabled: bool = False
    """Whether to encrypt."""
    ca_file: ConfigPath | None = None
    """The CA certificates (PEM) that the server's certificate is verified against. Default: those of the system."""
    certificate_file: ConfigPath | None = None
    """The client certificate (PEM), if the server requires one."""
    key_file: ConfigPath | None = Field(default=None, validate_default=True)
    """The private key of the client certificate (PEM, without passphrase)."""
    verify_hostname: bool = True
    """Whether each node's certificate must contain the IP address of the node. It must be the IP address, not the host
    name, because the driver resolves names first and learns the other nodes by their addresses."""

    @field_validator("key_file")
    @classmethod
    def _key_goes_with_certificate(cls, key: ConfigPath | None, info: ValidationInfo) -> ConfigPath | None:
        if "certificate_file" in info.data and (info.data["certificate_file"] is None) != (key is None):
            raise wrong("expected certificate_file and key_file together, or neither")
        return key


class CassandraSettings(SettingsSection):
    """The Cassandra cluster that rows are read from."""

    contact_points: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=("127.0.0.1",), min_length=1)
    """Host names or addresses to connect to first, usually that of the node that the daemon runs beside.

    Names are resolved again when Cassandra has been unavailable for 30 s, so nodes may get new addresses.
    """
    port: int = Field(default=9042, ge=1, le=65535)
    """The native transport port."""
    secure_connect_bundle: ConfigPath | None = None
    """Astra DB: the zip file that its console offers for a database and region. It holds addresses and certificates, so
    that `contact_points`, `port` and `tls` must be absent. Its login: `username: token` and the token as `password`."""
    local_datacenter: str | None = Field(default=None, min_length=1)
    """The datacenter to read from. Default: that of the first contact point that answers."""
    username: str | None = Field(default=None, min_length=1)
    """The role to log in with. Default: no login."""
    username_file: ConfigPath | None = None
    """A file that holds the name of the role."""
    password: SecretStr | None = Field(default=None, validate_default=True)
    """The password of the role. Prefer `password_file` or `${VARIABLE}`."""
    password_file: ConfigPath | None = None
    """A file that holds the password."""
    tls: TlsSettings = TlsSettings()
    """Transport encryption."""
    consistency: Consistency = "LOCAL_QUORUM"
    """The consistency level of reads. Below a quorum a read may miss a recent write (docs/guarantees.md, promise 2)."""
    request_timeout: Duration = 10.0
    """The timeout of a query."""
    keys_per_query: int = Field(default=100, ge=1, le=1000)
    """The number of keys that one query reads."""
    concurrent_queries: int = Field(default=16, ge=1, le=1024)
    """The number of queries in flight at once."""
    second_read_pause: DurationOrZero = 0.05
    """The pause before the second read of a row whose first read does not show the change yet."""

    @model_validator(mode="after")
    def _bundle_instead_of_addresses(self) -> Self:
        beside = sorted({"contact_points", "port", "tls"} & self.model_fields_set)
        if self.secure_connect_bundle is not None and beside:
            raise wrong(
                f"expected secure_connect_bundle without {' and '.join(beside)}",
                hint=f"the bundle has its own; remove {' and '.join(beside)}",
            )
        return self

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
        raise wrong("expected a URL without a login", hint="set username and password_file, or api_key_file")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise wrong(example)
    if port is None:
        usual = 443 if parts.scheme == "https" else 80
        raise wrong(example, hint=f"write the port: usually 9200, or {usual} behind a proxy")
    return host.rstrip("/")


class AwsSettings(SettingsSection):
    """Requests that are signed for AWS (Signature Version 4), instead of a login: for Amazon OpenSearch Service.

    It needs `pip install 'cdc-daemon[aws]'`. The credentials are found as by every AWS tool: in environment variables,
    in files, or from the role of the pod, the container or the machine.
    """

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    """The region of the domain, such as eu-central-1."""
    profile: str | None = Field(default=None, min_length=1)
    """The profile of the AWS configuration files. Default: that of `AWS_PROFILE`, or `default`."""


class ElasticsearchSettings(SettingsSection):
    """The search engine that documents are written to: a cluster of Elasticsearch or OpenSearch."""

    flavor: Literal["auto", "elasticsearch", "opensearch"] = "auto"
    """Which client speaks to the engine. `auto`: the engine is asked which one it is. `elasticsearch`: the client of
    Elasticsearch 8 and 9. `opensearch`: the client of OpenSearch 1.3 to 3, which also speaks to Elasticsearch 7.10 to
    7.17. Set it if the login may not ask (`cluster:monitor/main`)."""

    hosts: tuple[Annotated[str, AfterValidator(_check_host)], ...] = Field(
        default=("http://127.0.0.1:9200",), min_length=1
    )
    """The URLs of the nodes, each with scheme, host and port. Requests are distributed over them."""
    username: str | None = Field(default=None, min_length=1)
    """The user to log in with."""
    username_file: ConfigPath | None = None
    """A file that holds the name of the user."""
    password: SecretStr | None = Field(default=None, validate_default=True)
    """The password of the user. Prefer `password_file` or `${VARIABLE}`."""
    password_file: ConfigPath | None = None
    """A file that holds the password."""
    api_key: SecretStr | None = None
    """An API key, instead of a user: one of Elasticsearch in its encoded form, or one of OpenSearch 3.7 or newer. Other
    engines have no API keys, and the key is not sent to them. Prefer `api_key_file`."""
    api_key_file: ConfigPath | None = None
    """A file that holds the API key."""
    aws: AwsSettings | None = None
    """Signs requests for AWS, instead of a user or an API key."""
    ca_file: ConfigPath | None = None
    """The CA certificates (PEM) that the server's certificate is verified against. Default: those of the system. A
    replaced file is used for new connections, without a restart."""
    verify_certificates: bool = True
    """Whether the server's certificate is verified. Switch this off only for experiments: without it anybody on the way
    can read and change the traffic."""
    connections: int = Field(default=4, ge=1, le=64)
    """The number of bulk requests in flight at once."""
    bulk_documents: int = Field(default=1000, ge=1, le=100_000)
    """The maximum number of documents in a bulk request."""
    bulk_bytes: ByteSize = 4 * 1024**2
    """The maximum size of a bulk request. A single document that is larger is sent alone."""
    request_timeout: Duration = 30.0
    """The timeout of a request."""
    late_request_limit: Duration = 960.0
    """The time after which a bulk request without an answer can no longer arrive. Until then its documents are checked
    again and again, because the request may bring a deleted document back. The default is the time after which TCP on
    Linux gives up (15 retransmissions, 924 s), plus a margin."""
    allowed_clock_difference: DurationOrZero = 2.0
    """The maximum difference between the clocks of two daemons (docs/guarantees.md, promise 4)."""

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

    @field_validator("aws")
    @classmethod
    def _signed_instead_of_a_login(cls, aws: AwsSettings | None, info: ValidationInfo) -> AwsSettings | None:
        if aws is not None and (info.data.get("username") is not None or info.data.get("api_key") is not None):
            raise wrong("expected either aws or a login, found both")
        if aws is not None and info.data.get("flavor") == "elasticsearch":
            raise wrong("expected flavor: auto or opensearch with aws, as Amazon has no Elasticsearch 8")
        return aws


def _with_username(password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if "username" in info.data and (info.data["username"] is None) != (password is None):
        missing = "username" if password is not None else "password"
        raise wrong(f"expected username and password together; {missing} is missing")
    return password
