"""A service that can't start because a dependency is away says why it is away, not only that it is."""

from __future__ import annotations

import pytest

from alphapanda.app.serve import NotReady, Serving
from alphapanda.eventlog.port import LogUnavailable
from alphapanda.settings.model import Settings
from alphapanda.settings.serving import MeshSettings


async def test_what_the_dependency_answered_last_is_in_the_message() -> None:
    """A user of Kafka without a right isn't a Kafka that is away: who reads it knows where to look."""
    settings = Settings(mesh=MeshSettings(dependency_patience_seconds=0.01))

    async def refused() -> None:
        raise LogUnavailable("Kafka didn't let its producer start: ClusterAuthorizationFailedError")

    serving = Serving(settings, ["risk"], 0)
    with pytest.raises(
        NotReady, match=r"^Kafka did not answer within 0\.01 s: .*ClusterAuthorizationFailedError"
    ):
        await serving._retry_until_answered("Kafka", refused)
