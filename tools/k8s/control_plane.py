"""A real Kubernetes control plane as local processes, its nodes simulated by kwok, for the tests. `make k8s-tools` builds it.

etcd, API server, controller manager and scheduler are Kubernetes' own. kwok plays the kubelet: it says that pods run and that
Jobs complete, and starts nothing. Data, keys and output live in one folder; ports are on loopback and chosen at the start.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kafka_server import free_ports

TOOL: Final = Path(__file__).resolve().parent
MADE: Final = TOOL.parents[1] / ".tools" / "k8s"
CRDS: Final = MADE / "crds"
STAGES: Final = MADE / "stages.yaml"
ZONES: Final = ("zone-a", "zone-b")
NODES_IN_ZONE: Final = 2
VOLUMES: Final = 12
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0
COMMAND_SECONDS: Final = 300.0
PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def pinned(folder: Path, module: str) -> str:
    """The version of a module in a folder's go.mod, without its v."""
    found = re.search(
        rf"^\s*{re.escape(module)} v([0-9.]+)", (folder / "go.mod").read_text("utf-8"), re.MULTILINE
    )
    if found is None:
        raise LookupError(f"{folder / 'go.mod'} doesn't require {module}")
    return found[1]


def kubernetes() -> Path:
    """The folder of the programs of the pinned Kubernetes."""
    return MADE / pinned(TOOL, "k8s.io/kubernetes")


def kwok() -> Path:
    """The pinned kwok."""
    return MADE / f"kwok-{pinned(TOOL / 'kwok', 'sigs.k8s.io/kwok')}"


def cyclonus() -> Path:
    """The pinned cyclonus, which evaluates NetworkPolicies."""
    return MADE / f"cyclonus-{pinned(TOOL / 'cyclonus', 'github.com/mattfenwick/cyclonus')}"


def kubectl() -> str | None:
    """The pinned kubectl where it is built, else the machine's own; None where there is neither."""
    built = kubernetes() / "kubectl"
    return str(built) if built.is_file() else shutil.which("kubectl")


def missing_for_policies() -> str | None:
    """What has to be done before overlays can be rendered and their policies evaluated, None where nothing is missing."""
    if kubectl() is None:
        return "NO KUBECTL: install it (https://kubernetes.io/docs/tasks/tools), or run `make k8s-tools`"
    if not cyclonus().is_file():
        return "NO CYCLONUS: run `make cyclonus` (it needs Go; once, three minutes of processor time)"
    return None


def missing_for_kubernetes() -> str | None:
    """What has to be done before the control plane can run here, None where nothing is missing."""
    needed = [*(kubernetes() / name for name in PROGRAMS), kwok(), STAGES]
    if kubectl() and all(path.is_file() for path in needed) and any(CRDS.glob("*.yaml")):
        return None
    return "NO KUBERNETES: run `make k8s-tools` (it needs Go, Java 17 and Maven; once, about 12 minutes on two cores)"


class ControlPlaneDidNotStart(Exception):
    """A program ended, or didn't answer in time; the message holds the end of its output."""


