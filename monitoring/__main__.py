"""`python -m monitoring`: write every generated file."""

from __future__ import annotations

from monitoring.files import CHECKOUT, files

for path, make in files().items():
    text = make()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"made {path.relative_to(CHECKOUT)}")
