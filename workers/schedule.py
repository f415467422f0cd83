"""What runs by the clock. Every entry is safe to run on any number of schedulers: rows decide, not the clock."""

SCHEDULE = {
    "transfers.sweep": {"task": "workers.tasks.sweep_transfers", "schedule": 15.0, "options": {"expires": 15}},
    "janitor.sweep": {"task": "workers.tasks.sweep_leftovers", "schedule": 60.0, "options": {"expires": 60}},
}
