"""A mesh whose Kafka lets each service do what its KafkaUser of deploy/k8s may, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from kafka_server import Guard, KafkaServer, free_ports
from mesh import Mesh
from typing_extensions import override

USERS = Path(__file__).resolve().parents[2] / "deploy/k8s/components/strimzi/users.yaml"
ADMINISTRATOR = "administrator"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
WHOLE_CLUSTER = {"name": "kafka-cluster", "patternType": "literal"}
PATTERNS = {"literal": 3, "prefix": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12}
ALLOW = 3

Rule = tuple[int, str, int, str, str, int, int]


def users() -> Mapping[str, list[dict[str, Any]]]:
    """The rules of each KafkaUser, by its name."""
    return {
        one["metadata"]["name"]: one["spec"]["authorization"]["acls"]
        for one in yaml.safe_load_all(USERS.read_text(encoding="utf-8"))
    }


def rules() -> Iterator[Rule]:
    """All users' rules as Kafka's protocol has them, one for each operation, as Strimzi's user operator makes them."""
    for user, acls in users().items():
        for acl in acls:
            resource = WHOLE_CLUSTER | acl["resource"]
            for operation in acl["operations"]:
                yield (
                    RESOURCES[resource["type"]],
                    resource["name"],
                    PATTERNS[resource["patternType"]],
                    f"User:{user}",
                    acl["host"],
                    OPERATIONS[operation],
                    ALLOW,
                )


class MeshWithRights(Mesh):
    """The mesh of `make mesh` on such a Kafka.

    Args:
        folder: where everything is kept; short, because sockets live in it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.passwords = {name: secrets.token_urlsafe(16) for name in (ADMINISTRATOR, *users())}
        self._ports = dict(zip(self.services, free_ports(len(self.services)), strict=True))

    @override
    def kafka_server(self, folder: Path) -> KafkaServer:
        # The controller's own connections, on loopback, have no name.
        supers = f"User:{ADMINISTRATOR};User:ANONYMOUS"
        return KafkaServer(
            folder, Guard(self.passwords), authorizer_class_name=AUTHORIZER, super_users=supers
        )

    @override
    def run(self, *arguments: str) -> None:
        self.environment |= {
            f"ALPHAPANDA_MESH__{name.upper()}": f"127.0.0.1:{port}"
            for name, port in self._ports.items()
            if name != "ops"
        } | {
            "ALPHAPANDA_API__PORT": str(self._ports["ops"]),
            "ALPHAPANDA_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            **self.credentials(ADMINISTRATOR),
        }
        super().run(*arguments)

    @override
    def of_service(self, service: str) -> Mapping[str, str]:
        return self.credentials(f"alphapanda-{service}")

    def credentials(self, user: str) -> Mapping[str, str]:
        """Settings with which a process is this user."""
        return {
            "ALPHAPANDA_KAFKA__SASL_USERNAME": user,
            "ALPHAPANDA_KAFKA__SASL_PASSWORD": self.passwords[user],
        }

    async def grant(self) -> None:
        """Gives the users their rights."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.environment["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"],
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=ADMINISTRATOR,
            sasl_plain_password=self.passwords[ADMINISTRATOR],
        )
        await admin.start()
        try:
            for rule in rules():
                answer = await admin._send_to_controller(CreateAclsRequest(*rule))
                assert [code for code, _ in answer.creation_responses] == [0], (rule, answer)
        finally:
            await admin.close()

    def log(self, service: str) -> str:
        """What a service has written."""
        return (self.folder / "logs" / f"{service}.log").read_text(encoding="utf-8")
