"""Running checks one by one, without pytest: from a script, or to see them fail on broken storages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from jido_tortoise_testing.contract.base import Checks
from jido_tortoise_testing.levels import refuse_unknown


async def run_check(contract: type[Checks], name: str, make_storage: Callable[[], Any], **arguments: Any) -> str | None:
    """Run one check on new handles; whatever it raises is its failure.

    Args:
        contract: The class that has the check.
        name: The check's name.
        make_storage: Makes a handle on the data of this run, which must be empty.
        **arguments: What one variant of a parametrised check is given.

    Returns:
        None when the check passed; the reason when the storage does not declare what it needs.

    Raises:
        InvalidInputError: The contract has no such check.
    """
    refuse_unknown(contract, name, "name")
    checks = contract()
    check, storage = getattr(checks, name), make_storage()
    reason = checks.undeclared(check, storage)
    if reason is not None:
        return reason
    handles = {"make_storage": make_storage, "storage": storage, "store": storage, **arguments}
    wished = inspect.signature(check).parameters
    if "second" in wished:
        handles["second"] = make_storage()
    await check(**{handle: handles[handle] for handle in wished})
    return None
