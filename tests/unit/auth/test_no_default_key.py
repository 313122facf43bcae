"""AuthService has a key of the user's, or it doesn't start."""

from __future__ import annotations

import pytest

from alphapanda.app.serve import Serving
from alphapanda.domain.errors import InvalidInput
from alphapanda.settings.sources import load_settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, r"auth\.secret"),
        ({"ALPHAPANDA_AUTH__ENABLED": "true", "ALPHAPANDA_AUTH__ALGORITHM": "EdDSA"}, r"auth\.private_key"),
        (
            {
                "ALPHAPANDA_AUTH__ALGORITHM": "EdDSA",
                "ALPHAPANDA_AUTH__PRIVATE_KEY": "hunter2",  # pragma: allowlist secret
            },
            r"auth\.private_key",
        ),
    ],
)
def test_auth_is_not_served_without_a_key(settings: dict[str, str], named: str) -> None:
    """The refusal names the setting and how to make one, before anything is opened."""
    with pytest.raises(InvalidInput, match=f"{named}.*openssl") as refused:
        Serving(load_settings(settings), ["auth"], 0)
    assert "hunter2" not in str(refused.value)
