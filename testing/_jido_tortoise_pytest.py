"""What pytest loads at its start when jido-tortoise-testing is installed; it must import nothing heavy."""

import sys

import pytest

from jido_tortoise_testing.fixtures import (
    jido,
    jido_adk,
    jido_adk_factories,
    jido_backend,
    jido_clock,
    jido_db,
    jido_db_config,
    jido_db_setup,
    jido_factories,
    jido_faults,
    jido_golden,
    jido_history,
    jido_ids,
    jido_models,
    jido_queries,
    jido_recording,
    jido_recording_factories,
    jido_sandbox,
    jido_seed,
    jido_storage,
)
from jido_tortoise_testing.plugin import (
    pytest_addoption,
    pytest_assertrepr_compare,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_generate_tests,
    pytest_report_header,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
)

# So that a check that fails shows both sides; pytest sees to that by itself for a wheel, but not where the toolkit is
# installed in place. What is imported by now cannot be changed any more, and pytest would warn.
pytest.register_assert_rewrite(
    *{"jido_tortoise_testing.contract", "jido_tortoise_testing.adk_contract"}.difference(sys.modules)
)

__all__ = [
    "jido",
    "jido_adk",
    "jido_adk_factories",
    "jido_backend",
    "jido_clock",
    "jido_db",
    "jido_db_config",
    "jido_db_setup",
    "jido_factories",
    "jido_faults",
    "jido_golden",
    "jido_history",
    "jido_ids",
    "jido_models",
    "jido_queries",
    "jido_recording",
    "jido_recording_factories",
    "jido_sandbox",
    "jido_seed",
    "jido_storage",
    "pytest_addoption",
    "pytest_assertrepr_compare",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
]
