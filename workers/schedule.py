"""What runs by the clock. Every entry is safe to run on any number of schedulers: rows decide, not the clock."""

#: The chores by the names of their rows, each with the task that does it.
_TASKS = {
    "transfers.sweep": "sweep_transfers",
    "tiers.sweep": "sweep_tiers",
    "cache.sweep": "sweep_cache",
    "nodes.sweep": "sweep_nodes",
    "janitor.sweep": "sweep_leftovers",
    "upkeep.reconcile": "reconcile",
    "upkeep.scrub": "scrub",
}
EVERY_S = {
    "transfers.sweep": 15.0,
    "tiers.sweep": 10.0,
    "cache.sweep": 10.0,
    "nodes.sweep": 10.0,
    "janitor.sweep": 60.0,
    "upkeep.reconcile": 60.0,
    "upkeep.scrub": 300.0,
}
SCHEDULE = {
    name: {
        "task": f"workers.tasks.{task}",
        "schedule": EVERY_S[name],
        "options": {"expires": EVERY_S[name], "queue": "maintenance"},
    }
    for name, task in _TASKS.items()
}
