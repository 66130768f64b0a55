"""The command that shows a study in a browser while it runs: on this machine only, and read only."""

from __future__ import annotations

import secrets
import signal
import sys
import time
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from . import ending
from .ending import Answer
from .options import DEFAULT_STORE, StoreOption, check_tasks, plans_like, stored_name

if typing.TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from .store import Store

_HOST = "127.0.0.1"
_REFRESH_SECONDS = 5
_PATIENCE_SECONDS = 30
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def serve_command(
    study: Annotated[
        str, typer.Argument(help="A study that was run, by its name or its Python file.", autocompletion=plans_like)
    ],
    store: StoreOption = DEFAULT_STORE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 takes a free one.")] = 0,
) -> Answer:
    """Show a study in a browser while it runs.

    The page is read only and for this machine only; its address, printed here, has a secret in it. Ctrl-C ends it.

    Example: xstilts serve scaling
    """
    from .store import Store

    opened = Store.open(store, create=False)
    name = stored_name(study)
    check_tasks(opened, name)
    server = make_server(lambda: _page(opened, name), port)
    for number in (signal.SIGINT, signal.SIGTERM):  # a process that a shell started in the background ignores Ctrl-C
        signal.signal(number, signal.default_int_handler)
    print(f"http://{_HOST}:{server.server_port}/{server.secret}/", flush=True)  # type: ignore[attr-defined]
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return ending.text([])


def make_server(page: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """A server on the loopback interface that gives one page, at the secret of its attribute ``secret``.

    Any other path, method or host is refused without a word: a name that a web site has pointed at this machine among
    them.

    Args:
        page: makes the page's HTML; called once in `_REFRESH_SECONDS` at most.
        port: 0 takes a free one.

    Raises:
        ValueError: for a port that cannot be had.
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from .report.html import policy

    headers = {
        **_HEADERS,
        "Content-Security-Policy": f"{policy()}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    }
    secret = secrets.token_urlsafe(24)
    held = _Held(page)

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "xstilts", ""
        timeout = _PATIENCE_SECONDS  # for a reader that says nothing

        def do_GET(self) -> None:
            """Give the page."""
            hosts = (f"{_HOST}:{server.server_port}", f"localhost:{server.server_port}")
            asked = secrets.compare_digest(self.path.encode(errors="replace"), f"/{secret}/".encode())
            found = asked and self.headers.get("Host", "") in hosts
            body = held().encode() if found else b""
            self.send_response(200 if found else 404)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            """Print nothing: the address holds the secret."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A reader that went away is no error."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    try:
        server = Server((_HOST, port), Handler)
    except OSError as error:
        raise ValueError(f"--port {port}: {error.strerror}: expected a free port, or 0 to take one") from error
    server.secret = secret  # type: ignore[attr-defined]
    return server


class _Held:
    """A page, made anew once it is as old as a browser asks for it."""

    def __init__(self, make: Callable[[], str]) -> None:
        import threading

        self._make, self._lock = make, threading.Lock()
        self._text, self._made_at = "", 0.0

    def __call__(self) -> str:
        with self._lock:
            if not self._text or time.monotonic() - self._made_at >= _REFRESH_SECONDS - 1:
                self._text = self._make()
                self._made_at = time.monotonic()
            return self._text


def _page(store: Store, name: str) -> str:
    from html import escape

    from . import live, report

    try:
        running = [run for run in live.runs(store.root) if run["study"] == name]
        return report.live_page(store, name, running, _REFRESH_SECONDS)
    except (ValueError, OSError) as error:
        return f"<!DOCTYPE html><title>{escape(name)}</title><p>{escape(ending.said(error))}</p>"
