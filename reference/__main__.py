"""`python -m reference`: write every reference page."""

from __future__ import annotations

from reference.pages import CHECKOUT, pages

for path, make in pages().items():
    text = make()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"made {path.relative_to(CHECKOUT)}")
