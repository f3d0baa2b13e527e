"""The security of the engines whose security plugin Maven Central has: a login, and API keys where the engine has them.

Elasticsearch's is there for version 8.19.4. It is made for OpenSAML 4.3, which Maven Central does not have; 4.0.1 is
enough, because nothing here logs in by SAML. OpenSearch's is there up to 2.19.1, and runs on 2.19.5.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sandbox.artifacts import ELASTICSEARCH_VERSION, ArtifactSet
from sandbox.engines import Engine
from sandbox.errors import SandboxError

USER = "admin"
PASSWORD = "sandbox-secret"  # noqa: S105 -- of servers that live as long as a test
"""The login of the sandbox, which may do everything."""

_HASH = "$2a$04$abcdefghijklmnopqrstuu.Qgz0jIVFP.dB6/WRRXoLT2T/.2N7s2"
"""The bcrypt hash of the password, with the lowest cost."""


@dataclass(frozen=True)
class Security:
    """The security plugin of an engine: its jars, its class, and its settings.

    Jars of the artifacts `core` form a module of their own, which the plugin's module extends.
    """

    artifacts: ArtifactSet
    plugin: str
    settings: Mapping[str, Any]
    core: frozenset[str] = field(default_factory=frozenset)


_CORE = (
    f"org.elasticsearch.plugin:x-pack-core:{ELASTICSEARCH_VERSION}",
    f"org.elasticsearch.plugin:x-pack-template-resources:{ELASTICSEARCH_VERSION}",
    f"org.elasticsearch:elasticsearch-grok:{ELASTICSEARCH_VERSION}",
    f"org.elasticsearch:elasticsearch-ssl-config:{ELASTICSEARCH_VERSION}",
    "org.apache.httpcomponents:httpclient:4.5.14",
    "org.apache.httpcomponents:httpcore:4.4.16",
    "org.apache.httpcomponents:httpcore-nio:4.4.16",
    "org.apache.httpcomponents:httpasyncclient:4.1.5",
    "commons-logging:commons-logging:1.2",
    "commons-codec:commons-codec:1.15",
    "com.unboundid:unboundid-ldapsdk:6.0.3",
)

_OPENSAML = (
    "core",
    "messaging-api",
    "profile-api",
    "saml-api",
    "saml-impl",
    "security-api",
    "security-impl",
    "soap-api",
    "xmlsec-api",
    "xmlsec-impl",
)

_SECURITY = {
    ("elasticsearch", ELASTICSEARCH_VERSION): Security(
        ArtifactSet(
            "Elasticsearch-security",
            ELASTICSEARCH_VERSION,
            (
                *_CORE,
                f"org.elasticsearch.plugin:x-pack-security:{ELASTICSEARCH_VERSION}",
                *(f"org.opensaml:opensaml-{name}:4.0.1" for name in _OPENSAML),
                "net.shibboleth.utilities:java-support:8.0.0",
                "com.nimbusds:nimbus-jose-jwt:10.0.2",
                "org.slf4j:slf4j-api:2.0.6",
            ),
            transitive=False,
        ),
        plugin="org.elasticsearch.xpack.security.Security",
        settings={
            "xpack.security.enabled": True,
            "xpack.security.autoconfiguration.enabled": False,
            "xpack.license.self_generated.type": "basic",
        },
        core=frozenset(coordinate.split(":")[1] for coordinate in _CORE),
    ),
    ("opensearch", "2.19.5"): Security(
        ArtifactSet(
            "OpenSearch-security",
            "2.19.1.0",
            ("org.opensearch.plugin:opensearch-security:2.19.1.0:zip",),
            transitive=False,
        ),
        plugin="org.opensearch.security.OpenSearchSecurityPlugin",
        settings={
            "http.type": None,  # the plugin chooses both
            "transport.type": None,
            "plugins.security.ssl.transport.pemcert_filepath": "node.pem",
            "plugins.security.ssl.transport.pemkey_filepath": "node-key.pem",
            "plugins.security.ssl.transport.pemtrustedcas_filepath": "node.pem",
            "plugins.security.ssl.transport.enforce_hostname_verification": False,
            "plugins.security.allow_default_init_securityindex": True,
            "plugins.security.nodes_dn": ["CN=node"],
        },
    ),
}

SECURED = tuple(f"{name}:{version}" for name, version in _SECURITY)
"""The engines that can be started with security."""


def find_security(engine: Engine) -> Security:
    """Return the security of an engine. Raises SandboxError if it cannot be started with security."""
    security = _SECURITY.get((engine.name, engine.version))
    if security is None:
        raise SandboxError(f"with security only {' and '.join(SECURED)} can be started, found {engine.title}")
    return security


def write_logins(engine: Engine, home: Path, config: Path) -> None:
    """Write the files of the login into an engine's configuration folder, before its first start."""
    if engine.has_modules:
        _write(config / "users", f"{USER}:{_HASH}\n")
        _write(config / "users_roles", f"superuser:{USER}\n")
        return
    folder = config / "opensearch-security"
    if not folder.exists():
        shutil.copytree(home / "config", folder)
        users = f'{USER}: {{hash: "{_HASH}", reserved: true, backend_roles: [admin]}}\n'
        _write(folder / "internal_users.yml", f"_meta: {{type: internalusers, config_version: 2}}\n{users}")
        _write_certificate(config)


def _write_certificate(config: Path) -> None:
    """Write a certificate and its key for the transport between nodes, which OpenSearch's security encrypts always."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(config / "node.pem", certificate.public_bytes(pem).decode())
    _write(config / "node-key.pem", private.decode())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
