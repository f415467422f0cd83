"""The API's own description: OpenAPI 3 from the code, and a page to browse and try it."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework import serializers
from rest_framework.permissions import AllowAny


class ProblemAnswer(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; docs/errors.md lists them.")
    detail = serializers.CharField()
    retryable = serializers.BooleanField(help_text="Whether the same request may succeed later by itself.")
    hint = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField()
    fields = serializers.DictField(
        required=False, help_text="What is wrong: sentences by field; of a list, by place and field."
    )


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A repetition with the same key and body makes nothing new and gets the same answer, for two days.",
)


class Description(AutoSchema):
    """Adds what all operations share: problems, and the Idempotency-Key of those that create."""

    def get_summary(self) -> str:
        """What stands beside the path while the operation is folded: the first sentence of its description."""
        return str(super().get_description()).partition("\n")[0].partition(". ")[0].removesuffix(".")

    def get_description(self) -> str:
        """Nothing where the summary says it all."""
        description = str(super().get_description())
        return "" if description.removesuffix(".") == self.get_summary() else description

    def get_override_parameters(self) -> list[Any]:
        """The header of creating calls."""
        creates = self.method == "POST" and getattr(self.view, "creates", False)
        return [*super().get_override_parameters(), *([IDEMPOTENCY_KEY] if creates else [])]

    def _get_response_bodies(self, direction: str = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self._get_response_for_code(ProblemAnswer, "default", media_types=["application/problem+json"])
        return {**bodies, "default": problem}


class Schema(SpectacularAPIView):
    """The OpenAPI document; it tells nothing of any project, so anybody may read it."""

    permission_classes = [AllowAny]
    authentication_classes = []


class Docs(SpectacularSwaggerView):
    """Swagger UI, from this gateway's own static files."""

    permission_classes = [AllowAny]
    authentication_classes = []
    url_name = "api-schema"
