"""Pages with one script, which alone may run."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def to_script(value: Any) -> str:
    """JSON that may stand in a `<script>` element: no `<` is in it, whatever the texts hold."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def scripted_page(name: str, **values: object) -> tuple[str, str]:
    """A template of this folder, and its content security policy, which it has as `policy`: only
    the script in its block `script` may run, so that a text that got past the escaping could not.
    """
    environment = Environment(
        loader=PackageLoader("foresight.report", "."), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template(name)
    script = "".join(template.blocks["script"](template.new_context()))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        f"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return template.render(policy=Markup(policy), **values), policy
