"""What the assistant did for whom is recorded, in the same database."""

from jido_tortoise.recording import Event


async def test_what_was_done_is_read_in_its_order(jido_recording, jido_recording_factories):
    made = await jido_recording_factories.recorded.create(runs=2, tools=1, tags=["vip"])
    before = await jido_recording.get_events(made.session.id)
    last = await jido_recording.append_event(Event(type="message_sent", session_id=made.session.id))
    events = await jido_recording.get_events(made.session.id)
    assert events == [*before, last]
    assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
    assert len(await jido_recording.list_runs(made.session.id)) == 2
