"""The daemon's HTTP surface: rows on request, metrics, liveness, status. It reaches the daemon through `DaemonView`."""

from cdc_http.app import create_app, create_control_app, create_health_app
from cdc_http.auth.key_set import KeySetFile
from cdc_http.connections.protocol import ConnectionLimits
from cdc_http.connections.tls import ReloadingTlsContext
from cdc_http.daemon_view import DaemonView, HealthView, LoopState
from cdc_http.routes.peers import create_peer_app
from cdc_http.routes.status import StatusStream
from cdc_http.server import HttpServer, try_listening

__all__ = [
    "ConnectionLimits",
    "DaemonView",
    "HealthView",
    "HttpServer",
    "KeySetFile",
    "LoopState",
    "ReloadingTlsContext",
    "StatusStream",
    "create_app",
    "create_control_app",
    "create_health_app",
    "create_peer_app",
    "try_listening",
]
