from __future__ import annotations

import socket
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_daemon.cassandra import node
from cdc_daemon.cassandra.node import NodeSettings, compressor, find_node, is_encrypted, is_local
from cdc_daemon.cli.checks.cassandra import check_version
from cdc_daemon.cli.checks.commit_log import check_commit_log
from cdc_daemon.cli.checks.finding import Finding

PLAIN_5_0 = {
    "cdc_enabled": "true",
    "cdc_block_writes": "true",
    "cdc_total_space": "4096MiB",
    "cdc_total_space_in_mb": "4096",
    "commitlog_compression.class_name": None,
    "commitlog_disk_access_mode": "legacy",
    "commitlog_sync": "periodic",
    "commitlog_sync_period": "10000ms",
    "commitlog_sync_period_in_ms": "10000",
    "transparent_data_encryption_options.enabled": "false",
}
PLAIN_4_0 = {
    "cdc_enabled": "true",
    "cdc_total_space_in_mb": "4096",
    "commitlog_compression": None,
    "commitlog_sync": "periodic",
    "commitlog_sync_period_in_ms": "10000",
    "transparent_data_encryption_options_enabled": "false",
}


def _findings(follow_markers: bool = True, base: dict[str, Any] | None = None, **changes: Any) -> dict[str, Finding]:
    rows = {
        **(PLAIN_5_0 if base is None else base),
        **{name.replace("__", "."): value for name, value in changes.items()},
    }
    return {finding.name: finding for finding in check_commit_log(NodeSettings(rows), follow_markers=follow_markers)}


@pytest.mark.parametrize("base", [PLAIN_5_0, PLAIN_4_0], ids=["5.0", "4.0"])
def test_a_node_as_it_comes_is_fresh_by_markers(base: dict[str, Any]) -> None:
    findings = _findings(base=base)
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert "100ms" in findings["cdc.freshness"].found


def test_sizes_and_durations_in_both_spellings() -> None:
    for base in (PLAIN_5_0, PLAIN_4_0):
        told = NodeSettings(base)
        assert told.seconds("commitlog_sync_period") == 10
        assert told.size("cdc_total_space") == 4096 << 20
    assert NodeSettings({}).seconds("commitlog_sync_period") is None
    assert NodeSettings({"cdc_total_space": "odd"}).size("cdc_total_space") is None


def test_cdc_switched_off() -> None:
    finding = _findings(cdc_enabled="false")["cdc.enabled"]
    assert finding.status == "fail"
    assert "cdc_enabled: true" in str(finding.mend)


@pytest.mark.parametrize(
    ("changes", "because", "mend"),
    [
        ({"commitlog_compression__class_name": "LZ4Compressor"}, "compressed", "commitlog_sync_period: 1s"),
        ({"commitlog_disk_access_mode": "direct"}, "direct I/O", "commitlog_disk_access_mode: mmap"),
        ({"commitlog_disk_access_mode": "auto"}, "may write it with direct I/O", "commitlog_disk_access_mode: mmap"),
        ({"transparent_data_encryption_options__enabled": "true"}, "encrypted", "commitlog_sync_period: 1s"),
    ],
)
def test_what_costs_freshness_is_told_with_its_price(changes: dict[str, Any], because: str, mend: str) -> None:
    finding = _findings(**changes)["cdc.freshness"]
    assert finding.status == "warn"
    assert because in finding.found
    assert "up to 10s late" in finding.found
    assert mend in str(finding.mend)


def test_a_short_period_makes_up_for_it() -> None:
    finding = _findings(commitlog_compression__class_name="LZ4Compressor", commitlog_sync_period="500ms")[
        "cdc.freshness"
    ]
    assert finding.status == "ok"
    assert "up to 500ms late" in finding.found


def test_not_following_markers_costs_freshness_too() -> None:
    finding = _findings(follow_markers=False)["cdc.freshness"]
    assert finding.status == "warn"
    assert "commit_log.follow_markers: true" in str(finding.mend)


