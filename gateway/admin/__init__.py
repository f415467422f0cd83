"""The web admin: what people see and do. Every change goes through the domain's services, as the API's do."""

from gateway.admin import (  # noqa: F401  each registers its noun
    alias,
    api_key,
    bucket,
    checkpoint,
    copy_job,
    credential,
    event,
    node,
    object,
    project,
    storage,
    transfer,
    upload,
    user,
)
