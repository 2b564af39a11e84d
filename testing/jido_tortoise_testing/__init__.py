"""The testing toolkit of jido-tortoise; import what you need from its modules (importing this one costs nothing)."""
