"""The tables of recording, version 1; its SQL stands in jido_tortoise/schema/recording.py."""

from tortoise import BaseDBAsyncClient

from jido_tortoise.schema import files

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return await files.upgrade_script(db, "recording", "0_init")


async def downgrade(db: BaseDBAsyncClient) -> str:
    return await files.downgrade_script(db, "recording", "0_init")


MODELS_STATE = files.models_state("recording", "0_init")
