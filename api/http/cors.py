"""Which web pages may call the API: CORS, as the Fetch standard has it.

An origin must be named in the configuration, there is no wildcard, and credentials are never allowed: the API knows no
cookies, and a page sends its token itself. Whoever is no browser is not held back by any of this.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from quart import Request
from quart_trio.wrappers import TrioResponse

ALLOWED_HEADERS: Final = "Authorization, Content-Type"
EXPOSED_HEADERS: Final = "Allow, Retry-After, WWW-Authenticate"
"""What a script may read beside the type and the length; a problem document says the retry time too."""
PREFLIGHT_SECONDS: Final = 7_200
"""For how long a browser need not ask again: two hours are the most that Chromium keeps."""


def add_cors_headers(origins: AbstractSet[str], request: Request, response: TrioResponse) -> TrioResponse:
    """Tell the browser whether the page that asks may read this answer, or send the request it asks about."""
    response.headers.add("Vary", "Origin")  # also without an origin: a cache must not give this answer to a page
    origin = request.headers.get("Origin")
    if origin not in origins:
        return response
    response.headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    else:
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    return response
