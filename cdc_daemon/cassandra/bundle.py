"""Astra's secure connect bundle: a zip file that holds how to reach a database, and the certificates for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cassandra.connection import SniEndPoint, SniEndPointFactory
from cryptography import x509

from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError

_FILES = ("config.json", "ca.crt", "cert", "key")
_LARGEST_FILE = 1 << 20
_LARGEST_ANSWER = 1 << 20
_AGAIN = "download the bundle of this database and region again, from its page in the Astra console"


class SecureConnectBundle(NamedTuple):
    """What a bundle holds. `host` and `port` are those of the metadata service; the rest is PEM."""

    path: Path
    host: str
    port: int
    authority: bytes
    certificate: bytes
    key: bytes

    @property
    def expires(self) -> datetime:
        """When the first of its certificates expires. Raises `ConfigError` for a certificate that is none."""
        try:
            found = [
                each for pem in (self.authority, self.certificate) for each in x509.load_pem_x509_certificates(pem)
            ]
        except ValueError:
            raise _wrong(self.path, "found a certificate that is not in PEM form") from None
        return min(each.not_valid_after_utc for each in found)


class BundleAddress(NamedTuple):
    """Where the database is: the proxy, the datacenter of the bundle's region, and the ids of its nodes."""

    proxy: str
    port: int
    local_datacenter: str
    host_ids: Sequence[str]

    def contact_points(self) -> list[SniEndPoint]:
        """Return the nodes as the driver reaches them: by the proxy, with the node's id as server name."""
        return [SniEndPoint(self.proxy, each, self.port) for each in self.host_ids]

    def factory(self) -> SniEndPointFactory:
        """Return what makes the addresses of the other nodes, which the driver finds."""
        return SniEndPointFactory(self.proxy, self.port)


def read_bundle(path: Path) -> SecureConnectBundle:
    """Read a bundle. Raises `ConfigError`, which says what is wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: _read(archive, name, path) for name in _FILES}
    except OSError as error:
        raise _wrong(path, f"found {(error.strerror or 'an error').lower()}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        raise _wrong(path, "found a file that is no zip archive, or a broken one") from None
    try:
        config = json.loads(files["config.json"])
        host, port = config["host"], int(config["port"])
    except (ValueError, KeyError, TypeError):
        raise _wrong(path, "found a config.json without host and port") from None
    if not isinstance(host, str) or not host or not 0 < port < 1 << 16:
        raise _wrong(path, "found a config.json without host and port")
    return SecureConnectBundle(path, host, port, files["ca.crt"], files["cert"], files["key"])


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(_LARGEST_FILE + 1)
    except KeyError:
        raise _wrong(path, f"found none of the name {name} in the zip archive") from None
    if len(content) > _LARGEST_FILE:
        raise _wrong(path, f"found {name} of more than {_LARGEST_FILE} bytes")
    return content


def bundle_context(bundle: SecureConnectBundle) -> ssl.SSLContext:
    """Return the TLS context for the metadata service and the nodes.

    Both show certificates of the bundle's own authority, and not for their addresses: the server name is a node's id.
    Raises `ConfigError` if a certificate is expired or is none.
    """
    if bundle.expires <= now():
        raise _wrong(bundle.path, f"found a certificate that expired on {bundle.expires:%Y-%m-%d}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=bundle.authority.decode("ascii"))
        with _as_file(bundle.certificate) as certificate, _as_file(bundle.key) as key:
            context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):
        raise _wrong(bundle.path, "found a certificate and a key that do not fit, or are not in PEM form") from None
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give the path of a file in memory: OpenSSL reads keys from files only, and no disk may be writable."""
    descriptor = os.memfd_create("secure-connect-bundle", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def locate(
    bundle: SecureConnectBundle, context: ssl.SSLContext, *, local_datacenter: str | None, timeout: float
) -> BundleAddress:
    """Ask the metadata service where the database is.

    Raises `CassandraUnavailableError` if it does not answer, and `ConfigError` if the bundle is of another region than
    the configured datacenter.
    """
    url = f"https://{bundle.host}:{bundle.port}/metadata"
    try:
        with urllib.request.urlopen(url, context=context, timeout=timeout) as answer:
            told = json.loads(answer.read(_LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            raise _unavailable(
                bundle, f"it answered {error.code}", "is the database active, not paused or deleted?"
            ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise _unavailable(bundle, _short(reason), _hint(reason)) from None
    address = _address_in(told)
    if address is None:
        raise _unavailable(bundle, "its answer does not name the nodes", _AGAIN)
    if local_datacenter is not None and local_datacenter != address.local_datacenter:
        raise ConfigError(
            f"expected a bundle of the datacenter {local_datacenter}, found one of {address.local_datacenter}",
            hint="download the bundle of that region, or remove cassandra.local_datacenter",
            secure_connect_bundle=str(bundle.path),
        )
    return address


def _address_in(told: Any) -> BundleAddress | None:
    info = told.get("contact_info") if isinstance(told, Mapping) else None
    if not isinstance(info, Mapping):
        return None
    proxy, datacenter, nodes = (info.get(name) for name in ("sni_proxy_address", "local_dc", "contact_points"))
    if not isinstance(proxy, str) or not isinstance(datacenter, str) or not isinstance(nodes, list) or not nodes:
        return None
    host, _, port = proxy.rpartition(":")
    if not host or not port.isdigit():
        host, port = proxy, "9042"
    return BundleAddress(host, int(port), datacenter, [str(each) for each in nodes])


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def _wrong(path: Path, found: str) -> ConfigError:
    return ConfigError(f"expected a secure connect bundle, {found}", hint=_AGAIN, secure_connect_bundle=str(path))


def _unavailable(bundle: SecureConnectBundle, found: str, hint: str) -> CassandraUnavailableError:
    return CassandraUnavailableError(
        f"expected the metadata service of Astra to answer, found: {found}",
        hint=hint,
        secure_connect_bundle=str(bundle.path),
        metadata_service=f"{bundle.host}:{bundle.port}",
    )


def _hint(reason: Any) -> str:
    if isinstance(reason, ssl.SSLError):
        return f"the certificates of the bundle are not those of this service: {_AGAIN}"
    if isinstance(reason, socket.gaierror):
        return f"was the database deleted, or is its region not that of the bundle? Then {_AGAIN}"
    return "may this machine reach the address and port?"


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:300] or type(reason).__name__
