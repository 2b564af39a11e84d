"""What pytest loads at its start when jido-tortoise-testing is installed; it must import nothing heavy."""

from jido_tortoise_testing.fixtures import (
    jido,
    jido_backend,
    jido_clock,
    jido_db,
    jido_db_config,
    jido_db_setup,
    jido_ids,
    jido_models,
    jido_queries,
    jido_sandbox,
    jido_seed,
    jido_storage,
)
from jido_tortoise_testing.plugin import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_generate_tests,
    pytest_report_header,
    pytest_runtest_makereport,
)

__all__ = [
    "jido",
    "jido_backend",
    "jido_clock",
    "jido_db",
    "jido_db_config",
    "jido_db_setup",
    "jido_ids",
    "jido_models",
    "jido_queries",
    "jido_sandbox",
    "jido_seed",
    "jido_storage",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_report_header",
    "pytest_runtest_makereport",
]
