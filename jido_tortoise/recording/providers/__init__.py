"""Providers: who answers in a run.

A provider is one asynchronous generator. It takes a `Request`, yields what happens as `Said`, and at the end, once, an
`Answer`; that is all that a manager asks of it:

    async def echo(request):
        yield Said("message_streamed", {"content": "hi"})
        yield Answer(output={"content": "hi"}, token_usage={"input_tokens": 1, "output_tokens": 1})

Closing the generator cancels the run, so whatever it has open belongs into a `finally` or an `async with`.
"""

from jido_tortoise.recording.providers.anthropic import AnthropicProvider
from jido_tortoise.recording.providers.base import Answer, Provider, Request, Said
from jido_tortoise.recording.providers.functions import recorded_function
from jido_tortoise.recording.providers.openai import OpenAIProvider
from jido_tortoise.recording.providers.scripted import ScriptedProvider

__all__ = [
    "Answer",
    "AnthropicProvider",
    "OpenAIProvider",
    "Provider",
    "Request",
    "Said",
    "ScriptedProvider",
    "recorded_function",
]
