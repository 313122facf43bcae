"""What a Kite Connect secret looks like, for detect-secrets: `make secrets-scan` loads it as a plugin."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class KiteSecretDetector(RegexBasedDetector):
    """An API key, API secret, access, request or public token of Kite, or a web session's enctoken."""

    secret_type = "Kite Connect credential"  # noqa: S105 - a label
    denylist = (
        re.compile(
            r"""(?ix) \b \w* (?:api_?key|api_?secret|access_?token|request_?token|public_?token|enctoken)
            ["']? \s* [:=] \s* ["']? ([A-Za-z0-9+/=]{16,})"""
        ),
    )
