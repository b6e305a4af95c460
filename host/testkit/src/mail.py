"""A mail server for tests: aiosmtpd, which keeps each message in a file of its own.

Arguments: port, directory, tls|starttls|none, certificate, key. Signing in is demanded as `me` with the password `p4ssw0rd` unless
the connection isn't encrypted.
"""

import email.policy
import json
import pathlib
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult


def main() -> None:
    port, directory, mode, certificate, key = sys.argv[1:]
    place = pathlib.Path(directory)
    context = None
    if mode != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)

    class Keep:
        count = 0

        async def handle_DATA(self, server, session, envelope):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            kept = {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "encrypted": session.ssl is not None or mode == "tls",
                "signedIn": bool(session.authenticated),
                "headers": [[name, str(value)] for name, value in message.items()],
                "body": message.get_content(),
            }
            Keep.count += 1
            unfinished = place / "unfinished"
            unfinished.write_text(json.dumps(kept))
            unfinished.rename(place / f"{Keep.count}.json")
            return "250 OK"

    def sign_in(server, session, envelope, mechanism, data):
        # Who isn't let in is answered by the server itself.
        return AuthResult(success=data.login == b"me" and data.password == b"p4ssw0rd", handled=False)

    class Server(Controller):
        def factory(self):
            return SMTP(
                self.handler,
                hostname="localhost",
                tls_context=context if mode == "starttls" else None,
                require_starttls=mode == "starttls",
                authenticator=sign_in,
                auth_required=mode != "none",
                auth_require_tls=mode == "starttls",
            )

    Server(
        Keep(), hostname="127.0.0.1", port=int(port), ssl_context=context if mode == "tls" else None
    ).start()
    (place / "ready").touch()
    while True:
        time.sleep(3600)


main()
