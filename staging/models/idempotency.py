"""Idempotency keys: a creating call that is repeated makes nothing new."""

from django.db import models

from staging.models.api_key import ApiKey


class IdempotencyKey(models.Model):
    """What one call made. The ids are kept, not the answer: an answer may hold a token."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    route = models.CharField(max_length=100)
    request_sha256 = models.CharField(max_length=64)
    made_ids = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "key"], name="idempotency_key_once")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return self.key
