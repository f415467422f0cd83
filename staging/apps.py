"""The Django application of the domain."""

from django.apps import AppConfig


class StagingConfig(AppConfig):
    """Holds the catalog's models and the operators' commands."""

    name = "staging"
    verbose_name = "Staging"
    default_auto_field = "django.db.models.BigAutoField"
