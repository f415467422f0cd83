"""Fields of bodies and queries: a wrong type is told, never guessed at, and an unknown name is refused by name."""

from typing import Any, Self

from django.core.validators import RegexValidator
from rest_framework import serializers
from rest_framework.request import Request

from staging.models.fields import NAME_PATTERN, NAME_RULE

MAX_WHOLE = 2**63 - 1


class Text(serializers.CharField):
    """A JSON string, taken as it is."""

    default_error_messages = {"invalid": "A string was expected."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 1100)
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Numbers are not taken for their digits."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Name(Text):
    """The name of a storage, bucket or credential."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=63, **kwargs)
        self.validators.append(RegexValidator(NAME_PATTERN.replace("$", r"\Z"), f"{NAME_RULE}."))


class Whole(serializers.IntegerField):
    """A JSON number without a fraction, from 0 to what a database keeps in 64 bits."""

    default_error_messages = {"invalid": "A whole number was expected."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_value", 0)
        kwargs.setdefault("max_value", MAX_WHOLE)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> int:
        """Neither ``true`` nor ``"1"`` nor ``1.0``."""
        if type(data) is not int:
            self.fail("invalid")
        return int(data)


class Choice(serializers.ChoiceField):
    """One of a few words; a refusal tells which."""

    def to_internal_value(self, data: Any) -> Any:
        """Nothing but these words."""
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"One of these was expected: {', '.join(map(str, self.choices))}.")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """``true`` or ``false``."""

    default_error_messages = {"invalid": "true or false was expected."}

    def to_internal_value(self, data: Any) -> bool:
        """Not the words for them."""
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class TextMap(serializers.DictField):
    """A JSON object whose values are strings."""

    default_error_messages = {"not_a_dict": "An object was expected."}

    def __init__(self, *, nullable_values: bool = False, max_length: int = 65536, **kwargs: Any) -> None:
        super().__init__(child=Text(allow_blank=True, allow_null=nullable_values, max_length=max_length), **kwargs)


class Settings(serializers.DictField):
    """A JSON object whose values are checked by the kind of thing it sets up."""

    default_error_messages = {"not_a_dict": "An object was expected."}


class Strict(serializers.Serializer[Any]):
    """Refuses names that it does not know."""

    default_error_messages = {"invalid": "An object was expected."}

    def to_internal_value(self, data: Any) -> Any:
        """Tells of every unknown name at once, before anything else is looked at."""
        if isinstance(data, dict):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {name: [f"There is no such field; known: {known}."] for name in unknown}
                )
        return super().to_internal_value(data)


class Body(Strict):
    """A request's JSON body."""

    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """The checked values; what was not given is not there. Raises ValidationError."""
        body = cls(data=request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)


class Query(Strict):
    """A request's query string; of a parameter that comes twice the last counts, unless its field is a list."""

    @classmethod
    def of(cls, request: Request) -> Self:
        """With ``validated_data``. Raises ValidationError."""
        lists = {name for name, field in cls().fields.items() if isinstance(field, serializers.ListField)}
        given = {name: values if name in lists else values[-1] for name, values in request.query_params.lists()}
        query = cls(data=given)
        query.is_valid(raise_exception=True)
        return query
