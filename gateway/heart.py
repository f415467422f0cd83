"""The heartbeat of a node: a thread of each gateway process, which also hands over when the process is told to stop."""

import threading
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import Error, connections
from django.utils import timezone

from adapters.errors import AdapterError
from gateway import metrics
from staging import handover, node_copies, nodes
from staging.connections import release
from staging.errors import StagingError
from staging.models import Node
from staging.states import NodeState

log = structlog.get_logger(__name__)


class Heart(threading.Thread):
    """Beats until ``leave`` is called; then it says that the node goes, hands over what it alone has, and ends."""

    def __init__(self, *, handover_s: float) -> None:
        super().__init__(name="heart", daemon=True)
        self._handover_s = handover_s
        self._leaves = threading.Event()
        self._began_at = timezone.now()

    def leave(self) -> None:
        """The process is told to stop."""
        self._leaves.set()

    def run(self) -> None:
        self._do(node_copies.look)
        wait_s = 0
        while not self._leaves.wait(wait_s):
            self._do(self._beat)
            wait_s = settings.NODE_BEAT_S
        self._do(nodes.leave)
        self._do(lambda: handover.hand_over(self._handover_s))
        connections.close_all()

    def _beat(self) -> None:
        nodes.beat(self._began_at)
        for node in Node.objects.all():
            metrics.observe_node(node.name, node.state, node.seen_at.timestamp(), NodeState.values)

    @staticmethod
    def _do(work: Callable[[], object]) -> None:
        try:
            work()
        except (Error, AdapterError, StagingError) as exc:
            log.warning("node.not_heard", node=settings.NODE_NAME, error=type(exc).__name__, detail=str(exc))
        except Exception:  # Whatever it is: a node that falls silent is given up, with all that lies on it.
            log.exception("heart.failed", node=settings.NODE_NAME)
        finally:
            release()
