"""List actions that cannot be undone ask first, as Django's own deletion does: of how many rows, and of which."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

#: So many of the rows are named.
_NAMED = 5
#: The form's field that says for how many rows somebody has confirmed it.
_CONFIRMED = "confirmed"

Deed = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


def confirmed(question: str, fate: str, button: str) -> Callable[[Deed], Deed]:
    """A list action of an ``OwnedAdmin`` that acts once somebody has said yes; ``{rows}`` in the question says what to.

    Of what matches by then no more is touched than was confirmed: where it has become more, it asks again. Rows that
    the person may not operate on count as little as they are acted on.
    """

    def wrap(act: Deed) -> Deed:
        @wraps(act)
        def ask_first(self: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            may = [row for row in rows if self.has_operate_permission(request, row)]
            if len(may) <= _confirmed_for(request):
                return act(self, request, rows)
            kind = self.opts.verbose_name if len(may) == 1 else self.opts.verbose_name_plural
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": button,
                "question": question.format(rows=f"{len(may):,} {kind}"),
                "fate": fate,
                "button": button,
                "named": [str(row) for row in may[:_NAMED]],
                "more": len(may) - len(may[:_NAMED]),
                "count": len(may),
                "back": request.get_full_path(),
                "action": request.POST["action"],
                "select_across": request.POST.get("select_across", "0"),
                "chosen_name": helpers.ACTION_CHECKBOX_NAME,
                "chosen": request.POST.getlist(helpers.ACTION_CHECKBOX_NAME),
            }
            return TemplateResponse(request, "admin/staging/confirm_rows.html", context)

        return ask_first

    return wrap


def _confirmed_for(request: HttpRequest) -> int:
    said = request.POST.get(_CONFIRMED, "")
    return int(said) if said.isascii() and said.isdigit() else 0
