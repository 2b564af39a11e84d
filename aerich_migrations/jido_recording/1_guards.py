"""What the models of recording cannot express, version 1; its SQL stands in jido_tortoise/schema/recording.py."""

from tortoise import BaseDBAsyncClient

from jido_tortoise.schema import files

RUN_IN_TRANSACTION = True


async def upgrade(db: BaseDBAsyncClient) -> str:
    return await files.upgrade_script(db, "recording", "1_guards")


async def downgrade(db: BaseDBAsyncClient) -> str:
    return await files.downgrade_script(db, "recording", "1_guards")


MODELS_STATE = files.models_state("recording", "1_guards")
