"""Makes a release: version, changelog, tag, packages, bill of materials, image, checksums and signature."""
