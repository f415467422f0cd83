"""The Django application of everything that speaks HTTP."""

from django.apps import AppConfig
from django.core.signals import request_finished


class GatewayConfig(AppConfig):
    """Registers the system checks and lets the adapters report to the metrics."""

    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Called once Django's registry is complete; the admin's modules are found by Django itself."""
        from gateway import checks, metrics  # noqa: F401  the checks register themselves
        from staging import filling, health, read_cache, storages

        storages.observe = metrics.observe_storage
        health.tell = metrics.observe_failing
        read_cache.tell = metrics.observe_cache_read
        filling.tell = metrics.observe_cache_filled
        request_finished.connect(health.write_down)
