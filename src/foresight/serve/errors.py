"""What a client is told when something is wrong, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}


class ServiceError(Exception):
    """`message` says what was wrong and what would be right, `param` which field, `code` is for
    programs; `retry_after_seconds` is told to whoever should come again."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_seconds = retry_after_seconds

    @property
    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error")
        return {
            "error": {
                "message": self.message, "type": kind, "param": self.param, "code": self.code
            }
        }  # fmt: skip

    @property
    def headers(self) -> dict[str, str]:
        if self.retry_after_seconds is None:
            return {}
        return {"retry-after": str(max(1, round(self.retry_after_seconds + 0.5)))}


def broken(request_id: str) -> ServiceError:
    """A fault of ours, whose trace the log has."""
    return ServiceError(500, f"the service failed; its log says why at {request_id}",
                        "internal_error")  # fmt: skip
