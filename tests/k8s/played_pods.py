"""Pod templates of an overlay as real containers: `podman kube play` starts them, each with an address of its own.

What a cluster would give them is given here: names of Services by /etc/hosts, secrets as files, and what kubelet asks probes.
"""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from image import container_environment
from manifests import Manifest, named, of_kind, pod_template, variables

FIRST: Final = 10
"""Of the network's addresses, the first that a pod gets; the gateway is where this machine's stores answer."""
PROBE_SECONDS: Final = 5.0
LISTENING: Final = "0A"
"""A socket's state as /proc/net/tcp has it."""


class PlayFailed(Exception):
    """podman refused something; the message is what it said."""


class PlayedPods:
    """Pods of an overlay on a network of their own.

    Args:
        manifests: the overlay's.
        image: what stands for Alpha Panda's image.
        secrets: files by key, by the Secret's name.
        stores: names that pods reach at the gateway, on this machine.
        folder: where secrets are kept.
        subnet: /24 of the network.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        image: str,
        secrets: Mapping[str, Mapping[str, str]],
        stores: Sequence[str],
        folder: Path,
        subnet: IPv4Network,
    ) -> None:
        self._manifests = manifests
        self._image = image
        self._secrets = folder / "secrets"
        self._subnet = subnet
        self._environment = container_environment()
        self._run = f"panda-{uuid4().hex[:8]}"
        self.gateway = str(subnet[1])
        services = list(of_kind(manifests, "Service"))
        self.addresses = {name: str(subnet[FIRST + number]) for number, name in enumerate(services)}
        self.addresses |= dict.fromkeys(stores, self.gateway)
        self._next = FIRST + len(services)
        self.played: dict[str, str] = {}
        self._holders: dict[str, int] = {}
        for name, files in secrets.items():
            (self._secrets / name).mkdir(parents=True)
            for key, text in files.items():
                (self._secrets / name / key).write_text(text, encoding="utf-8")
        for path in (folder, *self._secrets.rglob("*"), self._secrets):
            path.chmod(0o755 if path.is_dir() else 0o444)

    def open(self) -> None:
        """Makes the network."""
        self._podman("network", "create", f"--subnet={self._subnet}", self._run)

    def close(self) -> None:
        """Ends and removes every pod, and the network."""
        with ThreadPoolExecutor(max(len(self.played), 1)) as at_once:  # each may take its time to end
            for pod in self.played.values():
                at_once.submit(self.podman, "pod", "rm", "--force", "--time=5", pod)
        listed = self.podman("volume", "ls", "--quiet", f"--filter=name={self._run}").stdout.split()
        if listed:
            self.podman("volume", "rm", "--force", *listed)
        self.podman("network", "rm", "--force", self._run)

    def play(self, workload: Manifest) -> str:
        """Starts a pod of a workload's template; returns the pod's address.

        Raises:
            PlayFailed: podman refused it.
        """
        name = workload["metadata"]["name"]
        address = self.addresses.get(name)
        if address is None:
            address, self._next = str(self._subnet[self._next]), self._next + 1
        pod = f"{self._run}-{name}"
        self.played[name] = pod
        options = (f"--network={self._run}", f"--ip={address}", "--quiet")
        done = self.podman("kube", "play", *options, "-", given=yaml.safe_dump(self._pod(workload, pod)))
        if done.returncode:
            raise PlayFailed(f"{named(workload)}: {done.stdout}{done.stderr}")
        holder = self._podman("pod", "inspect", "--format={{.InfraContainerID}}", pod).strip()
        self._holders[name] = int(self._podman("inspect", "--format={{.State.Pid}}", holder))
        return address

    def containers(self, name: str) -> list[dict[str, Any]]:
        """What podman knows of the containers of a played workload, without that which holds the pod's network."""
        found = json.loads(self._podman("pod", "inspect", self.played[name]))
        listed = [one for one in found["Containers"] if not one["Name"].endswith("-infra")]
        inspected: list[dict[str, Any]] = json.loads(
            self._podman("container", "inspect", *(one["Name"] for one in listed))
        )
        return inspected

    def logs(self, name: str) -> str:
        """What a played workload's containers have printed."""
        shown = (self.podman("logs", one["Name"]) for one in self.containers(name))
        return "".join(one.stdout + one.stderr for one in shown)

    def ended(self, name: str) -> int | None:
        """The exit status of a Job's container; None while it runs."""
        (state,) = (one["State"] for one in self.containers(name))
        return None if state["Running"] else int(state["ExitCode"])

    def end(self, name: str) -> float:
        """Has a played workload's processes end by themselves, however long it takes; returns after how many seconds they have."""
        began = time.monotonic()
        self._podman("stop", "--time=120", *(one["Name"] for one in self.containers(name)))
        return time.monotonic() - began

    def opened(self, name: str) -> set[tuple[str, int]]:
        """Addresses and ports outside itself to which a played workload has, or just had, a connection.

        Raises:
            OSError: it has ended.
        """
        lines = [
            line.split()
            for kind in ("tcp", "tcp6")
            for line in Path(f"/proc/{self._holders[name]}/net/{kind}").read_text("utf-8").splitlines()[1:]
        ]
        listening = {_port(line[1]) for line in lines if line[3] == LISTENING}
        found = {
            _place(line[2]) for line in lines if line[3] != LISTENING and _port(line[1]) not in listening
        }
        return {(address, port) for address, port in found if not IPv4Address(address).is_loopback}

    def command(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs a command of the image to its end, with no network, confined as a pod."""
        values = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        confined = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=none")
        return self.podman("run", "--rm", *confined, *values, self._image, *arguments)

    def podman(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Runs podman to its end."""
        return subprocess.run(
            ["podman", *arguments],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def _podman(self, *arguments: str) -> str:
        done = self.podman(*arguments)
        if done.returncode:
            raise PlayFailed(f"podman {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _pod(self, workload: Manifest, pod: str) -> Manifest:
        template = copy.deepcopy(pod_template(workload))
        spec = template["spec"]
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            container["image"], container["imagePullPolicy"] = self._image, "Never"
            container.pop("ports", None)  # podman would open them on this machine, too
            # podman lets what a container takes whole win over its own.
            given = variables(container, self._manifests)
            container.pop("envFrom", None)
            container["env"] = [{"name": name, "value": value} for name, value in given.items()]
        renamed = {
            volume["name"]: f"{pod}-{volume['name']}"
            for volume in spec.get("volumes", ())
            if "emptyDir" in volume
        }
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            for mount in container.get("volumeMounts", ()):  # podman knows a volume by its name alone
                mount["name"] = renamed.get(mount["name"], mount["name"])
        for volume in spec.get("volumes", ()):
            volume["name"] = renamed.get(volume["name"], volume["name"])
            if "secret" in volume:  # kubelet's part: each as a file
                folder = self._secret_of(volume.pop("secret"))
                volume["hostPath"] = {"path": str(folder), "type": "Directory"}
        hosts: dict[str, list[str]] = {}
        for name, address in self.addresses.items():
            hosts.setdefault(address, []).append(name)
        spec["hostAliases"] = [{"ip": address, "hostnames": names} for address, names in hosts.items()]
        metadata = {"name": pod, "labels": template["metadata"].get("labels", {})}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _secret_of(self, volume: Mapping[str, Any]) -> Path:
        """The folder of a Secret as a volume shows it: chosen keys at chosen paths."""
        folder = self._secrets / volume["secretName"]
        items = volume.get("items")
        if not items:
            return folder
        chosen = self._secrets / f"{volume['secretName']}-{'-'.join(item['path'] for item in items)}"
        if not chosen.is_dir():
            chosen.mkdir(mode=0o755)
            for item in items:
                (chosen / item["path"]).write_bytes((folder / item["key"]).read_bytes())
                (chosen / item["path"]).chmod(0o444)
        return chosen


def _port(place: str) -> int:
    return int(place.partition(":")[2], 16)


def _place(place: str) -> tuple[str, int]:
    """Address and port as /proc/net/tcp writes them; of an IPv6 address its end, which is the IPv4 one that it stands for."""
    address = place.partition(":")[0][-8:]
    return str(IPv4Address(int.from_bytes(bytes.fromhex(address), "little"))), _port(place)


def answers(address: str, probe: Mapping[str, Any]) -> bool:
    """Whether a pod answers a probe as kubelet asks it: gRPC without TLS and tokens."""
    given = probe["grpc"]
    with grpc.insecure_channel(f"{address}:{given['port']}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=given.get("service", "")), timeout=PROBE_SECONDS
            )
        except grpc.RpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def until(seconds: float, is_so: Any, said: Any) -> None:
    """Waits until something is so.

    Raises:
        AssertionError: it isn't in time; the message is what was said.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, said()
        time.sleep(0.5)