def test_batch_and_group_mode_are_fresh_whatever_the_format() -> None:
    batch = _findings(commitlog_sync="batch", commitlog_disk_access_mode="direct")["cdc.freshness"]
    assert batch.status == "ok"
    group = _findings(commitlog_sync="group", commitlog_sync_group_window="15ms")["cdc.freshness"]
    assert group.status == "ok"
    assert "15ms" in group.found


def test_formats() -> None:
    assert _findings()["cdc.segment_format"].found == "segments are uncompressed"
    assert _findings(commitlog_compression__class_name="ZstdCompressor")["cdc.segment_format"].status == "ok"
    unknown = _findings(commitlog_compression__class_name="com.example.MyCompressor")["cdc.segment_format"]
    assert unknown.status == "fail"
    assert "MyCompressor" in unknown.found
    assert _findings(transparent_data_encryption_options__enabled="true")["cdc.segment_format"].status == "fail"


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ({}, None),
        ({"commitlog_compression": "null"}, None),
        ({"commitlog_compression.class_name": "LZ4Compressor"}, "LZ4Compressor"),
        ({"commitlog_compression.class_name": "org.apache.cassandra.io.compress.LZ4Compressor"}, "LZ4Compressor"),
        ({"commitlog_compression": "class_name='SnappyCompressor', parameters=null"}, "SnappyCompressor"),
        ({"commitlog_compression": "DeflateCompressor"}, "DeflateCompressor"),
    ],
)
def test_the_compressors_name_in_every_spelling(rows: dict[str, str], name: str | None) -> None:
    assert compressor(NodeSettings(rows)) == name


def test_encryption_in_both_spellings() -> None:
    assert is_encrypted(NodeSettings({"transparent_data_encryption_options_enabled": "true"}))
    assert is_encrypted(NodeSettings({"transparent_data_encryption_options.enabled": "true"}))
    assert not is_encrypted(NodeSettings(PLAIN_5_0))


def test_losing_segments_in_silence_is_told() -> None:
    finding = _findings(cdc_block_writes="false")["cdc.when_full"]
    assert finding.status == "warn"
    assert "cdc_block_writes: true" in str(finding.mend)


@pytest.mark.parametrize(
    ("release", "status"),
    [
        *[("4.0.0", "ok"), ("4.1.10", "ok"), ("5.0.6", "ok"), ("5.0-beta1", "ok")],
        *[("3.11.4", "ok"), ("3.10.0", "fail"), ("5.1.0", "fail"), ("6.0.0", "fail"), ("None", "fail")],
    ],
)
def test_versions(release: str, status: str) -> None:
    assert check_version(release).status == status


@dataclass
class Host:
    address: str

    @property
    def endpoint(self) -> Any:
        return SimpleNamespace(address=self.address)


def _session(*addresses: str) -> Any:
    hosts = [Host(address) for address in addresses]
    return SimpleNamespace(cluster=SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: hosts)))


@pytest.mark.parametrize(
    ("addresses", "contact_points", "chosen"),
    [
        (("10.0.0.1", "127.0.0.1", "10.0.0.2"), ("10.0.0.2",), "127.0.0.1"),
        (("127.0.0.1", "127.0.0.2"), ("127.0.0.2",), "127.0.0.2"),
        (("10.0.0.1", "10.0.0.2"), ("10.0.0.2",), "10.0.0.2"),
        (("10.0.0.1", "10.0.0.2"), ("cassandra",), "10.0.0.1"),
    ],
    ids=["the local one", "the local contact point", "the contact point", "any"],
)
def test_which_node_is_beside_the_daemon(
    addresses: tuple[str, ...], contact_points: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "is_local", lambda address: address.startswith("127."))
    assert find_node(_session(*addresses), contact_points).address == chosen


def test_addresses_of_this_machine() -> None:
    assert is_local("127.0.0.1")
    assert not is_local("203.0.113.254")
    assert not is_local("no address")
    if socket.has_ipv6:
        assert not is_local("2001:db8::254")
