"""API keys: how programs call the control plane."""

from django.conf import settings
from django.db import models

from staging.models.fields import state_check
from staging.models.project import Project
from staging.states import Role


class ApiKey(models.Model):
    """A bearer key of one project and role; only a SHA-256 of its secret is kept."""

    public_id = models.CharField(max_length=16, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.OPERATOR)
    label = models.CharField(max_length=100, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        constraints = [state_check("role", Role, "api_key_role_known")]

    def __str__(self) -> str:
        return f"{self.label or 'key'} ({self.public_id})"
