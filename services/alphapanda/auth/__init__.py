"""Users, roles, sessions and tokens: who may call."""
