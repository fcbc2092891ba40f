from __future__ import annotations

from app.worker.network_environ import network_environ


def test_a_child_reaches_the_network_as_we_do_and_learns_nothing_else() -> None:
    reaches = {"HTTPS_PROXY": "http://proxy", "no_proxy": "localhost", "SSL_CERT_FILE": "/certificates.pem"}
    ours = {
        "DATABASE_URL": "postgresql://",
        "TRUERUN_SECRET_HOOK": "whsec_",
        "WANDB_API_KEY": "key",
        "PATH": "/bin",
    }

    assert network_environ(reaches | ours) == reaches
