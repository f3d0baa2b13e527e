"""Makes the reference pages in docs/ from the command line, the configuration's schema and http/openapi.yaml."""
