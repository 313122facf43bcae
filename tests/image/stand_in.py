"""What runs in a container in place of an official image: it takes what compose.yaml gives that image, and no more.

It runs on the base's own Python, with programs mounted at /stand-in: `stand_in.py kafka` or `stand_in.py postgres`,
and `stand_in.py broker` to check Kafka's health.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

MOUNTED = Path("/stand-in")
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
NOT_PROPERTIES = ("KAFKA_OPTS", "KAFKA_HEAP_OPTS")
POSTGRES_DATA = Path("/var/lib/postgresql/18/docker")
USER = "nobody"
"""PostgreSQL refuses to run as root, and must find a name for its user."""


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Lines of server.properties, made as the official image makes them: KAFKA_LOG_DIRS is log.dirs."""
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in NOT_PROPERTIES
    }


def kafka() -> None:
    """Formats the folder where it is new, and becomes Kafka."""
    properties = Path("/tmp/server.properties")
    properties.write_text(
        "".join(f"{name}={value}\n" for name, value in kafka_properties(os.environ).items())
    )
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{MOUNTED}/kafka/*"]
    storage = ["format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(properties)]
    subprocess.run([*java, "kafka.tools.StorageTool", *storage], check=True)
    os.execvp(java[0], [*java, "kafka.Kafka", str(properties)])


def broker() -> None:
    """Ends well where a broker is in the cluster, as Kafka's own kafka-broker-api-versions.sh does.

    Raises:
        OSError: Kafka doesn't answer.
        struct.error: it ended the connection.
    """
    metadata, version, correlation, no_client, no_topics = 3, 1, 1, -1, 0
    request = struct.pack("!hhihi", metadata, version, correlation, no_client, no_topics)
    with socket.create_connection(("localhost", 9092), timeout=5) as connection:
        connection.sendall(struct.pack("!i", len(request)) + request)
        _, _, brokers = struct.unpack("!iii", connection.recv(12))
    sys.exit(0 if brokers > 0 else "no broker is in the cluster")


def postgres() -> None:
    """Makes user, password and database where the folder is new, gives up root, and becomes PostgreSQL."""
    user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    POSTGRES_DATA.mkdir(parents=True, exist_ok=True)
    owner = pwd.getpwnam(USER)
    for folder in (POSTGRES_DATA, *POSTGRES_DATA.parents[:3]):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    os.setgroups([])
    os.setgid(owner.pw_gid)
    os.setuid(owner.pw_uid)
    data = str(POSTGRES_DATA)
    if not (POSTGRES_DATA / "PG_VERSION").exists():
        secret = f"--pwfile={os.environ['POSTGRES_PASSWORD_FILE']}"
        access = (f"--username={user}", secret, "--auth-local=trust", "--auth-host=scram-sha-256")
        subprocess.run(
            ["initdb", "-D", data, *access, "--no-locale", "--encoding=UTF8", "--no-sync"], check=True
        )
        create = f"CREATE DATABASE {database}"
        subprocess.run(["postgres", "--single", "-D", data, "postgres"], input=create, text=True, check=True)
        with (POSTGRES_DATA / "pg_hba.conf").open("a") as access_file:
            access_file.write("host all all all scram-sha-256\n")
    sockets = "unix_socket_directories=/tmp"
    os.execvp("postgres", ["postgres", "-D", data, "-c", "listen_addresses=*", "-c", sockets])


if __name__ == "__main__":
    {"broker": broker, "kafka": kafka, "postgres": postgres}[sys.argv[1]]()
