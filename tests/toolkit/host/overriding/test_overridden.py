"""What the overridden fixtures are good for: reference data, and more databases than one."""

import pytest

from shop.agents import Shopper
from shop.archive import Letter
from shop.models import Country


@pytest.mark.parametrize("attempt", [1, 2])
async def test_reference_data_is_there_whatever_a_test_does(jido_db, attempt):
    assert await Country.all().values_list("code", flat=True) == ["IS"]
    await Country.all().delete()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_two_databases_are_both_clean(jido, jido_db, attempt):
    assert await Letter.all().count() == 0
    await Letter.create(text="Dear Ada")
    await jido.hibernate(Shopper(1))
    assert jido_db.places.keys() == {"default", "archive"}
    assert [len((await jido_db.dump())[table]) for table in ("letter", "jido_checkpoints")] == [1, 1]
