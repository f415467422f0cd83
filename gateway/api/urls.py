"""Routes of REST API v1."""

from django.urls import path, re_path, register_converter

from gateway.api import (
    alias_groups,
    aliases,
    buckets,
    checkpoints,
    copies,
    credentials,
    drains,
    events,
    failures,
    giving_up,
    index,
    keys,
    nodes,
    objects,
    renaming,
    schema,
    storages,
    transfers,
)


class NameConverter:
    """A name in a path; what cannot be one is not found without asking the database."""

    regex = "~?[a-z0-9._-]{1,63}"

    def to_python(self, value: str) -> str:
        """As it is."""
        return value

    def to_url(self, value: str) -> str:
        """As it is."""
        return value


register_converter(NameConverter, "name")

urlpatterns = [
    path("", index.Index.as_view()),
    path("whoami", index.WhoAmI.as_view(), name="api-whoami"),
    path("schema", schema.Schema.as_view(), name="api-schema"),
    path("docs", schema.Docs.as_view(), name="api-docs"),
    path("schemes", storages.Schemes.as_view(), name="api-schemes"),
    path("schemes/<name:scheme>", storages.OneScheme.as_view()),
    path("storages", storages.Storages.as_view(), name="api-storages"),
    path("storages/<name:name>", storages.OneStorage.as_view()),
    path("storages/<name:name>/test", storages.StorageTest.as_view()),
    path("storages/<name:name>/drain", drains.StorageDrain.as_view()),
    path("storages/<name:name>/drain/left", drains.DrainLeft.as_view()),
    path("storages/<name:name>/give-up", giving_up.StorageGiveUp.as_view()),
    path("storages/<name:name>/give-up/lost", giving_up.GiveUpLost.as_view()),
    path("storages/<name:name>/objects", storages.StorageObjects.as_view()),
    path("nodes", nodes.Nodes.as_view(), name="api-nodes"),
    path("nodes/<name:name>", nodes.OneNode.as_view()),
    path("nodes/<name:name>/drain", nodes.NodeDrain.as_view()),
    path("credentials", credentials.Credentials.as_view(), name="api-credentials"),
    path("credentials/<name:name>", credentials.OneCredential.as_view()),
    path("buckets", buckets.Buckets.as_view(), name="api-buckets"),
    path("buckets/<name:name>", buckets.OneBucket.as_view()),
    path("buckets/<name:name>/rename", renaming.Rename.as_view()),
    path("buckets/<name:name>/objects", objects.Objects.as_view()),
    path("buckets/<name:name>/objects/<path:key>", objects.OneObject.as_view()),
    path("buckets/<name:name>/explain/<path:key>", objects.ExplainObject.as_view()),
    path("buckets/<name:name>/verify/<path:key>", objects.VerifyObject.as_view()),
    path("buckets/<name:name>/demote/<path:key>", objects.DemoteObject.as_view()),
    path("checkpoints", checkpoints.Checkpoints.as_view(), name="api-checkpoints"),
    path("checkpoints/<name:name>", checkpoints.OneCheckpoint.as_view()),
    path("checkpoints/<name:name>/members", checkpoints.Members.as_view()),
    path("checkpoints/<name:name>/aliases", checkpoints.MemberAlias.as_view()),
    path("checkpoints/<name:name>/restore", checkpoints.RestoreCheckpoint.as_view()),
    path("aliases", aliases.Aliases.as_view(), name="api-aliases"),
    path("aliases/revoke", alias_groups.RevokeAliases.as_view()),
    path("aliases/extend", alias_groups.ExtendAliases.as_view()),
    path("aliases/fail", failures.FailAliases.as_view()),
    path("aliases/<uuid:alias_id>", aliases.OneAlias.as_view()),
    path("aliases/<uuid:alias_id>/fail", failures.FailAlias.as_view()),
    path("copies", copies.Copies.as_view(), name="api-copies"),
    path("copies/<uuid:copy_id>", copies.OneCopy.as_view()),
    path("copies/<uuid:copy_id>/cancel", copies.CancelCopy.as_view()),
    path("copies/<uuid:copy_id>/retry", copies.RetryCopy.as_view()),
    path("transfers", transfers.Transfers.as_view(), name="api-transfers"),
    path("transfers/<uuid:transfer_id>", transfers.OneTransfer.as_view()),
    path("transfers/<uuid:transfer_id>/cancel", transfers.CancelTransfer.as_view()),
    path("transfers/<uuid:transfer_id>/retry", transfers.RetryTransfer.as_view()),
    path("events", events.Events.as_view(), name="api-events"),
    path("keys", keys.Keys.as_view(), name="api-keys"),
    path("keys/<name:name>", keys.OneKey.as_view()),
    re_path("", index.Unknown.as_view()),  # all that is left; reverse() does not take flags in an expression
]
