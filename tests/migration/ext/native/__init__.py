"""Both versions for Tortoise's own migrations, as the library's package would have them."""