class ControlPlane:
    """etcd, API server, controller manager, scheduler, and kwok with two nodes in each of two zones.

    Args:
        folder: where data, keys and output are kept; made where it isn't there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._kubeconfig = folder / "kubeconfig"

    def start(self) -> None:
        """Starts everything; returns once the nodes are ready.

        Raises:
            ControlPlaneDidNotStart: then nothing is left running.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start_server()
            given = f"--kubeconfig={self._kubeconfig}"
            self._launch(
                "kube-controller-manager",
                given,
                f"--service-account-private-key-file={self._folder / 'accounts.key'}",
                f"--root-ca-file={self._folder / 'certs' / 'apiserver.crt'}",
                "--leader-elect=false",
                "--secure-port=0",
                "--controllers=*,-node-ipam-controller",
                "--node-monitor-grace-period=1h",  # a busy machine's heartbeats are late, and no node dies here
            )
            self._launch("kube-scheduler", given, "--leader-elect=false", "--secure-port=0")
            self._launch(
                "kwok",
                given,
                f"--config={STAGES}",
                "--manage-all-nodes=false",
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            )
            self.apply([*_nodes(), *_storage()])
            self.kubectl("wait", "--for=condition=Ready", "node", "--all", f"--timeout={START_SECONDS:.0f}s")
            # A namespace's pods need its account, which the controller manager makes.
            self._until("default account", lambda: self._runs("get", "serviceaccount", "default"))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops everything, last first; kills what doesn't end."""
        self._stack.close()
        self._processes.clear()

    def kubectl(self, *arguments: str, given: str = "", check: bool = True) -> str:
        """What kubectl prints, its errors and warnings with it.

        Args:
            arguments: after `kubectl`.
            given: its standard input.
            check: whether it must end well.

        Raises:
            KubectlFailed: it didn't.
        """
        done = self.run(*arguments, given=given)
        if check and done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Runs kubectl to its end."""
        return subprocess.run(
            [kubectl() or "kubectl", f"--kubeconfig={self._kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )

    def apply(self, manifests: Sequence[Mapping[str, Any]], *options: str) -> str:
        """Applies manifests on the server's side; a warning is an error, as is a field that nobody declared.

        Raises:
            KubectlFailed: the message has what the server said of each.
        """
        command = ("apply", "--server-side", "--warnings-as-errors", *options, "--filename=-")
        return self.kubectl(*command, given=yaml.safe_dump_all(manifests))

    def install(self, definitions: Path) -> None:
        """Applies the CustomResourceDefinitions of a folder, and waits until they are served."""
        self.kubectl("apply", "--server-side", f"--filename={definitions}")
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    def objects(self, kind: str, *options: str) -> list[dict[str, Any]]:
        """Objects of a kind as they are now."""
        done = self.run("get", kind, "--output=json", *options)
        if done.returncode:
            raise KubectlFailed(done.stderr)
        found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return found

    def _start_server(self) -> None:
        etcd, peer, port = free_ports(3)
        self._launch(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        accounts, tokens, token = (
            self._folder / "accounts.key",
            self._folder / "tokens.csv",
            secrets.token_hex(16),
        )
        accounts.write_bytes(_key())
        tokens.write_text(f"{token},admin,admin,system:masters\n", encoding="utf-8")
        self._launch(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certs'}",
            "--allow-privileged=true",  # that nobody may is for each namespace to say
            "--authorization-mode=RBAC",
            f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
        )
        server = {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority": str(self._folder / "certs" / "apiserver.crt"),
            "tls-server-name": "kubernetes.default.svc",
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self._kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._until("kube-apiserver", lambda: self._runs("get", "--raw=/readyz"))

    def _runs(self, *arguments: str) -> bool:
        return self.run(*arguments).returncode == 0

    def _until(self, what: str, is_so: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise ControlPlaneDidNotStart(
                    f"{what}: {', '.join(ended) or 'no answer'}\n{self._tail(ended)}"
                )
            time.sleep(0.1)

    def _tail(self, names: Sequence[str]) -> str:
        outputs = (self._folder / f"{name}.log" for name in names or self._processes)
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in outputs)

    def _launch(self, name: str, *arguments: str) -> None:
        program = kwok() if name == "kwok" else kubernetes() / name
        with (self._folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [str(program), *arguments], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes[name] = process
        self._stack.callback(_end, process)


class KubectlFailed(Exception):
    """kubectl ended with a failure; the message is what it printed."""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _key() -> bytes:
    """A key that service accounts' tokens are signed with: one of this run."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _nodes() -> list[dict[str, Any]]:
    """Nodes that nothing runs on, two in each zone: one can be drained."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": (name := f"{zone}-{number}"),
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "topology.kubernetes.io/zone": zone,
                },
            },
        }
        for zone in ZONES
        for number in range(1, NODES_IN_ZONE + 1)
    ]


def _storage() -> list[dict[str, Any]]:
    """A default class of volumes, and volumes of it: nothing here makes them when they are asked for."""
    storage: dict[str, Any] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "simulated",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "capacity": {"storage": "500Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "simulated",
                "persistentVolumeReclaimPolicy": "Delete",
                "hostPath": {"path": f"/volumes/{number}"},
            },
        }
        for number in range(VOLUMES)
    ]
    return [storage, *volumes]
