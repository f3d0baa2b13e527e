"""The routes: probes, status, pages, rows on request, and operators' actions."""
