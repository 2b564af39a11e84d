"""The scheduler manifest: which jobs an agent wants to be called for, kept in its checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from jido_tortoise import codec
from jido_tortoise.errors import InvalidInputError

_log = logging.getLogger("jido_tortoise")


def normalise_schedule(schedule: object) -> dict[Any, dict[str, Any]]:
    """Answer a manifest with its well-formed jobs; the others are dropped, and named in the log.

    Args:
        schedule: job id -> {"cron_expression": text, "message": any storable value, "timezone": text or None}; without
            a time zone it is "Etc/UTC".
    """
    if not schedule or not isinstance(schedule, Mapping):
        return {}
    jobs = {job: _normalised(job, spec) for job, spec in schedule.items()}
    dropped = [job for job, spec in jobs.items() if spec is None]
    if dropped:
        _log.warning("schedule: dropped malformed jobs %r", dropped)
    return {job: spec for job, spec in jobs.items() if spec is not None}


def _normalised(job: object, spec: object) -> dict[str, Any] | None:
    if not isinstance(spec, Mapping):
        return None
    cron, zone = spec.get("cron_expression"), spec.get("timezone")
    if not isinstance(cron, str) or not isinstance(zone, str | None):
        return None
    message = spec.get("message")
    try:
        codec.dumps([job, message], path="schedule")
    except InvalidInputError:
        return None
    return {"cron_expression": cron, "message": message, "timezone": "Etc/UTC" if zone is None else zone}
