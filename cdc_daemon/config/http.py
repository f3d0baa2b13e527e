"""The settings of the daemon's HTTP server: its address, authentication, and limits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.units import ByteSize, Duration, DurationOrZero

Scope = Literal["sync", "admin"]
"""What a caller may do: `sync` allows requests for rows, `admin` allows operating the daemon."""

SecretAlgorithm = Literal["HS256", "HS384", "HS512"]
KeyAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip

SHORTEST_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The minimum length of a shared secret in bytes, which is the size of the hash (RFC 7518, 3.2)."""


class TokenSettings(SettingsSection):
    """A static bearer token, given by its hash or in a file."""

    name: str = Field(min_length=1)
    """The name of the token's owner, for the log."""
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$|\$\{")] | None = None
    """`sha256:` and the token's SHA-256 in hexadecimal, as `printf %s "$TOKEN" | sha256sum` prints it. The token must
    be long and random, such as the output of `openssl rand -hex 32`."""
    file: ConfigPath | None = None
    """A file that holds the token itself. It is read again when it changes."""
    scopes: tuple[Scope, ...] = Field(default=("sync",), min_length=1)
    """What the token allows: `sync` (requests for rows), `admin` (operating the daemon), or both."""

    @model_validator(mode="after")
    def _hash_or_file(self) -> TokenSettings:
        if (self.hash is None) == (self.file is None):
            raise wrong("expected either hash or file")
        return self


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong("expected a URL such as https://login.example.org/keys")
    if parts.username is not None or parts.password is not None:
        raise wrong("expected a URL without a login")
    return url


class JwtSettings(SettingsSection):
    """JSON Web Tokens, signed with a shared secret or with a key of a key set (JWKS)."""

    secret: SecretStr | None = None
    """The shared secret (HS256, HS384, HS512). Prefer `secret_file`."""
    secret_file: ConfigPath | None = None
    """A file that holds the shared secret."""
    key_set_file: ConfigPath | None = None
    """A file with the public keys of the signers (JWKS). It is read again when it changes."""
    key_set_url: Annotated[str, AfterValidator(_check_url)] | None = None
    """The URL of the public keys of the signers (JWKS). It is read again when a token names an unknown key."""
    algorithms: tuple[SecretAlgorithm | KeyAlgorithm, ...] = Field(default=(), validate_default=True)
    """The algorithms that are accepted. Default: HS256 with a secret, RS256 and ES256 with a key set."""
    issuer: str | None = Field(default=None, min_length=1)
    """The required value of `iss`."""
    audience: str | None = Field(default=None, min_length=1)
    """The required value of `aud`, or a required element of it if it is a list."""
    claims: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Required claims: for each claim the accepted values, of which the token must have one, such as
    `groups: [search-sync]`."""
    admin_claims: Mapping[str, tuple[str, ...]] | None = Field(default=None, min_length=1)
    """The claims that also allow operating the daemon. Default: no JSON Web Token allows it."""
    leeway: DurationOrZero = 30.0
    """The tolerance for the difference between the clocks of the signer and this machine."""

    @field_validator("algorithms")
    @classmethod
    def _algorithms_fit_the_key(cls, given: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        shared = info.data.get("secret") is not None
        if not given:
            return ("HS256",) if shared else ("RS256", "ES256")
        if any((name in SHORTEST_SECRET) != shared for name in given):
            raise wrong("expected algorithms that match the keys: HS… with a secret, the others with a key set")
        return given

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> JwtSettings:
        if sum(source is not None for source in (self.secret, self.key_set_file, self.key_set_url)) != 1:
            raise wrong("expected one of secret, key_set_file and key_set_url")
        if self.secret is not None:
            shortest = max(SHORTEST_SECRET[name] for name in self.algorithms)
            if len(self.secret.get_secret_value().encode()) < shortest:
                raise wrong(f"expected a secret of at least {shortest} bytes for {', '.join(self.algorithms)}")
        return self


class AuthSettings(SettingsSection):
    """Authentication of callers. If the section is empty, callers are not authenticated."""

    tokens: tuple[TokenSettings, ...] = ()
    """Static bearer tokens."""
    jwt: JwtSettings | None = None
    """JSON Web Tokens."""

    @property
    def required(self) -> bool:
        """Whether callers must authenticate."""
        return bool(self.tokens) or self.jwt is not None


class HttpTlsSettings(SettingsSection):
    """TLS encryption. The files are read again when they change."""

    certificate_file: ConfigPath
    """The server's certificate, followed by the intermediate certificates (PEM)."""
    key_file: ConfigPath
    """The private key of the certificate (PEM, without passphrase)."""
    client_ca_file: ConfigPath | None = None
    """CA certificates (PEM). If set, each client must present a certificate that one of these signed."""


_HOST_NAME = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def _check_allowed_host(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise wrong("expected names such as cdc.example.org or *.example.org, without a port, or * for any")
    return name.lower()


AllowedHost = Annotated[str, AfterValidator(_check_allowed_host)]
"""A host name that the Host header may contain, or a pattern for all its subdomains."""


def is_loopback(host: str) -> bool:
    """Whether the address can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSettings(SettingsSection):
    """The daemon's HTTP server: requests for rows, metrics, health, status, administration."""

    enabled: bool = True
    """Whether the daemon runs the HTTP server."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The address to listen on."""
    port: int | None = Field(default=8080, ge=0, le=65535)
    """The port to listen on. 0 selects any free port; null switches this listener off."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """A separate port for `/livez`, `/readyz` and `/metrics`, which callers of `port` cannot exhaust. It is never
    encrypted and requires no client certificate, even if `tls` is set. 0 selects any free port. Default: none."""
    allowed_hosts: Annotated[tuple[AllowedHost, ...], Field(min_length=1)] | None = None
    """The host names that the Host header may contain, such as `cdc.example.org`, `*.example.org`, or `*` for any.
    Requests to an IP address and requests with a valid token are always accepted. Default: names that an attacker
    cannot register, which are names without a dot (`localhost`, a Service), `*.localhost`, `*.internal`, `*.svc`,
    `*.svc.cluster.local`, `host`, and the name of the machine."""
    contract: Literal["documented", "lenient"] = "documented"
    """`documented`: all headers and keys in Sunbird's documentation are required. `lenient`: only Content-Type is
    required, and Authorization if `auth` is set."""
    auth: AuthSettings = Field(default=AuthSettings(), validate_default=True)
    """Authentication of callers. Without it anybody who can reach the address may request rows, and nobody may operate
    the daemon."""
    tls: HttpTlsSettings | None = None
    """TLS encryption. Default: none."""
    max_ids: int = Field(default=10_000, ge=1, le=1_000_000)
    """The maximum number of ids in a request."""
    empty_ids: Literal["refuse", "all"] = "refuse"
    """The answer to a request without ids: `refuse` answers 400; `all` starts a backfill of the type and answers
    202."""
    max_body: ByteSize = 4 * 1024**2
    """The maximum size of a request body."""
    max_bodies: ByteSize | None = None
    """The maximum total size of all request bodies that are being received or queued. When it is exceeded, the caller
    that holds the most gets 429. Default: 16 times `max_body`."""
    head_timeout: Duration = 10.0
    """The time that a client has for the TLS handshake and for the request line and headers."""
    body_timeout: Duration = 10.0
    """The time that a client has to send the body."""
    idle_timeout: Duration = 65.0
    """The time after which an idle connection is closed. It should be longer than that of the gateways in front
    (usually a minute), so that no connection is closed while a request is on its way."""
    max_connections: int = Field(default=512, ge=1, le=100_000)
    """The maximum number of open connections. Beyond it the connection that has been idle longest is closed, or the new
    one is refused if none is idle. One address may hold three quarters of them. 16 more connections are reserved for
    `/livez`, `/readyz` and `/metrics`."""
    sync_timeout: Duration = 30.0
    """The time after which a request for rows is answered, even if some of its rows are not written yet."""
    max_requests: int = Field(default=32, ge=1, le=10_000)
    """The maximum number of requests for rows that are processed at once. One caller (a token, or an address without
    `auth`) may have three quarters of them. Further requests are queued, and callers get fair shares."""
    max_waiting: int = Field(default=256, ge=0, le=100_000)
    """The maximum number of queued requests for rows. When it is exceeded, the caller with the most queued requests
    gets 429, with an estimated wait in Retry-After."""
    queue_timeout: Duration = 10.0
    """The time after which a queued request gets 429. It counts towards `sync_timeout`, and is at most half of it."""
    max_jobs: int = Field(default=100, ge=1, le=100_000)
    """The maximum number of pending asynchronous requests. Further ones are answered with 429."""

    @field_validator("health_port")
    @classmethod
    def _ports_differ(cls, health_port: int | None, info: ValidationInfo) -> int | None:
        if health_port and health_port == info.data.get("port"):
            raise wrong(f"expected a port other than http.port, found {health_port} for both")
        return health_port

    @field_validator("max_bodies")
    @classmethod
    def _one_body_fits(cls, max_bodies: int | None, info: ValidationInfo) -> int | None:
        if max_bodies is not None and max_bodies < info.data.get("max_body", 0):
            raise wrong("expected at least http.max_body")
        return max_bodies

    @field_validator("auth")
    @classmethod
    def _strangers_have_to_show_who_they_are(cls, auth: AuthSettings, info: ValidationInfo) -> AuthSettings:
        host, listens = info.data.get("host"), info.data.get("enabled") and info.data.get("port") is not None
        if listens and host is not None and not auth.required and not is_loopback(host):
            raise wrong(
                f"expected tokens or jwt while http.host is {host}: anybody who can reach it could request rows",
                hint="set http.auth.tokens or http.auth.jwt, or listen on 127.0.0.1",
            )
        return auth

    @property
    def most_body_bytes(self) -> int:
        """The maximum total size of all request bodies, in bytes."""
        return 16 * self.max_body if self.max_bodies is None else self.max_bodies

    @property
    def local_host(self) -> str:
        """The address at which this machine can reach the daemon, even if the daemon listens on all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- asked, not bound to

    @property
    def listens(self) -> bool:
        """Whether the daemon listens on `port`."""
        return self.enabled and self.port is not None
