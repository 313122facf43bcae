"""How the system is doing: GetStatus and health."""
