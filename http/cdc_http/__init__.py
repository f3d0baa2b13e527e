"""The daemon's HTTP surface: rows by name, metrics, liveness, status. It reaches the daemon through `DaemonView`."""

from cdc_http.app import create_app
from cdc_http.connection import ConnectionLimits
from cdc_http.events import Events
from cdc_http.health import create_health_app
from cdc_http.key_set import StoredKeys
from cdc_http.server import HttpServer, try_listening
from cdc_http.tls import RotatedContext
from cdc_http.view import DaemonView, LoopState

__all__ = [
    "ConnectionLimits",
    "DaemonView",
    "Events",
    "HttpServer",
    "LoopState",
    "RotatedContext",
    "StoredKeys",
    "create_app",
    "create_health_app",
    "try_listening",
]
