"""Crash an operation everywhere: a fault before and after every statement, a cancellation at every await.

    async def operation(trial):
        await storage.append_thread(trial.name, [{"kind": "note"}] * 3)

    async def invariant(trial):
        thread = await storage.load_thread(trial.name)
        return 0 if thread is None else len(thread)

    await crash_everywhere(operation, invariant)

It runs the operation once for each fault, on the SQLite or PostgreSQL of the current Tortoise context, and prints over
how many points it proved that the operation happens whole or not at all.
"""

from jido_tortoise_testing.faults.awaits import Call, Cancelled, cancelled
from jido_tortoise_testing.faults.bound import Faults
from jido_tortoise_testing.faults.injecting import KINDS, Fault, Injector, Kind, When
from jido_tortoise_testing.faults.report import CrashReport, CrashSafetyError, Violation
from jido_tortoise_testing.faults.sweeping import Trial, cancel_everywhere, crash_everywhere
from jido_tortoise_testing.faults.watching import Hook, watching

__all__ = [
    "KINDS",
    "Call",
    "Cancelled",
    "CrashReport",
    "CrashSafetyError",
    "Fault",
    "Faults",
    "Hook",
    "Injector",
    "Kind",
    "Trial",
    "Violation",
    "When",
    "cancel_everywhere",
    "cancelled",
    "crash_everywhere",
    "watching",
]
