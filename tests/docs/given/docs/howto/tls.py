"""An authority of servers and one of clients, and a router to serve."""

from pathlib import Path

import trustme


def write(name, issued):
    issued.private_key_pem.write_to_path(f"{name}.key")
    issued.cert_chain_pems[0].write_to_path(f"{name}.pem")


authority, of_clients = trustme.CA(), trustme.CA()
authority.cert_pem.write_to_path("ca.pem")
of_clients.cert_pem.write_to_path("clients-ca.pem")
write("server", authority.issue_cert("localhost"))
write("ann", of_clients.issue_cert("ann@example.com"))
Path("chat.py").write_text("from gws import Router\n\nrouter = Router()\n")
