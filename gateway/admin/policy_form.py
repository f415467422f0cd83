"""The form of a bucket's policy: a field for each setting, of which only what is unusual is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldBooleanSwitchWidget,
)

from adapters import registry
from gateway.admin.policy_words import CACHES, SPILLS, SPREADS, VERIFIES, WRITES, sentence
from gateway.admin.service_form import ServiceForm
from gateway.admin.words import DurationField, SizeField
from staging.models import Bucket, Storage
from staging.policies import SLOWEST_FAST_TIER, Policy
from staging.states import StorageState

_USUAL = asdict(Policy())


def _chosen(label: str, told: Mapping[Any, str], **options: Any) -> forms.ChoiceField:
    choices = [(choice, sentence(text)) for choice, text in told.items()]
    return forms.ChoiceField(label=label, choices=choices, required=False, widget=UnfoldAdminSelectWidget(), **options)


def _count(label: str, **options: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, widget=UnfoldAdminIntegerFieldWidget(), **options)


class PolicyForm(ServiceForm):
    """Fields are called as the policy's own, so that what ``policies.check`` refuses stands where it was entered."""

    write = forms.ChoiceField(
        label="Write mode",
        choices=[(mode, f"{sentence(mode)}: {text}.") for mode, text in WRITES.items()],
        initial=_USUAL["write"],
        required=False,
        widget=UnfoldAdminRadioSelectWidget(attrs={"class": "wb-sentences"}),
    )
    lands_on = forms.ChoiceField(
        label="Fast storage",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Of tier 0 or 1: for new bytes that are written back or ephemeral, and for copies that readers get.",
    )
    flush_within_s = DurationField(
        label="Flushed within",
        initial=_USUAL["flush_within_s"],
        help_text="Of back: how long the only copies may be on the fast storage.",
    )
    dirty_budget_bytes = SizeField(
        label="At most unsafe",
        help_text="Of back: how much may wait to be flushed; more goes to the bucket's storage. Empty for no limit.",
    )
    spill = forms.TypedChoiceField(
        label="Once it is full",
        choices=[("yes" if spills else "no", sentence(text)) for spills, text in SPILLS.items()],
        coerce=lambda text: text == "yes",
        empty_value=None,
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Of ephemeral: what becomes of new bytes then.",
    )
    ttl_s = DurationField(label="Time to live", help_text="Objects are deleted then. Empty: they stay until deleted.")
    max_object_bytes = SizeField(
        label="Largest object", help_text="Larger uploads are refused. Empty for the gateway's own limit."
    )
    replicate_to = forms.MultipleChoiceField(
        label="Further copies on",
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(attrs={"class": "wb-sentences"}),
        help_text="Besides the bucket's own storage, in this order.",
    )
    min_replicas = _count(
        "Copies that persist", initial=1, min_value=1, help_text="How many there are to be, the bucket's own included."
    )
    max_replicas = _count("At most", min_value=0, help_text="Empty for no limit.")
    spread = _chosen("Copies are counted", SPREADS, help_text="Sites are told on the pages of the storages.")
    verify = _chosen("A new copy is proven by", VERIFIES, help_text="Besides the digest of the bytes on their way.")
    cache = _chosen("Cached on the fast storage", CACHES, help_text="In blocks of 32 MiB, while there is room.")
    pin = forms.BooleanField(
        label="Pin",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="A fast copy is made of every object, and never evicted.",
    )

    class Meta:
        model = Bucket
        fields: list[str] = []

    def offer(self, storages: Iterable[Storage], *, grouped: bool, policy: Policy | None = None) -> None:
        """Let these storages be chosen, and what the policy names even where it is gone, so that nothing is lost."""
        policy = policy or Policy()
        usable = [storage for storage in storages if not registry.is_read_only(storage.scheme)]
        fast = [storage for storage in usable if storage.tier <= SLOWEST_FAST_TIER]
        lands_on = _choices(fast, [policy.lands_on] if policy.lands_on else [], grouped=grouped)
        self.fields["lands_on"].choices = [("", "None"), *lands_on]
        self.fields["replicate_to"].choices = _choices(usable, policy.replicate_to, grouped=grouped)

    def policy(self) -> dict[str, Any]:
        """What was asked for that differs from the policy of a bucket that asks for nothing."""
        asked = {name: self.cleaned_data[name] for name in _USUAL if name in self.fields}
        given = {name: value for name, value in asked.items() if value not in (None, "", [])}
        return {name: value for name, value in given.items() if value != _USUAL[name]}


def shown(policy: Policy) -> dict[str, Any]:
    """The policy as the form's fields show it; what is without a limit is empty."""
    limits = ("ttl_s", "dirty_budget_bytes", "max_object_bytes", "max_replicas")
    values = {name: value or None if name in limits else value for name, value in asdict(policy).items()}
    return {**values, "spill": "yes" if policy.spill else "no", "replicate_to": list(policy.replicate_to)}


def fieldsets(*, folded: bool) -> list[tuple[str, dict[str, Any]]]:
    """How the form is laid out; ``folded``: what a new bucket seldom needs."""
    classes = {"classes": ["collapse"]} if folded else {}
    first = ["write", "lands_on", "flush_within_s", "dirty_budget_bytes", "spill", "ttl_s", "max_object_bytes"]
    copies = ["replicate_to", "min_replicas", "max_replicas", "spread", "verify"]
    return [
        ("New objects", {"fields": first}),
        ("Copies that persist", {"fields": copies, **classes}),
        ("Fast copies for readers", {"fields": ["cache", "pin"], **classes}),
    ]


def _choices(storages: list[Storage], named: Iterable[str], *, grouped: bool) -> list[Any]:
    """Those that are named first, in their order, which the form keeps."""
    named, by_name = list(named), {storage.name: storage for storage in storages}
    if grouped:
        projects = sorted({str(storage.project) for storage in storages})
        return [
            (name, [(storage.name, told(storage)) for storage in storages if str(storage.project) == name])
            for name in projects
        ]
    rest = [name for name in by_name if name not in named]
    return [(name, told(by_name[name]) if name in by_name else f"{name}: not there") for name in [*named, *rest]]


def told(storage: Storage) -> str:
    """A storage among others to choose from: what speaks for it and against it."""
    words = [f"tier {storage.tier}", f"site {storage.site}" if storage.site else ""]
    words.append(f"node {storage.node}" if storage.node else "")
    words.append(storage.state if storage.state != StorageState.ACTIVE else "")
    return f"{storage.name}: {', '.join(filter(None, words))}"
