"""What customers and the assistant said is in sessions of an ADK, in the same database."""

from jido_tortoise.adk import Event


async def test_a_chat_is_read_as_it_went(jido_adk, jido_adk_factories):
    made = await jido_adk_factories.session.create(app_name="shop", turns=2, tools=1)
    await jido_adk.append_event(made, Event(author="user"))
    found = await jido_adk.get(app_name="shop", user_id=made.user_id, session_id=made.id)
    assert len(found.events) == 2 * 2 + 2 + 1
    assert found.events[-1].author == "user"


async def test_a_new_customer_has_no_chats(jido_adk):
    assert await jido_adk.list(app_name="shop") == []
