"""Errors of the Hugging Face Hub, as its client raises them."""

import httpx2


def hub_error(kind, status=401):
    return kind(
        "A server's text,\nin lines",
        response=httpx2.Response(status, request=httpx2.Request("GET", "https://x")),
    )
