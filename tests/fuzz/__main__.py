"""`python -m tests.fuzz [--seconds N]`: fuzz the commit-log reader, guided by coverage (atheris, libFuzzer).

Exit code 0 when nothing was found. What was found is left as a file named crash-… in the folder `.cache/fuzz`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

CORPUS = Path(".cache/fuzz")


def main() -> None:
    """Fuzz for some time."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    try:
        import atheris  # noqa: PLC0415
    except ImportError:
        parser.error("atheris is not installed: `make fuzz` installs it")
    with atheris.instrument_imports(include=["cdc_daemon.commitlog"]):
        from tests.fuzz.target import seeds, try_bytes  # noqa: PLC0415
    corpus = CORPUS / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={CORPUS}/", "-rss_limit_mb=4096"]
    atheris.Setup([*arguments, str(corpus)], try_bytes)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
