"""The embedded HTTP surface: where it listens, who may ask, and how much."""

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
"""What a caller may do: ask for rows, or act on the daemon."""

SecretAlgorithm = Literal["HS256", "HS384", "HS512"]
KeyAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip

SHORTEST_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of a shared secret: no fewer than the hash's (RFC 7518, 3.2)."""


class TokenSettings(SettingsSection):
    """A bearer token that is known beforehand, by its hash or in a file."""

    name: str = Field(min_length=1)
    """Whose it is, for the log."""
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$|\$\{")] | None = None
    """`sha256:` and the token's SHA-256 in hexadecimal: `printf %s "$TOKEN" | sha256sum`. The token has to be
    long and random, such as `openssl rand -hex 32` makes one."""
    file: ConfigPath | None = None
    """A file that holds the token itself; it is read again when it changes."""
    scopes: tuple[Scope, ...] = Field(default=("sync",), min_length=1)
    """What it allows: `sync`, `admin`, or both."""

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
    """JSON Web Tokens, signed with a shared secret or with a key of a published set."""

    secret: SecretStr | None = None
    """The shared secret (HS256, HS384, HS512). Better given as `secret_file`."""
    secret_file: ConfigPath | None = None
    """A file that holds the shared secret."""
    key_set_file: ConfigPath | None = None
    """A file with the signers' public keys (JWKS); it is read again when it changes."""
    key_set_url: Annotated[str, AfterValidator(_check_url)] | None = None
    """Where the signers' public keys (JWKS) are published; asked again for a key that is not known yet."""
    algorithms: tuple[SecretAlgorithm | KeyAlgorithm, ...] = Field(default=(), validate_default=True)
    """The only algorithms taken. When absent: HS256 with a secret, RS256 and ES256 with a key set."""
    issuer: str | None = Field(default=None, min_length=1)
    """What `iss` has to be."""
    audience: str | None = Field(default=None, min_length=1)
    """What `aud` has to be or to contain."""
    claims: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Claims and the values of which each must have one, such as `groups: [search-sync]`."""
    admin_claims: Mapping[str, tuple[str, ...]] | None = Field(default=None, min_length=1)
    """Claims that allow to act on the daemon as well; nobody may when absent."""
    leeway: DurationOrZero = 30.0
    """How far the signer's clock may be off."""

    @field_validator("algorithms")
    @classmethod
    def _algorithms_fit_the_key(cls, given: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        shared = info.data.get("secret") is not None
        if not given:
            return ("HS256",) if shared else ("RS256", "ES256")
        if any((name in SHORTEST_SECRET) != shared for name in given):
            raise wrong("expected algorithms of one kind: HS… with a secret, the others with a key set")
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
    """Who may ask for rows and act on the daemon. Nobody is asked for anything when there is nothing here."""

    tokens: tuple[TokenSettings, ...] = ()
    """Bearer tokens that are known beforehand."""
    jwt: JwtSettings | None = None
    """JSON Web Tokens."""

    @property
    def required(self) -> bool:
        """Whether callers have to show who they are."""
        return bool(self.tokens) or self.jwt is not None


class HttpTlsSettings(SettingsSection):
    """Transport encryption. The files are read again when they change."""

    certificate_file: ConfigPath
    """The server's certificate and those that lead to its authority (PEM)."""
    key_file: ConfigPath
    """The certificate's key (PEM, without passphrase)."""
    client_ca_file: ConfigPath | None = None
    """Authorities (PEM) of which each client has to show a certificate; none is asked for when absent."""


_HOST_NAME = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def _check_allowed_host(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise wrong("expected names such as cdc.example.org or *.example.org, without a port, or * for any")
    return name.lower()


AllowedHost = Annotated[str, AfterValidator(_check_allowed_host)]
"""A name that the Host header may have, or all names below one."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HttpSettings(SettingsSection):
    """The embedded HTTP surface: requests for rows, metrics, liveness, status."""

    enabled: bool = True
    """Whether to listen at all."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The address to listen on."""
    port: int | None = Field(default=8080, ge=0, le=65535)
    """The port to listen on; 0 takes any free one, null switches listening off."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """A port of its own for `/livez`, `/readyz` and `/metrics`, which callers of `port` cannot occupy; null for none.
    It is not encrypted and asks for no certificate, whatever `tls` says. 0 takes any free port."""
    allowed_hosts: Annotated[tuple[AllowedHost, ...], Field(min_length=1)] | None = None
    """The names that requests may have in their Host header, such as `cdc.example.org`, `*.example.org`, or `*` for
    any. Addresses and requests with a valid token are always answered. When absent: names that no stranger can bind
    to the daemon's address, which are names without a dot (`localhost`, a Service), `*.localhost`, `*.internal`,
    `*.svc`, `*.svc.cluster.local`, `host`, and the machine's name."""
    contract: Literal["documented", "lenient"] = "documented"
    """`documented` wants each header and key that the published documentation requires, `lenient` only those
    that live callers send: Content-Type, and Authorization where `auth` is set."""
    auth: AuthSettings = Field(default=AuthSettings(), validate_default=True)
    """Who may ask for rows and act on the daemon. Without it everybody who reaches the address may ask for rows,
    and nobody may act."""
    tls: HttpTlsSettings | None = None
    """Transport encryption; none when absent."""
    max_ids: int = Field(default=10_000, ge=1, le=1_000_000)
    """The most ids in one request."""
    empty_ids: Literal["refuse", "all"] = "refuse"
    """What a request without ids means: `refuse` answers 400, `all` begins a backfill of the type (202)."""
    max_body: ByteSize = 4 * 1024**2
    """The largest body of a request."""
    max_bodies: ByteSize | None = None
    """How many bytes the bodies of all requests may take while they are received or wait for their turn. When more
    come, the caller that holds the most gets 429. When absent: 16 times `max_body`."""
    head_timeout: Duration = 10.0
    """How long a caller may take to send a request's line and headers, and for the TLS handshake before them."""
    body_timeout: Duration = 10.0
    """How long a caller may take to send the body."""
    idle_timeout: Duration = 65.0
    """How long a connection may wait for its next request: longer than the minute after which gateways close
    theirs, so that none is closed under a request on its way."""
    max_connections: int = Field(default=512, ge=1, le=100_000)
    """How many connections may be open at once. One more closes the connection that has been idle for longest, or is
    refused when none is idle. One address may have three quarters of them. 16 further connections are reserved for
    `/livez`, `/readyz` and `/metrics`."""
    sync_timeout: Duration = 30.0
    """How long a request may take until it is answered with what is settled by then."""
    max_requests: int = Field(default=32, ge=1, le=10_000)
    """How many requests for rows are worked on at once. One caller (by its token, without `auth` by its address) may
    have three quarters of them. More requests wait for their turn, which callers get in fair shares."""
    max_waiting: int = Field(default=256, ge=0, le=100_000)
    """How many requests for rows may wait for their turn. When more come, the caller with the most waiting requests
    gets 429, with an estimate in Retry-After."""
    queue_timeout: Duration = 10.0
    """How long a request may wait for its turn until it gets 429; never more than half of `sync_timeout`, of which the
    wait is a part."""
    max_jobs: int = Field(default=100, ge=1, le=100_000)
    """How many asynchronous requests may wait; more are answered with 429."""

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
                f"expected tokens or jwt while http.host is {host}: whoever reaches it could ask for rows",
                hint="set http.auth.tokens or http.auth.jwt, or listen on 127.0.0.1",
            )
        return auth

    @property
    def most_body_bytes(self) -> int:
        """How many bytes the bodies of all requests may take."""
        return 16 * self.max_body if self.max_bodies is None else self.max_bodies

    @property
    def local_host(self) -> str:
        """The address at which this machine reaches the daemon, also where it listens on all addresses."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- asked, not bound to

    @property
    def listens(self) -> bool:
        """Whether the daemon listens for requests."""
        return self.enabled and self.port is not None
