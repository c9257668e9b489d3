"""Units of systemd, manifests of Kubernetes, a Dockerfile: what they start, started."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from gevent import socket, subprocess

from gws import ConnectionClosed, connect
from gws.process.service import EXIT_CUT

from ..lifecycle.test_process import passing, url_of
from ..program import SOON, Program
from .pages import CHECKOUT, blocks, blocks_of


pytestmark = [pytest.mark.once, pytest.mark.usefixtures("leakcheck")]

#: What the pages have as chat.py, without a Redis.
CHAT = """
from gws import Router

router = Router()


@router.route("/echo")
def echo(ws):
    for message in ws:
        ws.send(message)


@router.route("/stubborn")
def stubborn(ws):
    ws.send("ready")
    try:
        ws.wait_closed()
    finally:
        import gevent

        gevent.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with what the pages serve."""
    for name in ("chat.py", "app.py"):
        tmp_path.joinpath(name).write_text(CHAT)
    return tmp_path


# systemd


def units() -> dict[str, str]:
    """Return the page's files by their names."""
    sockets, service = blocks("docs/howto/systemd.md", "ini")
    return {"chat.socket": sockets, "chat.service": service}


def setting(name: str) -> str:
    """Return a setting of the service."""
    (value,) = re.findall(rf"^{name}=(.*)$", units()["chat.service"], re.M)
    return value


def test_the_units_are_right(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program, *_ = setting("ExecStart").split()
    for name, text in units().items():
        # It looks whether programs are there.
        known = text.replace(program, "/bin/true").replace("/bin/kill", "/bin/true")
        tmp_path.joinpath(name).write_text(known)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in units())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert [x for x in done.stdout.decode().splitlines() if "chat." in x] == []


def test_the_service_fits_the_program() -> None:
    words = shlex.split(setting("ExecStart"))
    drain = float(words[words.index("--drain-timeout") + 1])
    assert float(setting("TimeoutStopSec")) > drain
    assert int(setting("SuccessExitStatus")) == EXIT_CUT
    assert setting("ExecReload") == "/bin/kill -HUP $MAINPID"


def test_the_service(folder: Path, unix_path: str) -> None:
    """Its command line, with sockets as systemd passes them, told of to a manager."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    program, command, app, *options = shlex.split(setting("ExecStart"))
    assert (program, command, app) == ("/srv/chat/venv/bin/gws", "serve", "chat:router")
    manager_path = f"{unix_path}-manager"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        unix.bind(unix_path)
        unix.listen()
        manager.bind(manager_path)
        manager.settimeout(SOON)
        with passing(
            [tcp, unix], folder, *options, NOTIFY_SOCKET=manager_path
        ) as service:
            assert url_of(service) == f"wss://127.0.0.1:{tcp.getsockname()[1]}"
            assert url_of(service) == f"wss+unix:{unix_path}"
            assert manager.recv(1000) == b"READY=1"
            service.signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"RELOADING=1\n")
            assert manager.recv(1000) == b"READY=1"
            service.signal(signal.SIGTERM)
            assert manager.recv(1000) == b"STOPPING=1"
            assert service.end()[0] == 0


# Kubernetes


def manifests() -> dict[str, Any]:
    """Return the page's manifests by their kinds."""
    texts = blocks("docs/howto/kubernetes.md", "yaml")
    found = [one for text in texts for one in yaml.safe_load_all(text)]
    return {one["kind"]: one for one in found}


def pod() -> Any:
    return manifests()["Deployment"]["spec"]["template"]["spec"]


def container() -> Any:
    (container,) = pod()["containers"]
    return container


def test_the_manifests_fit_together() -> None:
    found = manifests()
    assert set(found) == {"Deployment", "Service", "Ingress"}
    deployment, service, ingress = found.values()
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    names = {port["name"] for port in container()["ports"]}
    (service_port,) = service["spec"]["ports"]
    assert service_port["targetPort"] in names
    for probe in ("readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"]["port"] in names
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"] == {
        "service": {
            "name": service["metadata"]["name"],
            "port": {"name": service_port["name"]},
        }
    }
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    # Values of annotations must be text.
    assert {type(x) for x in ingress["metadata"]["annotations"].values()} == {str}


def test_the_time_to_end_is_enough() -> None:
    command = container()["command"]
    drain = float(command[command.index("--drain-timeout") + 1])
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > before + drain


def test_the_image_starts_what_the_deployment_starts() -> None:
    command = container()["command"]
    assert [str(x) for x in command] == command
    assert command[: len(image_command())] == image_command()


def dockerfile() -> str:
    (text,) = blocks("docs/howto/kubernetes.md", "dockerfile")
    return text


def image_command() -> list[str]:
    (found,) = re.findall(r"^CMD (\[.*\])$", dockerfile(), re.M)
    return list(yaml.safe_load(found))


def test_the_dockerfile() -> None:
    """Both stages have one Python; pip installs what the project offers."""
    text = dockerfile()
    images = re.findall(r"^FROM (\S+)", text, re.M)
    assert len(images) == 2 and len(set(images)) == 1
    project = tomllib.loads(CHECKOUT.joinpath("pyproject.toml").read_text())["project"]
    (name, extras), *others = re.findall(
        r"pip install '([\w-]+)\[([\w,]+)\]'$", text, re.M
    )
    assert (name, others) == (project["name"], [])
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    # What --metrics and a bus over Redis need.
    assert {"metrics", "redis"} <= set(extras.split(","))
    (chat,) = re.findall(r"^COPY (\S+\.py) ", text, re.M)
    files = {block.file for block in blocks_of("docs/howto/redis.md")}
    assert chat in files


@contextmanager
def running(folder: Path, command: list[str]) -> Iterator[tuple[Program, int, int]]:
    """Start it on free ports; yield it, the port of the probes, and that of clients."""
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    text = " ".join(command)
    for name in ("ws", "metrics"):
        assert text.count(f" :{ports[name]}") == 1
        text = text.replace(f":{ports[name]}", "127.0.0.1:0")
    program, *args = text.split()
    assert program == "gws"
    with Program("-m", "gws", *args, cwd=folder) as server:
        metrics = re.findall(r"Metrics on http://.*:(\d+)/", server.hear())
        listening = re.findall(r"Listening on ws://.*:(\d+)", server.hear())
        yield server, int(metrics[0]), int(listening[0])


def status(port: int, probe: str) -> int:
    """Return what a probe of the deployment gets."""
    path = container()[probe]["httpGet"]["path"]
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=SOON)) as http:
        http.request("GET", path, headers={"Host": f"10.1.2.3:{port}"})
        return http.getresponse().status


def test_the_pod(folder: Path) -> None:
    """The deployment's command line, its probes, and what a client sees at the end."""
    with running(folder, container()["command"]) as (server, probes, port):
        assert status(probes, "readinessProbe") == 200
        assert status(probes, "livenessProbe") == 200
        ws = connect(f"ws://127.0.0.1:{port}/echo").open()
        ws.send("hello")
        assert ws.recv(SOON) == "hello"
        stubborn = connect(f"ws://127.0.0.1:{port}/stubborn").open()
        assert stubborn.recv(SOON) == "ready"
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            ws.recv(SOON)
        assert ws.close_code == 1001
        # While it drains: the port is closed, which is why preStop is needed.
        with pytest.raises(ConnectionRefusedError):
            connect(f"ws://127.0.0.1:{port}/echo").open()
        assert status(probes, "readinessProbe") == 503
        assert status(probes, "livenessProbe") == 200
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 143
        stubborn.close()
