"""Events: the outbox, written in the transaction of what they tell."""

from django.db import models

from staging.models.project import Project


class Event(models.Model):
    """One thing that happened: ``kind`` like ``object.created``, ``subject`` like ``bucket/key``, and its facts."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=1200)
    facts = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "id"], name="event_by_project"),
            models.Index(fields=["created_at"], name="event_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
