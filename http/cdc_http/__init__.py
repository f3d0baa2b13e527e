"""The daemon's HTTP surface: metrics, liveness, status. It knows the daemon through `DaemonView` alone."""

from cdc_http.app import create_app
from cdc_http.server import HttpServer
from cdc_http.view import DaemonView, LoopState

__all__ = ["DaemonView", "HttpServer", "LoopState", "create_app"]
