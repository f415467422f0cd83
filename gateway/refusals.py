"""Refusals that concern HTTP alone: the domain knows nothing of ranges, framing or busy threads."""

from staging.errors import StagingError


class Busy(StagingError):
    """As many streams run here as this process takes."""

    code = "gateway_busy"
    transient = True
    hint = "Come back in a moment, or add gateways."


class AliasBusy(StagingError):
    """As many streams of this alias run as it allows."""

    code = "alias_busy"
    transient = True
    hint = "Come back when one of them has ended."


class WrongNetwork(StagingError):
    """The alias is bound to networks, and the client is in none of them."""

    code = "wrong_network"
    hint = "Use it where it was made for, or ask the workflow engine for another one."


class LengthRequired(StagingError):
    """A body needs a Content-Length or chunked coding; where it ends cannot be known otherwise."""

    code = "length_required"
    hint = "curl -T FILE sends a length by itself."


class DocumentTooLarge(StagingError):
    """The JSON document is larger than the API takes."""

    code = "document_too_large"
    hint = "Split the request, for instance into several lists of aliases."


class UnsupportedBody(StagingError):
    """The body is wrapped in something that is not the object itself."""

    code = "unsupported_body"
    hint = "Send the bare bytes: curl -T FILE URL."


class PreconditionFailed(StagingError):
    """The object is not the version that If-Match names."""

    code = "precondition_failed"
    hint = "The object was replaced; begin again."


class RangeUnsatisfiable(StagingError):
    """The range asks for nothing that the object has; ``size`` is the object's, in bytes."""

    code = "range_unsatisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The object has {size} bytes.")
        self.size = size
